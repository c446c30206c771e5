/** What a hostile hub can do to bytes it cannot read: everything, on TLS records and between streams. */
import { type Duplex, Transform } from 'node:stream'
import type { Deed } from './hostile-hub.ts'

/** What becomes of one record: none, one or more in its place; `index` counts this direction's records. */
export type RecordFate = (record: Buffer, index: number) => readonly Buffer[]

export const untouched: RecordFate = (record) => [record]

const HEADER_BYTES = 5
/** A record with a full payload of application data: the middle of something long. */
const FULL_RECORD_BYTES = 16_000

/** Cuts a TLS stream into its records (RFC 8446 §5.1) and lets `fate` decide about each. */
export function tampering(fate: RecordFate): Transform {
  let pending = Buffer.alloc(0)
  let index = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      pending = Buffer.concat([pending, chunk])
      for (;;) {
        const length = HEADER_BYTES + (pending.length < HEADER_BYTES ? 0 : pending.readUInt16BE(3))
        if (pending.length < HEADER_BYTES || pending.length < length) break
        for (const record of fate(pending.subarray(0, length), index)) this.push(record)
        pending = pending.subarray(length)
        index += 1
      }
      done()
    },
  })
}

/** Relays with records changed on the way to the agent and on the way back. */
export function relayTampering(toAgent: RecordFate, toClient: RecordFate = untouched): Deed {
  return async ({ authority, client }, hub) => {
    joinStreams(client, await hub.toAgent(authority), toAgent, toClient)
  }
}

/** Passes everything until the second full record of a client, then ends its direction. */
export function relayTruncating(end: (agent: Duplex) => void): Deed {
  return async ({ authority, client }, hub) => {
    const agent = await hub.toAgent(authority)
    let isCut = false
    const fate = toSecondFullRecord((record) => {
      isCut = true
      setImmediate(() => end(agent))
      return [record]
    })
    joinStreams(client, agent, (record, index) => (isCut ? [] : fate(record, index)), untouched)
  }
}

/** Two people's streams to the same agent, each to its own at first. */
export class Crossing {
  readonly #pairs: { readonly client: Duplex; readonly agent: Duplex }[] = []
  #toAgent = 0
  #toClient = 0
  readonly deed: Deed = async ({ authority, client }, hub) => {
    const agent = await hub.toAgent(authority)
    const own = this.#pairs.push({ client, agent }) - 1
    client.on('data', (chunk) => this.#pairs[own ^ this.#toAgent]?.agent.write(chunk))
    agent.on('data', (chunk) => this.#pairs[own ^ this.#toClient]?.client.write(chunk))
    for (const stream of [client, agent]) stream.on('error', () => {})
    client.once('close', () => agent.destroy())
    agent.once('end', () => client.end())
    agent.once('close', () => {
      if (!agent.readableEnded) client.destroy()
    })
  }

  /** From now on each agent's stream gets the other's bytes, or each person the other's answers. */
  cross(direction: 'to the agent' | 'to the people'): void {
    if (direction === 'to the agent') this.#toAgent = 1
    else this.#toClient = 1
  }
}

/** Joins two streams through tamperers; the end of either is carried, an abort ends both. */
export function joinStreams(
  client: Duplex,
  agent: Duplex,
  toAgent: RecordFate,
  toClient: RecordFate,
): void {
  client.pipe(tampering(toAgent)).pipe(agent)
  agent.pipe(tampering(toClient)).pipe(client)
  const abort = () => {
    client.destroy()
    agent.destroy()
  }
  for (const stream of [client, agent]) stream.on('error', abort)
  client.once('close', () => agent.destroy())
  agent.once('close', () => client.end())
}

/** Does `deed` to the second full record of a direction; the others pass. */
export function toSecondFullRecord(deed: (record: Buffer) => readonly Buffer[]): RecordFate {
  let seen = 0
  return (record) => {
    if (record.length < FULL_RECORD_BYTES) return [record]
    seen += 1
    return seen === 2 ? deed(record) : [record]
  }
}

/** The second and third full record change places. */
export function swapFullRecords(): RecordFate {
  let seen = 0
  let held: Buffer | undefined
  return (record) => {
    if (record.length >= FULL_RECORD_BYTES) seen += 1
    if (seen === 2 && held === undefined) {
      held = record
      return []
    }
    if (seen !== 3 || held === undefined) return [record]
    const swapped = [record, held]
    held = undefined
    return swapped
  }
}

/** Keeps what a client sends, in the order it came. */
export function recording(into: Buffer[]): RecordFate {
  return (record) => {
    into.push(Buffer.from(record))
    return [record]
  }
}

export function flipByte(record: Buffer, at = Math.floor(record.length / 2)): Buffer {
  const flipped = Buffer.from(record)
  flipped[at] = flipped[at]! ^ 1
  return flipped
}
