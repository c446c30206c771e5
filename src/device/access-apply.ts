import type { ClusterChange, DirectoryChange } from '../access/access-difference.ts'
import { bindingPath, type GrantSubject } from '../access/grant.ts'
import type { PersonChange } from '../access/people-difference.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { subjectKey } from '../directory/state.ts'
import {
  AccessDeniedError,
  EXIT_ALL_FAILED,
  EXIT_SOME_FAILED,
  isMcmError,
  NotFoundError,
  TrustError,
  UsageError,
} from '../errors.ts'
import { RBAC_VERSION } from '../kube/rbac.ts'
import { changeLine } from './access-document.ts'
import { type AccessPlan, type ClusterPlan, PARALLEL_CLUSTERS } from './access-plan.ts'
import { saidOfClusters, saidOfPeople } from './access-statements.ts'
import { appendInParts } from './append.ts'
import { withCluster } from './cluster-access.ts'
import type { FleetSession } from './fleet-session.ts'
import { followServer } from './impersonation-form.ts'
import { addNames, removeNames } from './impersonator-list.ts'
import { inParallel } from './in-parallel.ts'

/**
 * Making a declared access true, with the administrator's own identity. First the directory takes away, which
 * every agent heeds at once; then each cluster is changed; then the directory gives, where the
 * cluster is ready for it. Each step can be done again: what stopped in the middle is finished by the
 * next apply, and whatever stands meanwhile stood before or is declared.
 */

/** How it went in one cluster. */
export interface AppliedCluster {
  readonly cluster: string
  readonly id: string
  /** What was changed, as sentences. */
  readonly changed: readonly string[]
  /** What could not be done, and why. */
  readonly problems: readonly string[]
}

export interface AppliedAccess {
  readonly clusters: readonly AppliedCluster[]
  /** Whose groups or nicknames were changed. */
  readonly people: readonly string[]
  /** Who could not be put into a group yet, and why. */
  readonly problems: readonly string[]
}

interface ClusterOutcome {
  readonly plan: ClusterPlan
  readonly applied: AppliedCluster
  /** Subjects with a binding that could not be written, by `subjectKey`: how many. */
  readonly failed: ReadonlyMap<string, number>
  readonly isReached: boolean
}

const FIELD_MANAGER = 'mcm'
/** Requests to one cluster at a time. */
const PARALLEL_CHANGES = 8

/** @throws TrustError, and what the hub refuses a statement with; what a cluster refuses is told */
export async function applyAccess(session: FleetSession, plan: AccessPlan): Promise<AppliedAccess> {
  const { clusters, people } = plan
  const after = await appendInParts(session, (current) => [
    ...saidOfClusters(current, clusters, (_plan, change) => isTaking(change)),
    ...saidOfPeople(current, people.changes.map(onlyLess)),
  ])
  const outcomes = await inParallel(clusters, PARALLEL_CLUSTERS, (each) =>
    applyToCluster(after, each),
  )
  const ready = new Map(outcomes.map((outcome) => [outcome.plan, outcome]))
  const unfinished = outcomes.filter(({ isReached }) => !isReached).map((it) => it.plan)
  const waiting = people.changes.flatMap((change) => waitingFor(after, change, unfinished))
  const late = new Set(waiting.map(({ user }) => user))
  const now = people.changes.filter(({ user }) => !late.has(user))
  await appendInParts(after, (current) => [
    ...saidOfClusters(current, clusters, (each, change) => isReady(ready.get(each)!, change)),
    ...saidOfPeople(current, now),
  ])
  return {
    clusters: outcomes.map(({ applied }) => applied),
    people: now.map(({ user }) => user),
    problems: waiting.map(({ problem }) => problem),
  }
}

/** 0 when all of it is true now, EXIT_SOME_FAILED, EXIT_ALL_FAILED. */
export function exitCodeOfApply({ clusters, problems }: AppliedAccess): number {
  const failed = clusters.filter((cluster) => cluster.problems.length > 0)
  if (failed.length === 0) return problems.length > 0 ? EXIT_SOME_FAILED : 0
  return failed.length === clusters.length ? EXIT_ALL_FAILED : EXIT_SOME_FAILED
}

/** Nobody may do more after it, or longer, than before. */
function isTaking({ action, expires, before }: DirectoryChange): boolean {
  if (action !== 'change') return action === 'remove'
  return expires !== undefined && (before === undefined || expires < before)
}

function onlyLess({ groups, added, ...change }: PersonChange): PersonChange {
  return { ...change, added: [], groups: groups.filter((group) => !added.includes(group)) }
}

/**
 * Whoever comes into a group gets what the group has in a cluster. Where that could not be brought up to
 * date it may be more than is declared: then they come into the group with the next apply.
 */
function waitingFor(
  { directory }: FleetSession,
  { user, added }: PersonChange,
  unfinished: readonly ClusterPlan[],
): { readonly user: string; readonly problem: string }[] {
  const blocking = unfinished.find(({ cluster }) =>
    directory.state
      .members(cluster.id)
      .some(({ kind, name }) => kind === 'group' && added.includes(name)),
  )
  if (!blocking) return []
  const problem = `${user} is not put into ${added.join(', ')} yet: ${blocking.cluster.name} is not up to date`
  return [{ user, problem }]
}

