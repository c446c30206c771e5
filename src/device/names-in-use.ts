import { bareName } from '../access/identity.ts'
import {
  type ImpersonatorNames,
  readImpersonator,
  rewrittenRules,
  withNames,
} from '../access/impersonator.ts'
import { namesInUse, type PeopleOfCluster } from '../access/names-in-use.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import type { Directory } from '../directory/directory.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { changeRules } from './impersonator-list.ts'

/** The names in use in a cluster, as the directory has it, and the list made to hold exactly those. */

/**
 * Whom the agent of a cluster has to speak for by the directory of today. People whom an identity provider
 * admits are named by nobody beforehand and are not among them.
 */
export function namesInUseOf(
  { state }: Pick<Directory, 'state'>,
  { id, prefix }: Pick<ClusterRecord, 'id' | 'prefix'>,
  now: Date,
): ImpersonatorNames {
  return namesInUse(peopleOf(state, { id, prefix }, now))
}

/** What the directory of today says of a cluster's people; what has ended is not among it. */
export function peopleOf(
  state: Directory['state'],
  { id, prefix }: Pick<ClusterRecord, 'id' | 'prefix'>,
  now: Date,
): PeopleOfCluster {
  const isNow = ({ expires }: { readonly expires?: Date }) => expires === undefined || now < expires
  return {
    prefix,
    members: state
      .memberships(id)
      .filter(isNow)
      .map(({ subject }) => subject),
    users: [...state.users.values()].map(({ name, groups, revoked }) => ({
      name,
      groups,
      isRevoked: revoked !== undefined,
    })),
    timedGroups: state
      .timedGrants(id)
      .filter(isNow)
      .map(({ group }) => group),
  }
}

/**
 * Makes the list exactly the names in use, for whoever declares the whole (`access apply`): call it after
 * every statement is appended. Listed people of an identity provider stay: the agent added them. True
 * when the role had to be changed.
 */
export async function listNamesInUse(
  api: KubernetesApi,
  directory: Pick<Directory, 'state'>,
  cluster: Pick<ClusterRecord, 'id' | 'prefix'>,
  now: Date,
): Promise<boolean> {
  const names = namesInUseOf(directory, cluster, now)
  const { state } = directory
  const isAdmitted = (listed: string) => {
    const user = bareName(listed, cluster.prefix)
    if (user === undefined || state.providerOf(user) === undefined) return false
    return state.users.get(user)?.revoked === undefined
  }
  return changeRules(api, (role) => {
    const admitted = readImpersonator(role).users.filter(isAdmitted)
    return rewrittenRules(role, withNames(names, { users: admitted, groups: [] }))
  })
}
