import { UsageError } from '../errors.ts'

/** Names, hosts and limits that hub, agent and client share (docs/PROTOCOL.md §1). */

export const PROTOCOL_VERSION = 1
export const CLUSTER_DOMAIN = 'clusters.mcm.internal'

/** ALPN protocol ids; the hub prefers them in this order. */
export const ALPN_TUNNEL = 'mcm-tunnel/1'
export const ALPN_HTTP1 = 'http/1.1'
export const ALPN_HTTP2 = 'h2'

const CLUSTER_ID = /^c-[a-z2-7]{10}$/
/** As the regular expression says; `isPrincipalName` asks for more. */
export const PRINCIPAL_NAME = /^[\p{L}\p{N}][\p{L}\p{M}\p{N}@._+-]*$/u
const CLUSTER_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
/** Letters and marks that nothing shows: two names must never look the same for one of these. */
const INVISIBLE = /\p{Default_Ignorable_Code_Point}/u
const MAX_NAME_BYTES = 253
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567'

/** A fresh cluster id: 50 random bits. `random` gives bytes. */
export function newClusterId(random: (byteCount: number) => Uint8Array): string {
  return `c-${Array.from(random(10), (byte) => BASE32[byte & 31]).join('')}`
}

export function isClusterId(value: string): boolean {
  return CLUSTER_ID.test(value)
}

/** Where inner sessions of a cluster are addressed: SNI, certificate name and CONNECT authority. */
export function clusterHost(id: string): string {
  return `${id}.${CLUSTER_DOMAIN}`
}

/** Where enrolment of a cluster is addressed. */
export function enrolmentHost(id: string): string {
  return `enrol.${id}.${CLUSTER_DOMAIN}`
}

/** Where carriers of pipes are addressed (§9); on a pipe itself it is the cluster host that counts. */
export function pipeHost(id: string): string {
  return `pipe.${id}.${CLUSTER_DOMAIN}`
}

/** The header with which a CONNECT to the pipe host names the replica it must reach. */
export const REPLICA_HEADER = 'mcm-replica'

export type ClusterTarget = {
  readonly id: string
  readonly kind: 'session' | 'enrolment' | 'pipe'
}

const KINDS = { 'enrol.': 'enrolment', 'pipe.': 'pipe' } as const

/** The cluster a CONNECT authority names, exactly `<host>:443`; anything else is undefined. */
export function parseClusterAuthority(authority: string): ClusterTarget | undefined {
  const match = /^(enrol\.|pipe\.)?(c-[a-z2-7]{10})\.clusters\.mcm\.internal:443$/.exec(authority)
  if (!match?.[2]) return undefined
  const prefix = match[1] as keyof typeof KINDS | undefined
  return { id: match[2], kind: prefix ? KINDS[prefix] : 'session' }
}

/** Whether a user or group name may stand in a certificate (PROTOCOL §1). */
export function isPrincipalName(name: string): boolean {
  const bytes = Buffer.byteLength(name)
  return (
    bytes > 0 &&
    bytes <= MAX_NAME_BYTES &&
    name === name.normalize('NFC') &&
    PRINCIPAL_NAME.test(name) &&
    !INVISIBLE.test(name)
  )
}

/** The name itself. @throws UsageError MCM_BAD_NAME */
export function requirePrincipalName(name: string, what = 'user'): string {
  if (isPrincipalName(name)) return name
  throw new UsageError('MCM_BAD_NAME', `${what} name ${JSON.stringify(name)} cannot be used`, {
    hint: 'use letters, digits and @ . _ + -, starting with a letter or digit, at most 253 bytes',
  })
}

/** Whether this is a cluster's display name: an RFC 1123 label. */
export function isClusterName(name: string): boolean {
  return CLUSTER_NAME.test(name)
}

/** The name itself. @throws UsageError MCM_BAD_NAME */
export function requireClusterName(name: string): string {
  if (isClusterName(name)) return name
  throw new UsageError('MCM_BAD_NAME', `cluster name ${JSON.stringify(name)} cannot be used`, {
    hint: 'use lower-case letters, digits and "-", at most 63, as in idc-k8s',
  })
}
