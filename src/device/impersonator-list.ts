import {
  formOf,
  IMPERSONATOR_NAME,
  type ImpersonationForm,
  type ImpersonatorNames,
  readImpersonator,
  rewrittenRules,
  withNames,
  withoutNames,
} from '../access/impersonator.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { isMcmError } from '../errors.ts'
import { type ClusterRole, RBAC_VERSION } from '../kube/rbac.ts'

/**
 * The names that the agent of a cluster may speak for, kept by administrators with their own identity.
 * A role that is unrestricted by its owner's choice keeps its names as they are.
 */

const PATH = `/apis/${RBAC_VERSION}/clusterroles/${IMPERSONATOR_NAME}`
const MAX_ATTEMPTS = 8

/** True when the role had to be changed. */
export async function addNames(api: KubernetesApi, names: ImpersonatorNames): Promise<boolean> {
  return changeRules(api, (role) => rewrittenRules(role, withNames(readImpersonator(role), names)))
}

/** True when the role had to be changed. */
export async function removeNames(api: KubernetesApi, names: ImpersonatorNames): Promise<boolean> {
  return changeRules(api, (role) =>
    rewrittenRules(role, withoutNames(readImpersonator(role), names)),
  )
}

/** Writes the same names in the form that the API server has. True when the role had to be changed. */
export async function setForm(api: KubernetesApi, form: ImpersonationForm): Promise<boolean> {
  return changeRules(api, (role) =>
    formOf(role) === form ? role.rules : rewrittenRules(role, readImpersonator(role), form),
  )
}

/** Rewrites the role's rules, as often as another was first. True when it had to be changed. */
export async function changeRules(
  api: KubernetesApi,
  edit: (role: ClusterRole) => ClusterRole['rules'],
): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    const role = await api.get<ClusterRole>(PATH)
    const rules = edit(role)
    if (isSame(role, { rules })) return false
    try {
      // The whole rules with the version they were read at: of two administrators nobody's name is lost.
      await api.update(PATH, { ...role, rules })
      return true
    } catch (error) {
      const isConflict = isMcmError(error) && error.code === 'MCM_CONFLICT'
      if (!isConflict || attempt === MAX_ATTEMPTS) throw error
    }
  }
}

/** By what they allow: how the API server orders the members of a rule does not matter. */
function isSame(left: Pick<ClusterRole, 'rules'>, right: Pick<ClusterRole, 'rules'>): boolean {
  const text = (role: Pick<ClusterRole, 'rules'>) => {
    const { users, groups, isUnrestricted } = readImpersonator(role)
    return JSON.stringify([users, groups, isUnrestricted, formOf(role)])
  }
  return text(left) === text(right)
}
