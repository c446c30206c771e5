/** What one peer may take of a hub. Every one can be set when the hub starts. */
export interface HubLimits {
  /** Handshakes under way, in all and per address (an IPv6 /64 counts as one). */
  readonly handshakes: number
  readonly handshakesPerAddress: number
  readonly handshakeMs: number
  /** The head of an HTTP/1.1 request, from the handshake or the request before. */
  readonly requestHeadMs: number
  /** An HTTP/2 connection without a request, whatever else moves on it. */
  readonly idleMs: number
  /** HTTP/2 connections of keys that the directory does not know, in all and per address. */
  readonly strangers: number
  readonly strangersPerAddress: number
  readonly relaysPerUser: number
  readonly relaysPerCluster: number
  /** Bytes that wait for readers, over all relays of one user or cluster. */
  readonly bufferedBytesPerUser: number
  readonly bufferedBytesPerCluster: number
  /** How long a relay stands still before it may be ended for that. */
  readonly stallMs: number
  /** How often relays are looked at for the three above. */
  readonly sweepMs: number
  /** How long an agent may take to accept one stream. */
  readonly agentAnswerMs: number
  readonly pingIntervalMs: number
  readonly pingTimeoutMs: number
  /** How late the database learns which agents were here. */
  readonly attendanceMs: number
  /** How long after its start a hub waits for agents it had before, instead of saying that there is none. */
  readonly returnMs: number
  /** How long relays may go on when the hub stops. */
  readonly drainMs: number
}

export const DEFAULT_LIMITS: HubLimits = {
  handshakes: 4_096,
  handshakesPerAddress: 512,
  handshakeMs: 10_000,
  requestHeadMs: 10_000,
  idleMs: 5 * 60_000,
  strangers: 4_096,
  strangersPerAddress: 64,
  relaysPerUser: 512,
  relaysPerCluster: 8_192,
  bufferedBytesPerUser: 64 << 20,
  bufferedBytesPerCluster: 256 << 20,
  stallMs: 500,
  sweepMs: 100,
  agentAnswerMs: 5_000,
  pingIntervalMs: 4_000,
  pingTimeoutMs: 10_000,
  attendanceMs: 2_000,
  returnMs: 15_000,
  drainMs: 10_000,
}
