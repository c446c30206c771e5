import { AGENT_NAME, AGENT_NAMESPACE } from '../access/agent-rights.ts'
import { AGENT_SECRET_KEYS } from '../access/manifest.ts'
import { directTransport } from '../client/direct-transport.ts'
import {
  type KubernetesApi,
  type KubernetesTransport,
  openKubernetes,
} from '../client/kubernetes.ts'
import { UsageError } from '../errors.ts'
import { type ConnectOptions, connectionFromKubeconfig } from '../kubeconfig/connect.ts'
import type { KubeconfigFiles } from '../kubeconfig/file.ts'

/** The owner's own way to a cluster, with a kubeconfig of theirs and not through mcm. */

export async function withApiServer<T>(
  connect: ConnectOptions,
  files: KubeconfigFiles,
  work: (kubernetes: KubernetesApi, as: AsSomebodyElse) => Promise<T>,
): Promise<T> {
  const transport = directTransport(await connectionFromKubeconfig(connect, files))
  try {
    return await work(openKubernetes(transport), actingAs(transport))
  } finally {
    await transport.close()
  }
}

/** The same API as a user in a group, where the owner may impersonate both. */
export type AsSomebodyElse = (user: string, group: string) => KubernetesApi

export function actingAs(transport: KubernetesTransport): AsSomebodyElse {
  return (user, group) =>
    openKubernetes((request) => {
      const who = { 'impersonate-user': user, 'impersonate-group': group }
      return transport({ ...request, headers: { ...request.headers, ...who } })
    })
}

/** That this is the cluster which was meant, and not another context's. @throws UsageError MCM_USAGE */
export async function requireThisCluster(
  kubernetes: KubernetesApi,
  cluster: { readonly name: string; readonly id: string },
): Promise<void> {
  const path = `/api/v1/namespaces/${AGENT_NAMESPACE}/secrets/${AGENT_NAME}`
  const secret = await kubernetes.getIfAny<{ data?: Record<string, string> }>(path)
  const encoded = secret?.data?.[AGENT_SECRET_KEYS.cluster] ?? ''
  const found = Buffer.from(encoded, 'base64').toString('utf8').trim()
  if (found === cluster.id) return
  const what = found === '' ? 'no cluster of mcm' : `cluster ${found}`
  throw new UsageError(
    'MCM_USAGE',
    `this context leads to ${what}, not to ${cluster.name} (${cluster.id})`,
    {
      hint: 'name the context of that cluster with --context',
    },
  )
}
