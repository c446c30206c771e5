import { bindingPath, type Grant, type GrantSubject, grantsOf } from '../access/grant.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { NotFoundError } from '../errors.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import { withCluster } from './cluster-access.ts'
import {
  type ClusterChange,
  isFor,
  isListed,
  managedBindings,
  ownName,
  reported,
} from './cluster-bindings.ts'
import { reachableClusters, requireCluster } from './cluster-lookup.ts'
import type { FleetSession } from './fleet-session.ts'
import { removeNames } from './impersonator-list.ts'

/** Taking rights in clusters away again, with the administrator's own identity. */

/**
 * Takes a user's or group's rights in some clusters away; all of mcm's bindings there, or only of one role
 * or namespace. With nothing left there the subject is no member any more.
 */
export async function ungrant(
  session: FleetSession,
  subject: GrantSubject,
  only: { readonly role?: string; readonly namespace?: string },
  clusterNames: readonly string[],
): Promise<ClusterChange[]> {
  requireAdmin(session, 'take rights away')
  const clusters = clusterNames.map((name) => requireCluster(session.directory, name))
  const results = await Promise.all(
    clusters.map((cluster) => ungrantInCluster(session, subject, only, cluster)),
  )
  await removeMembers(
    session,
    subject,
    results.filter(({ isLeft }) => !isLeft).map(({ change }) => change.id),
  )
  return results.map(({ change }) => change)
}

async function ungrantInCluster(
  session: FleetSession,
  subject: GrantSubject,
  only: { readonly role?: string; readonly namespace?: string },
  cluster: ClusterRecord,
): Promise<{ change: ClusterChange; isLeft: boolean }> {
  const changed: string[] = []
  let isLeft = false
  await withCluster(session, cluster, async ({ kubernetes }) => {
    for (const binding of await managedBindings(kubernetes)) {
      const grants = grantsOf(binding, cluster.prefix).filter((grant) => isFor(grant, subject))
      if (grants.length === 0) continue
      if (!grants.some((grant) => isWanted(grant, only))) {
        isLeft = true
        continue
      }
      await kubernetes.delete(bindingPath(binding))
      changed.push(`${binding.kind} ${binding.metadata.name}`)
    }
    if (isLeft || keepsName(session, subject, cluster)) return
    const gone = ownName(subject, cluster.prefix)
    if (await removeNames(kubernetes, gone)) changed.push('ClusterRole mcm-impersonator')
  })
  return { change: { cluster: cluster.name, id: cluster.id, changed }, isLeft }
}

/** A user who is there through a group as well still has to be spoken for. */
function keepsName(
  { directory }: FleetSession,
  subject: GrantSubject,
  cluster: ClusterRecord,
): boolean {
  if (subject.kind === 'group') return false
  const groups = directory.state.users.get(subject.name)?.groups ?? []
  const members = directory.state.members(cluster.id)
  return groups.some((name) => isListed(members, { kind: 'group', name }))
}

async function removeMembers(
  session: FleetSession,
  subject: GrantSubject,
  clusterIds: readonly string[],
): Promise<void> {
  await appendStatements(session, ({ directory, key }) =>
    clusterIds
      .filter((id) => isListed(directory.state.members(id), subject))
      .map((id) => ({
        type: 'member',
        detail: { action: 'remove', subject: { ...subject }, cluster: id },
        signers: [key],
      })),
  )
}

/**
 * Everything a user has in every cluster this administrator can reach: bindings, name, and open sessions.
 * What cannot be reached is reported; the directory's own word has cut the user off there already.
 */
export async function endEverywhere(session: FleetSession, user: string): Promise<ClusterChange[]> {
  const clusters = reachableClusters(session.directory, session.state.user)
  return Promise.all(
    clusters.map((cluster) =>
      reported(cluster, () =>
        withCluster(session, cluster, async ({ kubernetes, agent }) => {
          const changed: string[] = []
          const subject = { kind: 'user', name: user } as const
          if (await cutSessions(() => agent.revoke({ user }))) changed.push('open sessions')
          for (const binding of await managedBindings(kubernetes)) {
            const grants = grantsOf(binding, cluster.prefix)
            if (!grants.some((grant) => isFor(grant, subject))) continue
            await kubernetes.delete(bindingPath(binding))
            changed.push(`${binding.kind} ${binding.metadata.name}`)
          }
          const gone = ownName(subject, cluster.prefix)
          if (await removeNames(kubernetes, gone)) changed.push('ClusterRole mcm-impersonator')
          return changed
        }),
      ),
    ),
  )
}

/** A user who never had a certificate there has nothing to revoke. */
async function cutSessions(revoke: () => Promise<unknown>): Promise<boolean> {
  try {
    await revoke()
    return true
  } catch (error) {
    if (error instanceof NotFoundError) return false
    throw error
  }
}

function isWanted(grant: Grant, only: { role?: string; namespace?: string }): boolean {
  const isRole = only.role === undefined || grant.role === only.role
  return isRole && (only.namespace === undefined || grant.namespace === only.namespace)
}
