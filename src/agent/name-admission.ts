import { IMPERSONATOR_NAME, readImpersonator, withUserAppended } from '../access/impersonator.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { AccessDeniedError, isMcmError } from '../errors.ts'
import type { ClusterRole } from '../kube/rbac.ts'
import { RBAC_VERSION } from '../kube/rbac.ts'
import { isListedUser, type ListedNames } from './listed-names.ts'

/**
 * Puts somebody onto the list of names whom an identity provider has admitted, and whom nobody named
 * beforehand. The fence (access/fence.ts) lets the agent do this and no more.
 * @param user with the prefix, as the API server knows it
 * @throws AccessDeniedError MCM_NO_GRANT where the owner did not allow it; UnreachableError
 */
export type AdmitName = (user: string) => Promise<void>

const PATH = `/apis/${RBAC_VERSION}/clusterroles/${IMPERSONATOR_NAME}`
/** Against the other replica and administrators; within a replica one follows the other. */
const MAX_ATTEMPTS = 32

export function nameAdmission(
  api: KubernetesApi,
  names: Pick<ListedNames, 'current' | 'learn'>,
): AdmitName {
  let last: Promise<unknown> = Promise.resolve()
  return (user) => {
    const turn = last.then(() => admit(api, names, user))
    last = turn.catch(() => {})
    return turn
  }
}

async function admit(
  api: KubernetesApi,
  names: Pick<ListedNames, 'current' | 'learn'>,
  user: string,
): Promise<void> {
  if (isListedUser(names.current(), user)) return
  for (let attempt = 1; ; attempt += 1) {
    const role = await api.get<ClusterRole>(PATH)
    if (isListedUser(readImpersonator(role), user)) return names.learn(role)
    const rules = withUserAppended(role, user)
    if (rules === undefined) throw notAdmitted(user, 'its list of names cannot be added to')
    try {
      return names.learn(await api.update<ClusterRole>(PATH, { ...role, rules }))
    } catch (error) {
      if (error instanceof AccessDeniedError || isInvalid(error))
        throw notAdmitted(user, 'its owner does not let the agent add names', error)
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
