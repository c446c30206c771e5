/**
 * The ceiling of this cluster as the agent enforces it, on every server version: one of two walls, the
 * other is the API server's own where it has constrained impersonation. It knows requests by what they
 * mean to the API server, never who makes them. Invariant: without a ceiling that was read, and is
 * heard of, nobody does anything.
 */

import {
  CEILING_NAME,
  type Ceiling,
  changesCeiling,
  isBelowCeiling,
  NO_CEILING,
  readCeiling,
} from '../access/ceiling.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { AccessDeniedError, messageOf, UnreachableError } from '../errors.ts'
import type { ClusterRole } from '../kube/rbac.ts'
import { RBAC_GROUP } from '../kube/rbac.ts'
import type { RequestInfo } from '../kube/request-info.ts'
import {
  type Background,
  type WatchedCollectionOptions,
  watchCollection,
} from './watched-collection.ts'

export interface CeilingHolder {
  /** Resolves when it has been read once, or seen not to be there. */
  readonly ready: Promise<void>
  /** False while nothing is heard of it: the owner may have set another one. */
  isFresh(): boolean
  current(): Ceiling | undefined
  /** Calls back when one that was read is another now, or gone. Gives its own end. */
  onReplaced(listener: () => void): () => void
}

const ROLES_PATH = `/apis/${RBAC_GROUP}/v1/clusterroles`

/** Reads and watches the ceiling until the signal aborts. */
export function startCeiling(
  api: KubernetesApi,
  background: Background,
  watch: Partial<WatchedCollectionOptions> = {},
): CeilingHolder {
  const fieldSelector = `metadata.name=${CEILING_NAME}`
  const roles = watchCollection<ClusterRole>(
    api,
    { ...watch, path: ROLES_PATH, fieldSelector },
    background,
  )
  let ceiling: Ceiling | undefined
  const listeners = new Set<() => void>()
  roles.onChange((role) => {
    const before = ceiling
    // One that cannot be read must not leave the one before it in force.
    ceiling = undefined
    try {
      ceiling = role && readCeiling(role)
    } catch (error) {
      background.log.error('ceiling_unreadable', { reason: messageOf(error) })
    }
    background.log.info('ceiling', { name: ceiling?.name ?? 'missing' })
    if (before === undefined || isSame(before, ceiling)) return
    for (const listener of listeners) listener()
  })
  return {
    ready: roles.ready,
    isFresh: () => roles.isFresh(),
    current: () => ceiling,
    onReplaced(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

function isSame(before: Ceiling, after: Ceiling | undefined): boolean {
  return JSON.stringify(before.rules) === JSON.stringify(after?.rules)
}

/**
 * Lets a request through that stays below the ceiling.
 * @throws AccessDeniedError MCM_FORBIDDEN naming the ceiling; UnreachableError while nothing is heard of it
 */
export function requireBelowCeiling(
  holder: Pick<CeilingHolder, 'current' | 'isFresh'>,
  info: RequestInfo,
): void {
  if (!holder.isFresh()) throw notHeard()
  const ceiling = holder.current()
  if (ceiling === undefined) throw noCeiling()
  if (changesCeiling(info)) throw ownersMatter(info)
  if (isBelowCeiling(ceiling, info)) return
  throw new AccessDeniedError('MCM_FORBIDDEN', `${told(info)} ${whyNot(ceiling)}`, {
    hint: 'whatever you are granted: mcm clusters ceiling CLUSTER shows what is allowed, its owner changes it',
  })
}

function whyNot({ name }: Ceiling): string {
  if (name === NO_CEILING) return 'is not done through mcm in any cluster'
  return `is above the ceiling ${name}, which the owner of this cluster has set for everybody`
}

/** As `kubectl auth can-i` would say it: `create pods/exec "web" in namespace "shop"`. */
function told(info: RequestInfo): string {
  if (!info.isResourceRequest) return `${info.verb} ${JSON.stringify(info.path)}`
  const { verb, apiGroup, resource, subresource, name, namespace } = info
  const kind = apiGroup === '' ? resource : `${resource}.${apiGroup}`
  const whole = subresource === '' ? kind : `${kind}/${subresource}`
  const named = name === '' ? '' : ` ${JSON.stringify(name)}`
  const where = namespace === '' ? '' : ` in namespace ${JSON.stringify(namespace)}`
  return `${verb || 'this'} ${whole}${named}${where}`
}

function ownersMatter(info: RequestInfo): AccessDeniedError {
  return new AccessDeniedError(
    'MCM_FORBIDDEN',
    `${told(info)} is refused: the ceiling of a cluster is not changed from below it`,
    {
      hint: 'the owner changes it with direct access: mcm clusters ceiling CLUSTER --set CEILING --apply --context CONTEXT',
    },
  )
}

function notHeard(): UnreachableError {
  return new UnreachableError(
    'MCM_API_SERVER_UNREACHABLE',
    'the agent cannot see at present which ceiling this cluster has, so nothing is let through',
    {
      hint: `try again in a moment; if it lasts, the agent may not watch ClusterRole ${CEILING_NAME}`,
    },
  )
}

function noCeiling(): AccessDeniedError {
  return new AccessDeniedError(
    'MCM_FORBIDDEN',
    `this cluster has no ClusterRole ${CEILING_NAME}, so nothing may be done in it through mcm`,
    {
      hint: 'the owner sets it with direct access: mcm clusters ceiling CLUSTER --set none --apply --context CONTEXT',
    },
  )
}
