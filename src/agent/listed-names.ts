import {
  IMPERSONATOR_NAME,
  type ImpersonatorList,
  NO_NAMES,
  readImpersonator,
} from '../access/impersonator.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { messageOf } from '../errors.ts'
import type { ClusterRole } from '../kube/rbac.ts'
import { RBAC_GROUP } from '../kube/rbac.ts'
import {
  type Background,
  type WatchedCollectionOptions,
  watchCollection,
} from './watched-collection.ts'

/**
 * Whom the agent may speak for: the names in ClusterRole `mcm-impersonator`, which administrators
 * keep. The API server enforces the list itself; here it decides who gets a certificate and which
 * groups are sent.
 */
export interface ListedNames {
  /** Resolves when the list has been read once. */
  readonly ready: Promise<void>
  isFresh(): boolean
  /** From memory. A role that is not there lists nobody. */
  current(): ImpersonatorList
  /**
   * Read from the API server, at most once a second. @throws UnreachableError, AccessDeniedError
   */
  fresh(): Promise<ImpersonatorList>
  /** Takes in what a write of ours was answered, before the watch brings it. */
  learn(role: ClusterRole): void
  /** Calls back when the list has changed. Gives its own end. */
  onChange(listener: (list: ImpersonatorList) => void): () => void
}

const ROLES_PATH = `/apis/${RBAC_GROUP}/v1/clusterroles`
/** Refused people ask again and again; the answer is not read from the server every time. */
const MIN_READ_MS = 1_000
const NOBODY: ImpersonatorList = { ...NO_NAMES, isUnrestricted: false }

/** Reads and watches the list until the signal aborts. */
export function startListedNames(
  api: KubernetesApi,
  background: Background,
  watch: Partial<WatchedCollectionOptions> = {},
): ListedNames {
  const fieldSelector = `metadata.name=${IMPERSONATOR_NAME}`
  const roles = watchCollection<ClusterRole>(
    api,
    { ...watch, path: ROLES_PATH, fieldSelector },
    background,
  )
  // Asked for every request: read once per change.
  let list = NOBODY
  const listeners = new Set<(list: ImpersonatorList) => void>()
  roles.onChange((role) => {
    list = role === undefined ? NOBODY : readImpersonator(role)
    for (const listener of listeners) {
      try {
        listener(list)
      } catch (error) {
        background.log.error('names_listener_failed', { reason: messageOf(error) })
      }
    }
  })
  let pending: Promise<void> | undefined
  let readAt = Number.NEGATIVE_INFINITY
  async function read(): Promise<void> {
    const now = background.world.now().getTime()
    if (Math.abs(now - readAt) < MIN_READ_MS) return
    const role = await api.getIfAny<ClusterRole>(`${ROLES_PATH}/${IMPERSONATOR_NAME}`)
    readAt = now
    // A role that is gone is for the watch to tell: it knows the order of things.
    if (role !== undefined) roles.learn(role)
  }
  return {
    ready: roles.ready,
    isFresh: () => roles.isFresh(),
    current: () => list,
    learn: (role) => roles.learn(role),
    async fresh() {
      pending ??= read().finally(() => {
        pending = undefined
      })
      await pending
      return list
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

/** Whether the agent may speak for a user, named with the prefix. */
export function isListedUser(list: ImpersonatorList, prefixedUser: string): boolean {
  return list.isUnrestricted || list.users.includes(prefixedUser)
}
