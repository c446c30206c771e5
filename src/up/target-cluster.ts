import { join } from 'node:path'
import { directTransport } from '../client/direct-transport.ts'
import { type KubernetesApi, openKubernetes } from '../client/kubernetes.ts'
import { objectPath } from '../device/apply-manifest.ts'
import { NotFoundError } from '../errors.ts'
import type { ApiServerConnection } from '../kube/connection.ts'
import type { KubernetesObject } from '../kube/object.ts'
import { type ConnectOptions, connectionFromKubeconfig } from '../kubeconfig/connect.ts'
import type { KubeconfigFiles } from '../kubeconfig/file.ts'
import { createAuthority } from '../pki/authority.ts'
import { generateKeyPair } from '../pki/key-pair.ts'
import { issueLoopbackCertificate } from '../pki/profiles.ts'
import { startSandbox } from '../sandbox/server.ts'
import type { Log, World } from '../world.ts'

const DAY_SECONDS = 86_400

/** The cluster that `mcm up` registers: somebody's own, or a sandbox made for the moment. */
export interface TargetCluster {
  readonly title: string
  /** As its owner. */
  readonly kubernetes: KubernetesApi
  connection(): Promise<ApiServerConnection>
  /** Takes away what was applied; nothing else. */
  leave(applied: readonly KubernetesObject[]): Promise<void>
}

/** A sandbox on loopback; it ends with `leave`. */
export async function sandboxCluster(
  deps: { readonly world: World; readonly log: Log; readonly directory: string },
  files: KubeconfigFiles,
  homeDirectory: string,
): Promise<TargetCluster> {
  const { world, log } = deps
  const sandbox = await startSandbox({ world, log, serverTls: await loopbackTls(world) })
  const path = join(deps.directory, 'sandbox-admin.kubeconfig')
  await files.writeFileAtomic(path, sandbox.adminKubeconfig(), 0o600)
  const cluster = await existingCluster({ path, homeDirectory, proxyFor: () => undefined }, files)
  return {
    ...cluster,
    title: `sandbox API server at ${sandbox.address.url}`,
    leave: async () => {
      await cluster.leave([])
      await sandbox.stop()
    },
  }
}

/** The cluster of a kubeconfig context. @throws NotFoundError MCM_CONTEXT_UNKNOWN, UsageError MCM_BAD_FILE */
export async function existingCluster(
  connect: ConnectOptions,
  files: KubeconfigFiles,
): Promise<TargetCluster> {
  const connection = () => connectionFromKubeconfig(connect, files)
  const direct = await connection()
  const transport = directTransport(direct)
  const kubernetes = openKubernetes(transport)
  return {
    title: `cluster at ${direct.server}`,
    kubernetes,
    connection,
    leave: async (applied) => {
      await removeObjects(kubernetes, applied)
      await transport.close()
    },
  }
}

async function loopbackTls(world: World) {
  const authority = await createAuthority(world, { commonName: 'mcm sandbox' })
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const certificate = await issueLoopbackCertificate(
    world,
    authority,
    { publicKeyDer },
    30 * DAY_SECONDS,
  )
  return { certPem: certificate.pem, keyPem: privateKeyPem, caPem: authority.certificatePem }
}

/** Last applied goes first; what is gone already, with its namespace, is no failure. */
async function removeObjects(
  kubernetes: KubernetesApi,
  objects: readonly KubernetesObject[],
): Promise<void> {
  for (const object of objects.toReversed()) {
    await kubernetes.delete(objectPath(object)).catch((error: unknown) => {
      if (!(error instanceof NotFoundError)) throw error
    })
  }
}
