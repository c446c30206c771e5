import { withCluster } from '../device/cluster-access.ts'
import type { FleetSession } from '../device/fleet-session.ts'
import type { ClusterRecord } from '../directory/state.ts'

/** One real request, from here through hub and agent to the API server and back. */
export interface RoundTrip {
  readonly request: string
  readonly status: number
  /** As the API server knows who asked. */
  readonly user: string
  readonly ms: number
  readonly namespaces: readonly string[]
}

const PATH = '/api/v1/namespaces'
const REVIEW = '/apis/authentication.k8s.io/v1/selfsubjectreviews'

/** @throws as `withCluster` */
export function requestGoingRound(
  session: FleetSession,
  cluster: ClusterRecord,
): Promise<RoundTrip> {
  return withCluster(session, cluster, async ({ agent, kubernetes }) => {
    const review = await kubernetes.create<{ status: { userInfo: { username: string } } }>(REVIEW, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'SelfSubjectReview',
    })
    const started = performance.now()
    const answer = await agent.request({ method: 'GET', path: PATH, headers: {} })
    const body = await readJson(answer.body)
    const ms = Math.round((performance.now() - started) * 10) / 10
    const namespaces = body.items.map(({ metadata }) => metadata.name)
    return {
      request: `GET ${PATH}`,
      status: answer.status,
      user: review.status.userInfo.username,
      ms,
      namespaces,
    }
  })
}

async function readJson(
  body: AsyncIterable<Uint8Array>,
): Promise<{ items: { metadata: { name: string } }[] }> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return JSON.parse(Buffer.concat(chunks).toString())
}
