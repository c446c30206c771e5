import type { TLSSocket } from 'node:tls'
import { standingUserCas } from '../directory/overlap.ts'
import type { DirectoryState } from '../directory/state.ts'
import type { Viewer } from '../directory/visibility.ts'
import { AccessDeniedError } from '../errors.ts'
import { peerKeyId } from '../pki/peer.ts'
import { readUserCertificate } from '../pki/user-certificate.ts'
import { plainAddress } from '../protocol/address.ts'
import { type ClusterTarget, parseClusterAuthority } from '../protocol/names.ts'

/**
 * Who is at the other end of an outer connection: a key that has proved itself in the handshake, and
 * what the directory says of it at this moment. Whether any certificate is in time is the agent's to
 * judge; what TLS itself thought of it (`socket.authorized`) is never looked at.
 */
export interface Peer {
  /** IP address; an IPv4 address as such, even on an IPv6 socket. Empty when it has gone already. */
  readonly address: string
  /** Undefined when the peer showed no certificate. */
  readonly certificateDer: Buffer | undefined
  /** Key id of its certificate; undefined without one, or when the key is none of ours. */
  readonly key: string | undefined
  /** 32 bytes that only the two ends of this connection know (RFC 8446 §7.5). @throws Error when it is gone */
  exporter(label: string): Buffer
}

const EXPORTER_BYTES = 32

/** The peer of a connection whose handshake is over. */
export function peerOf(socket: TLSSocket): Peer {
  const der = socket.getPeerX509Certificate()?.raw
  return {
    address: plainAddress(socket.remoteAddress ?? ''),
    certificateDer: der,
    key: der && peerKeyId(der),
    exporter: (label) => socket.exportKeyingMaterial(EXPORTER_BYTES, label, Buffer.alloc(0)),
  }
}

/** The cluster whose agent has this key, if the directory has such a cluster. */
export function clusterOfAgent(state: DirectoryState, key: string): string | undefined {
  for (const cluster of state.clusters.values()) if (cluster.agentKey === key) return cluster.id
  return undefined
}

/** As whom a peer reads the directory; undefined for a stranger. */
export function viewerOf(state: DirectoryState, { key }: Peer): Viewer | undefined {
  if (key === undefined) return undefined
  if (state.deviceOwner(key)) return { kind: 'device', key }
  const cluster = clusterOfAgent(state, key)
  return cluster === undefined ? undefined : { kind: 'agent', cluster }
}

/** Who may pass to which cluster. */
export interface Passage {
  readonly user: string
  /** Key id. */
  readonly device: string
  readonly target: ClusterTarget
}

/**
 * Whether a peer may reach what a CONNECT names: a live device by its own key, or a holder of a user
 * certificate of that very cluster. Unknown and foreign clusters get one answer, after the same work.
 * `decoyDer` is any certificate, read in place of the CA of a cluster that there is not.
 * @throws AccessDeniedError MCM_FORBIDDEN, whose cause is a `Denial`, for the log
 */
export function requirePassage(
  state: DirectoryState,
  peer: Peer,
  authority: string,
  decoyDer: Buffer,
  now: Date,
): Passage {
  const target = parseClusterAuthority(authority)
  const cluster = target && state.clusters.get(target.id)
  const userCas = cluster ? standingUserCas(cluster, now) : [decoyDer]
  const byCertificate = userOfCertificate(peer, userCas)
  const claim = ownDevice(state, peer) ?? byCertificate
  // Whichever cluster is named, if any: how long a refusal takes says nothing of which there are.
  const before = claim
    ? undefined
    : userOfCertificate(peer, [cluster?.previous?.userCaDer ?? decoyDer])
  const deny = (reason: string) => denied({ reason, user: claim?.user })
  if (peer.certificateDer === undefined) throw deny('no certificate')
  if (!target || !cluster) throw deny('no such cluster')
  if (before) throw replaced(cluster.name, before.user)
  if (!claim) throw deny('neither a device of the directory nor a certificate of this cluster')
  if (!state.isLiveDevice(claim.device)) throw deny('device unknown or revoked')
  if (state.deviceOwner(claim.device)?.user.name !== claim.user)
    throw deny('the certificate’s device is not its user’s')
  if (!state.isMember(claim.user, target.id, now)) throw deny('not a member')
  return { ...claim, target }
}

/** Whether a passage that was granted still would be. */
export function isStillGranted(
  state: DirectoryState,
  { user, device, target }: Passage,
  now: Date,
): boolean {
  return state.isLiveDevice(device) && state.isMember(user, target.id, now)
}

interface Claim {
  readonly user: string
  readonly device: string
}

function ownDevice(state: DirectoryState, { key }: Peer): Claim | undefined {
  const owner = key === undefined ? undefined : state.deviceOwner(key)
  return owner && { user: owner.user.name, device: owner.device.id }
}

function userOfCertificate(
  { certificateDer }: Peer,
  userCas: readonly Buffer[],
): Claim | undefined {
  if (!certificateDer) return undefined
  try {
    const { user, device } = readUserCertificate(certificateDer, userCas)
    return { user, device }
  } catch {
    return undefined
  }
}

/** Why somebody was not put through, and who it was, if it was anybody. */
export class Denial {
  readonly reason: string
  readonly user: string | undefined

  constructor({ reason, user }: { readonly reason: string; readonly user: string | undefined }) {
    this.reason = reason
    this.user = user
  }
}

/** Whoever has a certificate of the CA before knows that there is this cluster. */
function replaced(cluster: string, user: string) {
  return new AccessDeniedError(
    'MCM_FORBIDDEN',
    `the CAs of ${cluster} were replaced and this certificate is of one before: run mcm kubeconfig ${cluster} --merge`,
    { cause: new Denial({ reason: 'a certificate of a CA that was replaced', user }) },
  )
}

function denied(why: { readonly reason: string; readonly user: string | undefined }) {
  return new AccessDeniedError(
    'MCM_FORBIDDEN',
    'there is no such cluster, or this certificate may not reach it',
    {
      hint: 'mcm login renews certificates; mcm clusters lists what you may reach',
      cause: new Denial(why),
    },
  )
}
