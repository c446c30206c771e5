import {
  IMPERSONATOR_NAME,
  type ImpersonatorNames,
  impersonatorRole,
  readImpersonator,
  rulesBesides,
  withNames,
  withoutNames,
} from '../access/impersonator.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { isMcmError } from '../errors.ts'
import { type ClusterRole, RBAC_VERSION } from '../kube/rbac.ts'

/**
 * The names that the agent of a cluster may speak for, kept by administrators with their own identity.
 * A role that is unrestricted by its owner's choice is left as it is.
 */

const PATH = `/apis/${RBAC_VERSION}/clusterroles/${IMPERSONATOR_NAME}`
const MAX_ATTEMPTS = 8

/** True when the role had to be changed. */
export async function addNames(api: KubernetesApi, names: ImpersonatorNames): Promise<boolean> {
  return change(api, (list) => withNames(list, names))
}

/** True when the role had to be changed. */
export async function removeNames(api: KubernetesApi, names: ImpersonatorNames): Promise<boolean> {
  return change(api, (list) => withoutNames(list, names))
}

async function change(
  api: KubernetesApi,
  edit: (list: ImpersonatorNames) => ImpersonatorNames,
): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    const role = await api.get<ClusterRole>(PATH)
    const list = readImpersonator(role)
    const wanted = edit(list)
    if (list.isUnrestricted || isSame(list, wanted)) return false
    try {
      // The whole rules with the version they were read at: of two administrators nobody's name is lost.
      const rules = [...(impersonatorRole(wanted).rules ?? []), ...rulesBesides(role)]
      await api.update(PATH, { ...role, rules })
      return true
    } catch (error) {
      const isConflict = isMcmError(error) && error.code === 'MCM_CONFLICT'
      if (!isConflict || attempt === MAX_ATTEMPTS) throw error
    }
  }
}

function isSame(left: ImpersonatorNames, right: ImpersonatorNames): boolean {
  const text = ({ users, groups }: ImpersonatorNames) => JSON.stringify([users, groups])
  return text(left) === text(right)
}
