import { extname, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import {
  AGENT_USER,
  FENCE_MINOR,
  FENCE_NAME,
  fencedRight,
  fenceObjects,
  isFenceRefusal,
} from '../access/fence.ts'
import { IMPERSONATOR_NAME } from '../access/impersonator.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { AccessDeniedError, isMcmError, TrustError, UsageError } from '../errors.ts'
import { type ClusterRole, RBAC_VERSION } from '../kube/rbac.ts'
import type { ConnectOptions } from '../kubeconfig/connect.ts'
import type { KubeconfigFiles } from '../kubeconfig/file.ts'
import { toYaml } from '../kubeconfig/yaml.ts'
import { applyManifest } from './apply-manifest.ts'
import { requireCluster } from './cluster-lookup.ts'
import { type AsSomebodyElse, requireThisCluster, withApiServer } from './direct-api.ts'
import type { FleetSession } from './fleet-session.ts'

/**
 * Letting the agent of a cluster add the names of people whom an identity provider admits. Invariant: the right
 * comes after the fence was seen to hold, never together with it.
 */

export interface FencedCluster {
  readonly cluster: string
  readonly id: string
  /** Where the objects were written, when they were not applied. */
  readonly written?: { readonly fence: string; readonly right: string }
}

/**
 * Puts fence and right into the cluster with the owner's own access.
 * @throws UsageError for a server before 1.30, or another cluster's context; AccessDeniedError where the fence
 *   does not hold
 */
export async function applyFence(
  session: FleetSession,
  nameOrId: string,
  connect: ConnectOptions,
  files: KubeconfigFiles,
): Promise<FencedCluster> {
  const cluster = requireCluster(session.directory, nameOrId)
  const { progress, signal } = session.device
  return withApiServer(connect, files, async (kubernetes, as) => {
    await requireThisCluster(kubernetes, cluster)
    await progress.step('setting up the fence', () =>
      setUpFence(kubernetes, as, cluster.prefix, { signal }),
    )
    return { cluster: cluster.name, id: cluster.id }
  })
}

export interface FencePatience {
  readonly signal: AbortSignal
  /** How long a policy may take to be in force; 60 s unless told. */
  readonly waitMs?: number
}

/** The fence, a proof that it holds, and only then the right. @throws as `applyFence` */
export async function setUpFence(
  kubernetes: KubernetesApi,
  as: AsSomebodyElse,
  prefix: string,
  patience: FencePatience,
): Promise<void> {
  await requireFenceable(kubernetes)
  await applyManifest(kubernetes, fenceObjects(prefix))
  await requireInForce(as(AGENT_USER, ALMIGHTY), patience)
  await applyManifest(kubernetes, fencedRight())
}

/**
 * The same as YAML for `kubectl apply`, in two files: of one kubectl would go on with the right where the server
 * does not know the policy.
 */
export async function writeFence(
  session: FleetSession,
  nameOrId: string,
  output: string,
  files: KubeconfigFiles,
): Promise<FencedCluster> {
  const cluster = requireCluster(session.directory, nameOrId)
  const fence = resolve(output)
  const ending = extname(fence)
  const right = `${fence.slice(0, fence.length - ending.length)}-right${ending}`
  await files.writeFileAtomic(fence, toYaml(fenceObjects(cluster.prefix)), 0o644)
  await files.writeFileAtomic(right, toYaml(fencedRight()), 0o644)
  return { cluster: cluster.name, id: cluster.id, written: { fence, right } }
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

/** In this group RBAC refuses nobody anything, so a refusal is the policy's. */
const ALMIGHTY = 'system:masters'
const ROLE_PATH = `/apis/${RBAC_VERSION}/clusterroles/${IMPERSONATOR_NAME}`
const TRIED_LABEL = 'mcm.dev/fence-tried'
const WAIT_MS = 60_000
const RETRY_MS = 500

/**
 * Tries, as the agent and without effect, what the policy forbids. An API server takes a policy that it does
 * not enforce, or not yet.
 */
async function requireInForce(
  asAgent: KubernetesApi,
  { signal, waitMs = WAIT_MS }: FencePatience,
): Promise<void> {
  for (let leftMs = waitMs; ; leftMs -= RETRY_MS) {
    if (await isRefusedByFence(asAgent)) return
    if (leftMs <= 0) throw notInForce()
    await pause(RETRY_MS, undefined, { signal })
  }
}

/** @throws AccessDeniedError where it cannot be tried */
async function isRefusedByFence(asAgent: KubernetesApi): Promise<boolean> {
  try {
    const role = await asAgent.get<ClusterRole>(ROLE_PATH)
    const labels = { ...role.metadata.labels, [TRIED_LABEL]: 'true' }
    await asAgent.update(`${ROLE_PATH}?dryRun=All`, {
      ...role,
      metadata: { ...role.metadata, labels },
    })
    return false
  } catch (error) {
    if (!isMcmError(error) || error instanceof TrustError) throw error
    if (isFenceRefusal(error.message)) return true
    if (error.code === 'MCM_CONFLICT') return false
    throw notTried(error)
  }
}

function notInForce(): AccessDeniedError {
  return new AccessDeniedError(
    'MCM_FORBIDDEN',
    `the API server does not enforce ValidatingAdmissionPolicy ${FENCE_NAME}: the agent gets no right to add names`,
    { hint: 'is its admission plugin ValidatingAdmissionPolicy switched off?' },
  )
}

function notTried(cause: Error): AccessDeniedError {
  return new AccessDeniedError(
    'MCM_FORBIDDEN',
    `whether the fence holds could not be tried, so the agent gets no right to add names: ${cause.message}`,
    { hint: `use access that may impersonate ${AGENT_USER} in group ${ALMIGHTY}`, cause },
  )
}
