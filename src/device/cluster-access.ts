import type { AgentApi } from '../client/agent.ts'
import { type KubernetesApi, type KubernetesRequest, openKubernetes } from '../client/kubernetes.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { IdentityError } from '../errors.ts'
import { openSession } from './agent-connection.ts'
import { credentialInSession } from './credentials.ts'
import type { Device } from './device.ts'
import { type GossipOutcome, gossip } from './gossip.ts'
import type { Credential } from './kept-credential.ts'
import type { Traveller } from './way-to-agent.ts'

/** A cluster's API as this device's own user, through hub and agent: RBAC there decides, as for kubectl. */
export interface ClusterAccess {
  readonly agent: AgentApi
  readonly kubernetes: KubernetesApi
}

/** Nobody waits for gossip longer than that after their own work is done; the next session goes on. */
const PATIENCE_MS = 2_000
/** Nor that, who wants to know. */
const LONG_PATIENCE_MS = 30_000

/** Hears why an agent could not be brought what it lacks of the directory. */
export type Unbrought = (why: string) => void

/**
 * Opens an inner session, runs `work`, closes. A certificate that the agent does not accept any more is
 * replaced once. Meanwhile the agent is brought what it lacks of the directory, with `unbrought` for half a minute at
 * most. @throws as `credentialFor`, and what `work` throws
 */
export async function withCluster<T>(
  session: Traveller,
  cluster: ClusterRecord,
  work: (access: ClusterAccess) => Promise<T>,
  unbrought?: Unbrought,
): Promise<T> {
  const credential = await credentialInSession(session, cluster.id)
  try {
    return await withCredential(session, cluster, credential, work, unbrought)
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error
    const refusedPem = credential.certificatePem
    const renewed = await credentialInSession(session, cluster.id, { refusedPem })
    return withCredential(session, cluster, renewed, work, unbrought)
  }
}

async function withCredential<T>(
  session: Traveller,
  cluster: ClusterRecord,
  credential: Credential,
  work: (access: ClusterAccess) => Promise<T>,
  unbrought: Unbrought | undefined,
): Promise<T> {
  const agent = await openSession(session, cluster, credential)
  const transport = (request: KubernetesRequest) => agent.request(request)
  const told = gossip(agent, session, cluster.id)
  try {
    const done = await work({ agent, kubernetes: openKubernetes(transport) })
    const outcome = await told.wait(unbrought ? LONG_PATIENCE_MS : PATIENCE_MS)
    sayOnce(session.device, cluster, outcome)
    if ('why' in outcome) unbrought?.(`not brought what it lacks of the directory: ${outcome.why}`)
    return done
  } finally {
    agent.close()
  }
}

/** By command, the ids of the clusters of which it was said. */
const said = new WeakMap<Device, Set<string>>()

/** Whoever was revoked may stand there still. What was only slow is no news. */
function sayOnce(device: Device, { id, name }: ClusterRecord, outcome: GossipOutcome): void {
  if (outcome.result !== 'forked' && outcome.result !== 'refused') return
  const clusters = said.get(device) ?? new Set()
  said.set(device, clusters)
  if (clusters.has(id)) return
  clusters.add(id)
  const { result, why } = outcome
  const what =
    result === 'forked'
      ? `the agent of ${name} is on another directory: ${why}; revocations do not reach it: mcm certs revoke ends somebody there, and mcm directory show is to be compared with other administrators’`
      : `the agent of ${name} does not take what it lacks of the directory: ${why}; an administrator’s mcm certs --all brings more than others may, and mcm clusters show ${name} says what it has`
  device.progress.say(what)
}
