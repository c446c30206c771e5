/**
 * The agent's memory: Secrets of its own namespace. Knows how one is named, read and changed, and
 * nothing of what stands in it. Invariant: a Secret is only ever written over the version that was
 * read, so of two replicas that write at once none undoes the other's work.
 */

import { createHash } from 'node:crypto'
import { AGENT_NAMESPACE } from '../access/agent-rights.ts'
import { MANAGED_BY_MCM } from '../access/label.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { isMcmError, UnreachableError } from '../errors.ts'
import type { KubernetesObject, ObjectMeta } from '../kube/object.ts'

/** Where the agent's Secrets are. */
export const SECRETS_PATH = `/api/v1/namespaces/${AGENT_NAMESPACE}/secrets`

export const CLUSTER_LABEL = 'mcm.dev/cluster'
export const STATE_LABEL = 'mcm.dev/state'

/** What a Secret of the agent is about. */
export type StateKind = 'identity' | 'directory' | 'principal' | 'uses'

export interface StateSecret extends KubernetesObject {
  readonly metadata: ObjectMeta & { readonly uid?: string }
  readonly type: 'Opaque'
  /** Base64 by key. */
  readonly data?: Readonly<Record<string, string>>
}

/**
 * Two replicas and a few requests at once: each lost round means that somebody else's write
 * succeeded.
 */
const MAX_ATTEMPTS = 20

/** A cluster that is registered anew has another id and starts with an empty memory. */
export function identitySecretName(cluster: string): string {
  return `mcm-identity-${cluster}`
}

export function directorySecretName(cluster: string): string {
  return `mcm-directory-${cluster}`
}

/** When certificates were used, one for each replica that is there at a time. */
export function usesSecretName(cluster: string, number: number): string {
  return `mcm-uses-${cluster}-${number}`
}

/** Whoever may delete this Secret may revoke that user (docs/PROTOCOL.md §8). */
export function principalSecretName(cluster: string, user: string): string {
  const hash = createHash('sha256').update(`${cluster}/${user}`).digest('hex')
  return `mcm-principal-${hash.slice(0, 32)}`
}

/** The label selector of all Secrets of one kind of one cluster. */
export function stateSelector(cluster: string, kind: StateKind): string {
  return `${CLUSTER_LABEL}=${cluster},${STATE_LABEL}=${kind}`
}

/** A new Secret with these values. */
export function newStateSecret(
  name: string,
  cluster: string,
  kind: StateKind,
  values: Readonly<Record<string, string | Uint8Array>>,
): StateSecret {
  const labels = { ...MANAGED_BY_MCM, [CLUSTER_LABEL]: cluster, [STATE_LABEL]: kind }
  const metadata = { name, namespace: AGENT_NAMESPACE, labels }
  return { apiVersion: 'v1', kind: 'Secret', metadata, type: 'Opaque', data: encode(values) }
}

/** The same Secret with other values. */
export function withValues(
  secret: StateSecret,
  values: Readonly<Record<string, string | Uint8Array>>,
): StateSecret {
  return { ...secret, data: encode(values) }
}

/** A value, undefined when there is none. */
export function secretValue(secret: StateSecret, key: string): Buffer | undefined {
  const value = secret.data?.[key]
  return value === undefined ? undefined : Buffer.from(value, 'base64')
}

/**
 * Reads a Secret, changes it and writes it, again from the start when somebody else was faster.
 * `change` gets what is there, or undefined, and gives what shall be there, or undefined to leave
 * it; it may run several times. Gives what is there afterwards.
 * @throws UnreachableError MCM_CONFLICT after twenty lost rounds; whatever `change` throws
 */
export async function changeSecret(
  api: KubernetesApi,
  name: string,
  change: (
    current: StateSecret | undefined,
  ) => StateSecret | undefined | Promise<StateSecret | undefined>,
): Promise<StateSecret | undefined> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const current = await api.getIfAny<StateSecret>(`${SECRETS_PATH}/${name}`)
    const next = await change(current)
    if (next === undefined) return current
    const written = await write(api, name, current, next)
    if (written !== undefined) return written
  }
  throw new UnreachableError('MCM_CONFLICT', `Secret ${name} changes too fast to be written`)
}

/** Undefined when the Secret is not the one that was read any more. */
async function write(
  api: KubernetesApi,
  name: string,
  current: StateSecret | undefined,
  next: StateSecret,
): Promise<StateSecret | undefined> {
  try {
    if (current === undefined) return await api.create<StateSecret>(SECRETS_PATH, next)
    const resourceVersion = versionOf(current)
    const metadata = { ...next.metadata, resourceVersion }
    return await api.update<StateSecret>(`${SECRETS_PATH}/${name}`, { ...next, metadata })
  } catch (error) {
    const isGone = isMcmError(error) && error.code === 'MCM_NOT_FOUND' && current !== undefined
    if (isGone || (isMcmError(error) && error.code === 'MCM_CONFLICT')) return undefined
    throw error
  }
}

/** An update without a version would overwrite whatever is there. */
function versionOf({ metadata }: StateSecret): string {
  if (metadata.resourceVersion) return metadata.resourceVersion
  throw new Error(`Secret ${metadata.name} was read without a version`)
}

function encode(values: Readonly<Record<string, string | Uint8Array>>): Record<string, string> {
  const entries = Object.entries(values)
  return Object.fromEntries(entries.map(([key, value]) => [key, base64(value)]))
}

function base64(value: string | Uint8Array): string {
  return (typeof value === 'string' ? Buffer.from(value, 'utf8') : Buffer.from(value)).toString(
    'base64',
  )
}
