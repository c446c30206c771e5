import type { AgentApi } from '../client/agent.ts'
import { type KubernetesApi, type KubernetesRequest, openKubernetes } from '../client/kubernetes.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { IdentityError } from '../errors.ts'
import { openSession } from './agent-connection.ts'
import { credentialInSession } from './credentials.ts'
import { gossip } from './gossip.ts'
import type { Credential } from './kept-credential.ts'
import type { Traveller } from './way-to-agent.ts'

/** A cluster's API as this device's own user, through hub and agent: RBAC there decides, as for kubectl. */
export interface ClusterAccess {
  readonly agent: AgentApi
  readonly kubernetes: KubernetesApi
}

/**
 * Opens an inner session, runs `work`, closes. A certificate that the agent does not accept any more is
 * replaced once. @throws as `credentialFor`, and what `work` throws
 */
export async function withCluster<T>(
  session: Traveller,
  cluster: ClusterRecord,
  work: (access: ClusterAccess) => Promise<T>,
): Promise<T> {
  const credential = await credentialInSession(session, cluster.id)
  try {
    return await withCredential(session, cluster, credential, work)
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error
    const refusedPem = credential.certificatePem
    const renewed = await credentialInSession(session, cluster.id, { refusedPem })
    return withCredential(session, cluster, renewed, work)
  }
}

async function withCredential<T>(
  session: Traveller,
  cluster: ClusterRecord,
  credential: Credential,
  work: (access: ClusterAccess) => Promise<T>,
): Promise<T> {
  const agent = await openSession(session, cluster, credential)
  const transport = (request: KubernetesRequest) => agent.request(request)
  const told = gossip(agent, session.directory, cluster.id)
  try {
    const done = await work({ agent, kubernetes: openKubernetes(transport) })
    await told.wait()
    return done
  } finally {
    agent.close()
  }
}
