import type { KubernetesVersion } from '../cluster/kubernetes-version.ts'
import { MCM_WAYS, type McmWay } from './ways.ts'

/** What makes kubectl stream over SPDY/3.1; without it, it tries a WebSocket first. */
export const OVER_SPDY = {
  KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false',
  KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false',
} as const

/** A way, and the transport of kubectl's streams there. */
export interface Lane {
  readonly name: string
  readonly way: McmWay
  readonly kubectl: KubernetesVersion
  readonly env: Readonly<Record<string, string>>
}

/** WebSockets of kubectl before 1.33 cannot pass an HTTPS proxy: it goes to SPDY/3.1 before it asks anybody. */
export function fallsBack(kubectl: KubernetesVersion, way: McmWay): boolean {
  return kubectl === '1.32.2' && way !== 'proxy'
}

/** The lanes of one kubectl: in each way the transport that it chooses by itself, and SPDY/3.1 where it would not. */
export function lanesOf(kubectl: KubernetesVersion): Lane[] {
  const lanes = MCM_WAYS.map((way) => ({ name: way as string, way, kubectl, env: {} }))
  return [...lanes, { name: 'proxy-spdy', way: 'proxy', kubectl, env: OVER_SPDY }]
}

/** Does the same in all lanes at once. @throws the first failure, which says in which lane */
export async function inEach(
  lanes: readonly Lane[],
  work: (lane: Lane) => Promise<void>,
): Promise<void> {
  const done = await Promise.allSettled(lanes.map(work))
  for (const [index, result] of done.entries()) {
    if (result.status === 'fulfilled') continue
    const { reason } = result
    if (reason instanceof Error) reason.message = `${lanes[index]!.name}: ${reason.message}`
    throw reason
  }
}
