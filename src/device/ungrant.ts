import { type BoundGrant, bindingPath, type GrantSubject, grantsOf } from '../access/grant.ts'
import { type ImpersonatorNames, withNames, withoutNames } from '../access/impersonator.ts'
import { namesInUse } from '../access/names-in-use.ts'
import { type ClusterRecord, subjectKey } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { IdentityError, isMcmError, NotFoundError, TrustError } from '../errors.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements, type Draft } from './append.ts'
import { withCluster } from './cluster-access.ts'
import {
  type ClusterChange,
  isFor,
  isListed,
  managedBindings,
  ownName,
  reported,
  timedNames,
} from './cluster-bindings.ts'
import { reachableClusters, requireCluster } from './cluster-lookup.ts'
import type { FleetSession } from './fleet-session.ts'
import { removeNames } from './impersonator-list.ts'
import { peopleOf } from './names-in-use.ts'
import { isOver, isRequestAlive } from './request-bindings.ts'

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
  await sayUngranted(session, subject, results)
  return results.map(({ change }) => change)
}

async function ungrantInCluster(
  session: FleetSession,
  subject: GrantSubject,
  only: { readonly role?: string; readonly namespace?: string },
  cluster: ClusterRecord,
): Promise<Ungranted> {
  const changed: string[] = []
  const ended: BoundGrant[] = []
  let isLeft = false
  await withCluster(session, cluster, async ({ kubernetes }) => {
    for (const binding of await managedBindings(kubernetes)) {
      const grants = grantsOf(binding, cluster.prefix).filter((grant) => isFor(grant, subject))
      if (grants.length === 0) continue
      if (!grants.some((grant) => isWanted(grant, only))) {
        // What answers a request that is over gives nothing.
        isLeft ||= grants.some((grant) => !isOver(session, grant, binding))
        continue
      }
      await kubernetes.delete(bindingPath(binding))
      changed.push(`${binding.kind} ${binding.metadata.name}`)
      ended.push(...grants)
    }
    const gone = namesGone(session, subject, cluster, { isLeft, ended })
    if (await removeNames(kubernetes, gone)) changed.push('ClusterRole mcm-impersonator')
  })
  return { change: { cluster: cluster.name, id: cluster.id, changed }, isLeft, ended }
}

interface Ungranted {
  readonly change: ClusterChange
  /** Whether the subject has something there still. */
  readonly isLeft: boolean
  readonly ended: readonly BoundGrant[]
}

/** Names that nobody there needs any more: of a group also those of its people who have nothing else. */
function namesGone(
  { directory, device }: FleetSession,
  subject: GrantSubject,
  cluster: ClusterRecord,
  { isLeft, ended }: Pick<Ungranted, 'isLeft' | 'ended'>,
): ImpersonatorNames {
  const timed = timedNames(ended, cluster.prefix)
  if (isLeft) return timed
  // Timed groups are gone with their own grants, not with a membership.
  const people = { ...peopleOf(directory.state, cluster, device.world.now()), timedGroups: [] }
  const rest = people.members.filter((member) => subjectKey(member) !== subjectKey(subject))
  const known = withNames(namesInUse(people), withNames(timed, ownName(subject, cluster.prefix)))
  return withoutNames(known, namesInUse({ ...people, members: rest }))
}

async function sayUngranted(
  session: FleetSession,
  subject: GrantSubject,
  results: readonly Ungranted[],
): Promise<void> {
  const expires = formatTime(session.device.world.now())
  await appendStatements(session, ({ directory, key }) => {
    const signers = [key]
    return results.flatMap(({ change: { id: cluster }, isLeft, ended }): Draft[] => {
      const isRunning = (request: number) => isRequestAlive({ ...session, directory }, request)
      const isMember = isListed(directory.state.members(cluster), subject)
      const detail = { action: 'remove', subject: { ...subject }, cluster } as const
      const timed = ended.flatMap(({ timedGroup: group, request }): Draft[] => {
        if (request !== undefined)
          return isRunning(request)
            ? [{ type: 'approval', detail: { action: 'end', request }, signers }]
            : []
        if (group === undefined) return []
        const detail = { subject: { ...subject }, cluster, group, expires }
        return [{ type: 'grant', detail, signers }]
      })
      return [
        ...timed,
        ...(isMember && !isLeft ? [{ type: 'member', detail, signers } as const] : []),
      ]
    })
  })
}

/**
 * Everything a user has in every cluster this administrator can reach: bindings, name, and open sessions.
 * What cannot be reached or done is reported; the directory's own word has cut the user off there already.
 */
export async function endEverywhere(session: FleetSession, user: string): Promise<ClusterChange[]> {
  const clusters = reachableClusters(session.directory, session.state.user)
  return Promise.all(clusters.map((cluster) => endInCluster(session, user, cluster)))
}

/** One thing that cannot be ended keeps nothing else. */
async function endInCluster(
  session: FleetSession,
  user: string,
  cluster: ClusterRecord,
): Promise<ClusterChange> {
  const subject = { kind: 'user', name: user } as const
  const done = new Set<string>()
  const problems = new Set<string>()
  const attempt = async (what: string, work: () => Promise<boolean>) => {
    try {
      if (await work()) done.add(what)
    } catch (error) {
      // A new certificate may help, and then all of it is done again.
      if (!isMcmError(error) || error instanceof TrustError || error instanceof IdentityError)
        throw error
      problems.add(`${what}: ${error.message}`)
    }
  }
  const { problem } = await reported(cluster, () =>
    withCluster(session, cluster, async ({ kubernetes, agent }) => {
      problems.clear()
      await attempt('open sessions', () => cutSessions(() => agent.revoke({ user })))
      const ended: BoundGrant[] = []
      for (const binding of await managedBindings(kubernetes)) {
        const grants = grantsOf(binding, cluster.prefix).filter((each) => isFor(each, subject))
        if (grants.length === 0) continue
        ended.push(...grants)
        await attempt(`${binding.kind} ${binding.metadata.name}`, async () => {
          await kubernetes.delete(bindingPath(binding))
          return true
        })
      }
      const gone = withNames(timedNames(ended, cluster.prefix), ownName(subject, cluster.prefix))
      await attempt('ClusterRole mcm-impersonator', () => removeNames(kubernetes, gone))
      return []
    }),
  )
  const all = [...problems, ...(problem === undefined ? [] : [problem])]
  const change = { cluster: cluster.name, id: cluster.id, changed: [...done] }
  return all.length === 0 ? change : { ...change, problem: all.join('; ') }
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

function isWanted(grant: BoundGrant, only: { role?: string; namespace?: string }): boolean {
  const isRole = only.role === undefined || grant.role === only.role
  return isRole && (only.namespace === undefined || grant.namespace === only.namespace)
}
