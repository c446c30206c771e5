import { IMPERSONATOR_NAME, readImpersonator, withUserAppended } from '../access/impersonator.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { AccessDeniedError, isMcmError } from '../errors.ts'
import type { ClusterRole } from '../kube/rbac.ts'
import { RBAC_VERSION } from '../kube/rbac.ts'
import type { World } from '../world.ts'
import { isListedUser, type ListedNames } from './listed-names.ts'

/**
 * Puts somebody onto the list of names whom an identity provider has admitted, and whom nobody named
 * beforehand. The fence (access/fence.ts) lets the agent do this and no more.
 * @param user with the prefix, as the API server knows it
 * @throws AccessDeniedError MCM_NO_GRANT where the owner did not allow it; UnreachableError
 */
export type AdmitName = (user: string) => Promise<void>

const NO_LEAVE = 'its owner does not let the agent add names'
const PATH = `/apis/${RBAC_VERSION}/clusterroles/${IMPERSONATOR_NAME}`
/** Against the other replica and administrators; within a replica one follows the other. */
const MAX_ATTEMPTS = 32

/** How long it is believed that the agent has no right to add names: the queue behind it is everybody's. */
const REFUSED_MS = 5_000

export function nameAdmission(
  api: KubernetesApi,
  names: Pick<ListedNames, 'current' | 'learn'>,
  world: Pick<World, 'now'>,
): AdmitName {
  let last: Promise<unknown> = Promise.resolve()
  let refusal: { readonly cause: unknown; readonly atMs: number } | undefined
  async function admitOne(user: string): Promise<void> {
    if (isListedUser(names.current(), user)) return
    const nowMs = world.now().getTime()
    if (refusal && Math.abs(nowMs - refusal.atMs) < REFUSED_MS)
      throw notAdmitted(user, NO_LEAVE, refusal.cause)
    refusal = undefined
    await admit(api, names, user).catch((error: unknown) => {
      if (!(error instanceof AccessDeniedError) || error.code === 'MCM_NO_GRANT') throw error
      refusal = { cause: error, atMs: nowMs }
      throw notAdmitted(user, NO_LEAVE, error)
    })
  }
  return (user) => {
    const turn = last.then(() => admitOne(user))
    last = turn.catch(() => {})
    return turn
  }
}

async function admit(
  api: KubernetesApi,
  names: Pick<ListedNames, 'current' | 'learn'>,
  user: string,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const role = await api.get<ClusterRole>(PATH)
    if (isListedUser(readImpersonator(role), user)) return names.learn(role)
    const rules = withUserAppended(role, user)
    if (rules === undefined) throw notAdmitted(user, 'its list of names cannot be added to')
    try {
      return names.learn(await api.update<ClusterRole>(PATH, { ...role, rules }))
    } catch (error) {
      if (isInvalid(error)) throw notAdmitted(user, NO_LEAVE, error)
      if (!isConflict(error) || attempt === MAX_ATTEMPTS) throw error
    }
  }
}

function isConflict(error: unknown): boolean {
  return isMcmError(error) && error.code === 'MCM_CONFLICT'
}

/** How a ValidatingAdmissionPolicy refuses. */
function isInvalid(error: unknown): boolean {
  return isMcmError(error) && error.code === 'MCM_BAD_REQUEST'
}

function notAdmitted(user: string, why: string, cause?: unknown): AccessDeniedError {
  return new AccessDeniedError(
    'MCM_NO_GRANT',
    `${user} is not listed in this cluster, and ${why}`,
    {
      hint: 'ask the owner for mcm clusters fence CLUSTER --apply, or an administrator for a grant by name',
      cause,
    },
  )
}
