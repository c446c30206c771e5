import { resolve } from 'node:path'
import { FENCE_MINOR, fenceObjects } from '../access/fence.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { UsageError } from '../errors.ts'
import type { ConnectOptions } from '../kubeconfig/connect.ts'
import type { KubeconfigFiles } from '../kubeconfig/file.ts'
import { toYaml } from '../kubeconfig/yaml.ts'
import { applyManifest } from './apply-manifest.ts'
import { requireCluster } from './cluster-lookup.ts'
import { requireThisCluster, withApiServer } from './direct-api.ts'
import type { FleetSession } from './fleet-session.ts'

/** Letting the agent of a cluster add the names of people whom an identity provider admits. */

export interface FencedCluster {
  readonly cluster: string
  readonly id: string
  /** Where the objects were written, when they were not applied. */
  readonly written?: string
}

/**
 * Puts fence and right into the cluster with the owner's own access, the fence first.
 * @throws UsageError for a server before 1.30, or another cluster's context
 */
export async function applyFence(
  session: FleetSession,
  nameOrId: string,
  connect: ConnectOptions,
  files: KubeconfigFiles,
): Promise<FencedCluster> {
  const cluster = requireCluster(session.directory, nameOrId)
  return withApiServer(connect, files, async (kubernetes) => {
    await requireThisCluster(kubernetes, cluster)
    await requireFenceable(kubernetes)
    await session.device.progress.step('setting up the fence', () =>
      applyManifest(kubernetes, fenceObjects(cluster.prefix)),
    )
    return { cluster: cluster.name, id: cluster.id }
  })
}

/** The same as YAML for `kubectl apply`. */
export async function writeFence(
  session: FleetSession,
  nameOrId: string,
  output: string,
  files: KubeconfigFiles,
): Promise<FencedCluster> {
  const cluster = requireCluster(session.directory, nameOrId)
  const written = resolve(output)
  await files.writeFileAtomic(written, toYaml(fenceObjects(cluster.prefix)), 0o644)
  return { cluster: cluster.name, id: cluster.id, written }
}

/** Without the policy the right would stand alone. @throws UsageError MCM_USAGE */
async function requireFenceable(kubernetes: KubernetesApi): Promise<void> {
  const { major, minor, gitVersion } = await kubernetes.get<Version>('/version')
  if (Number(major) > 1 || Number.parseInt(minor, 10) >= FENCE_MINOR) return
  throw new UsageError(
    'MCM_USAGE',
    `Kubernetes ${gitVersion} cannot fence the agent in: that needs 1.${FENCE_MINOR}`,
    { hint: 'name the people beforehand: mcm grant USER --cluster CLUSTER' },
  )
}

interface Version {
  readonly major: string
  readonly minor: string
  readonly gitVersion: string
}
