import { dirname, resolve } from 'node:path'
import { NotFoundError, UsageError } from '../errors.ts'
import type { ApiServerConnection } from '../kube/connection.ts'
import { authenticate } from './authenticate.ts'
import { dataOrFile } from './data.ts'
import { type KubeconfigFiles, type KubeconfigLocation, kubeconfigPaths } from './file.ts'
import { parseKubeconfig } from './merge.ts'
import type { Kubeconfig, KubeconfigCluster, KubeconfigUser } from './model.ts'

/**
 * A context of the owner's own kubeconfig as a connection. Reading is done here, by kubectl's rules;
 * exec plugins, OIDC and the older auth providers are left to the official client.
 */

export interface ConnectOptions extends KubeconfigLocation {
  readonly context?: string
  /** What the environment says for this server when the file has no proxy-url. */
  proxyFor(server: URL): string | undefined
}

/** @throws UsageError MCM_BAD_FILE MCM_USAGE, NotFoundError MCM_CONTEXT_UNKNOWN, IdentityError when a plugin fails */
export async function connectionFromKubeconfig(
  options: ConnectOptions,
  files: Pick<KubeconfigFiles, 'readTextIfAny'>,
): Promise<ApiServerConnection> {
  const found = await findContext(options, files)
  // Dropping it would act with another power than the owner's kubectl does.
  if (found.user['as']) throw broken(found.context, 'it impersonates another user (as)')
  const server = serverUrl(found)
  const tls = await tlsOf(found.cluster)
  const proxyUrl = found.cluster['proxy-url'] ?? options.proxyFor(server)
  const { credential, authorization } = await authenticate({
    context: found.context,
    server: server.href,
    user: found.user,
  })
  return {
    ...addressOf(server),
    ...tls,
    ...credential,
    ...(proxyUrl ? { proxyUrl } : {}),
    ...(found.namespace ? { namespace: found.namespace } : {}),
    authorization,
  }
}

interface Found {
  readonly context: string
  readonly namespace: string | undefined
  readonly clusterName: string
  readonly userName: string
  readonly cluster: KubeconfigCluster
  readonly user: KubeconfigUser
}

async function findContext(
  options: ConnectOptions,
  files: Pick<KubeconfigFiles, 'readTextIfAny'>,
): Promise<Found> {
  const paths = kubeconfigPaths(options)
  const configs: Kubeconfig[] = []
  for (const path of paths) {
    const text = await files.readTextIfAny(path)
    if (text !== undefined) configs.push(absolutePaths(parseKubeconfig(text, path), dirname(path)))
  }
  if (configs.length === 0) throw noFile(paths)
  // The first file that sets a value or defines a name wins (client-go `tools/clientcmd/loader.go`).
  const contexts = configs.flatMap((config) => config.contexts ?? [])
  const current = configs.map((config) => config['current-context']).find((name) => name)
  const name = options.context ?? current
  if (!name) throw noContext(paths)
  const context = contexts.find((entry) => entry.name === name)?.context
  if (!context)
    throw unknownContext(
      name,
      contexts.map((entry) => entry.name),
      paths,
    )
  const clusterName = context.cluster ?? ''
  const userName = context.user ?? ''
  const cluster = configs
    .flatMap((config) => config.clusters ?? [])
    .find((e) => e.name === clusterName)
  const user = configs.flatMap((config) => config.users ?? []).find((e) => e.name === userName)
  if (!cluster?.cluster) throw broken(name, `its cluster ${JSON.stringify(clusterName)} is missing`)
  return {
    context: name,
    namespace: context.namespace,
    clusterName,
    userName,
    cluster: cluster.cluster,
    user: user?.user ?? {},
  }
}

const PATH_FIELDS = [
  'certificate-authority',
  'client-certificate',
  'client-key',
  'tokenFile',
] as const

/** Relative paths are relative to the file that holds them. */
function absolutePaths(config: Kubeconfig, directory: string): Kubeconfig {
  const entries = [
    ...(config.clusters ?? []).map((entry) => entry.cluster),
    ...(config.users ?? []).map((entry) => entry.user),
  ]
  for (const entry of entries as (Record<string, unknown> | null | undefined)[]) {
    for (const field of PATH_FIELDS) {
      const path = entry?.[field]
      if (entry && typeof path === 'string' && path !== '') entry[field] = resolve(directory, path)
    }
  }
  return config
}

function serverUrl(found: Found): URL {
  const text = found.cluster.server ?? ''
  const url = URL.parse(/^https?:\/\//.test(text) ? text : `https://${text}`)
  if (!text || !url) throw broken(found.context, `its server ${JSON.stringify(text)} is no URL`)
  return url
}

function addressOf(
  server: URL,
): Pick<ApiServerConnection, 'scheme' | 'host' | 'port' | 'basePath' | 'server'> {
  const scheme = server.protocol === 'http:' ? 'http' : 'https'
  const port = Number(server.port) || (scheme === 'http' ? 80 : 443)
  const basePath = server.pathname.replace(/\/+$/, '')
  const host = server.hostname.replace(/^\[(.*)\]$/, '$1')
  return { scheme, host, port, basePath, server: `${scheme}://${server.host}${basePath}` }
}

async function tlsOf(
  cluster: KubeconfigCluster,
): Promise<Pick<ApiServerConnection, 'insecureSkipTlsVerify' | 'caPem' | 'tlsServerName'>> {
  const caPem = await dataOrFile(cluster, 'certificate-authority')
  const name = cluster['tls-server-name']
  return {
    insecureSkipTlsVerify: cluster['insecure-skip-tls-verify'] === true,
    ...(caPem === undefined ? {} : { caPem }),
    ...(name ? { tlsServerName: name } : {}),
  }
}

function noFile(paths: readonly string[]): UsageError {
  return new UsageError('MCM_BAD_FILE', `${paths.join(', ')}: no such file`, {
    hint: 'name your kubeconfig with --kubeconfig FILE, or set KUBECONFIG',
  })
}

function noContext(paths: readonly string[]): UsageError {
  return new UsageError('MCM_USAGE', `no context is current in ${paths.join(', ')}`, {
    hint: 'name one: --context NAME (kubectl config get-contexts lists them)',
  })
}

function unknownContext(name: string, known: string[], paths: readonly string[]): NotFoundError {
  const list = known.slice(0, 10).join(', ')
  return new NotFoundError('MCM_CONTEXT_UNKNOWN', `no context ${name} in ${paths.join(', ')}`, {
    hint: list ? `there are: ${list}` : 'that file has no contexts: name another with --kubeconfig',
  })
}

function broken(context: string, why: string): UsageError {
  return new UsageError('MCM_BAD_FILE', `context ${context} cannot be used: ${why}`, {
    hint: `kubectl config view --minify --context ${context}`,
  })
}
