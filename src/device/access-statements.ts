import type { DirectoryChange } from '../access/access-difference.ts'
import type { PersonChange } from '../access/people-difference.ts'
import { subjectKey, timedGrantKey } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import type { ClusterPlan } from './access-plan.ts'
import type { Draft } from './append.ts'
import type { FleetSession } from './fleet-session.ts'

/**
 * The statements that make the directory say what is declared, about the directory as it is at this moment:
 * what another administrator has said meanwhile is not said again.
 */

/** Of those changes of the clusters that `isNow` picks. */
export function saidOfClusters(
  session: FleetSession,
  plans: readonly ClusterPlan[],
  isNow: (plan: ClusterPlan, change: DirectoryChange) => boolean,
): Draft[] {
  return plans
    .filter(({ cluster }) => session.directory.state.clusters.has(cluster.id))
    .flatMap((plan) =>
      plan.inDirectory
        .filter((change) => isNow(plan, change) && !isSaid(session, plan.cluster.id, change))
        .map((change) => draftOf(session, plan.cluster.id, change)),
    )
}

/** Groups and nicknames of people who are still there. */
export function saidOfPeople(
  { directory, key }: FleetSession,
  changes: readonly PersonChange[],
): Draft[] {
  return changes.flatMap(({ user, groups, nickname }) => {
    const known = directory.state.users.get(user)
    if (!known || known.revoked) return []
    const isSame =
      known.nickname === nickname && sorted(known.groups).join() === sorted(groups).join()
    if (isSame) return []
    const detail = {
      user,
      groups: [...groups],
      ...(nickname === undefined ? {} : { nickname }),
    }
    return [{ type: 'groups', detail, signers: [key] } as const]
  })
}

function draftOf({ key, device }: FleetSession, cluster: string, change: DirectoryChange): Draft {
  const { action, expires } = change
  const subject = { ...change.subject }
  const signers = [key]
  if (change.kind === 'timed grant') {
    // What is over at once has ended.
    const end = action === 'remove' ? device.world.now() : change.expires
    const detail = { subject, cluster, group: change.group, expires: formatTime(end) }
    return { type: 'grant', detail, signers }
  }
  if (action === 'remove')
    return { type: 'member', detail: { action: 'remove', subject, cluster }, signers }
  const end = expires ? { expires: formatTime(expires) } : {}
  return { type: 'member', detail: { action: 'add', subject, cluster, ...end }, signers }
}

function isSaid(
  { directory, device }: FleetSession,
  cluster: string,
  change: DirectoryChange,
): boolean {
  const { state } = directory
  const now = device.world.now()
  const found =
    change.kind === 'member'
      ? state
          .memberships(cluster)
          .find(({ subject }) => subjectKey(subject) === subjectKey(change.subject))
      : state.timedGrants(cluster).find((grant) => timedGrantKey(grant) === timedGrantKey(change))
  if (change.action === 'remove')
    return found === undefined || (found.expires !== undefined && found.expires <= now)
  return found !== undefined && secondsOf(found.expires) === secondsOf(change.expires)
}

function secondsOf(time: Date | undefined): number | undefined {
  return time && Math.floor(time.getTime() / 1000)
}

function sorted(names: readonly string[]): string[] {
  return [...names].sort()
}