/** A subject becomes a member where at least one of its bindings stands. */
function isReady({ plan, failed, isReached }: ClusterOutcome, change: DirectoryChange): boolean {
  if (change.action === 'remove') return true
  if (!isReached) return false
  const isOf = ({ grant }: { readonly grant: { readonly subject: GrantSubject } }) =>
    subjectKey(grant.subject) === subjectKey(change.subject)
  const wanted = plan.wanted.grants.filter(isOf).length
  const refused = plan.difference?.refused.filter(isOf).length ?? 0
  return wanted - refused - (failed.get(subjectKey(change.subject)) ?? 0) > 0
}

async function applyToCluster(session: FleetSession, plan: ClusterPlan): Promise<ClusterOutcome> {
  const { cluster, difference, problem } = plan
  const at = { cluster: cluster.name, id: cluster.id }
  if (!difference) {
    const applied = { ...at, changed: [], problems: [problem!] }
    return { plan, applied, failed: new Map(), isReached: false }
  }
  const run = new ClusterRun(cluster.prefix, difference.problems)
  if (difference.inCluster.length > 0) {
    const { progress } = session.device
    await progress
      .step(`applying to ${cluster.name}`, () =>
        withCluster(session, cluster, async ({ agent, kubernetes }) => {
          await run.all(kubernetes, difference.inCluster)
          await followServer({ agent, kubernetes }).catch((error) => run.note(error))
        }),
      )
      .catch((error) => run.stop(error))
  }
  const { changed, problems, failed } = run
  const applied = { ...at, changed, problems }
  return { plan, applied, failed, isReached: !run.isStopped }
}

/** The changes of one cluster, in their order; those that do not depend on each other at once. */
class ClusterRun {
  readonly changed: string[] = []
  readonly problems: string[]
  readonly failed = new Map<string, number>()
  isStopped = false
  readonly #prefix: string

  constructor(prefix: string, problems: readonly string[]) {
    this.#prefix = prefix
    this.problems = [...problems]
  }

  /** @throws what concerns the way and not the one change: the rest would fare the same */
  async all(kubernetes: KubernetesApi, changes: readonly ClusterChange[]): Promise<void> {
    for (const step of stepsOf(changes))
      await inParallel(step, PARALLEL_CHANGES, async (change) => {
        try {
          await makeChange(kubernetes, change)
          this.changed.push(changeLine(change, this.#prefix))
        } catch (error) {
          if (!isOfOneChange(error)) throw error
          this.#fail(change, error)
        }
      })
  }

  /** @throws TrustError, and bugs */
  stop(error: unknown): void {
    if (!isMcmError(error) || error instanceof TrustError) throw error
    this.isStopped = true
    this.problems.push(error.message)
  }

  /** @throws what concerns the way */
  note(error: unknown): void {
    if (!isOfOneChange(error)) throw error
    this.problems.push(error.message)
  }

  #fail(change: ClusterChange, error: Error): void {
    this.problems.push(`${changeLine(change, this.#prefix)}: ${error.message}`)
    if (change.kind !== 'binding' || change.action === 'remove') return
    for (const { subject } of change.grants) {
      const key = subjectKey(subject)
      this.failed.set(key, (this.failed.get(key) ?? 0) + 1)
    }
  }
}

/** The API server's own no, to this object: others may pass. */
function isOfOneChange(error: unknown): error is Error {
  return (
    error instanceof AccessDeniedError ||
    error instanceof NotFoundError ||
    error instanceof UsageError
  )
}

/** Neighbours of one kind and one direction make a step. */
function stepsOf(changes: readonly ClusterChange[]): ClusterChange[][] {
  const steps: ClusterChange[][] = []
  const kindOf = ({ kind, action }: ClusterChange) => `${kind} ${action === 'remove'}`
  for (const change of changes) {
    const last = steps.at(-1)
    if (last && kindOf(last[0]!) === kindOf(change)) last.push(change)
    else steps.push([change])
  }
  return steps
}

async function makeChange(kubernetes: KubernetesApi, change: ClusterChange): Promise<void> {
  if (change.kind === 'names') {
    await removeNames(kubernetes, change.removed)
    await addNames(kubernetes, change.added)
    return
  }
  const path =
    change.kind === 'binding'
      ? bindingPath(change.object)
      : `/apis/${RBAC_VERSION}/clusterroles/${encodeURIComponent(change.object.metadata.name)}`
  if (change.action === 'remove') return deleteIfAny(kubernetes, path)
  // RBAC lets nobody change what a binding refers to.
  if (change.differs.includes('roleRef')) await deleteIfAny(kubernetes, path)
  await kubernetes.apply(path, change.object, { fieldManager: FIELD_MANAGER, force: true })
}

/** Another administrator may have been faster. */
async function deleteIfAny(kubernetes: KubernetesApi, path: string): Promise<void> {
  try {
    await kubernetes.delete(path)
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error
  }
}
