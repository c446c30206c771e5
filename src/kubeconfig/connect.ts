import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { KubeConfig } from '@kubernetes/client-node'
import { IdentityError, messageOf, NotFoundError, UsageError } from '../errors.ts'
import type { ApiServerConnection } from '../kube/connection.ts'
import { Secret } from '../secret.ts'
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
  const ownCredential = await credentialOf(found.user)
  const proxyUrl = found.cluster['proxy-url'] ?? options.proxyFor(server)
  const { credential, authorization } = await authenticate(found, ownCredential)
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

type Credential = Pick<ApiServerConnection, 'clientCertPem' | 'clientKeyPem'>

async function credentialOf(user: KubeconfigUser): Promise<Credential> {
  const certificate = await dataOrFile(user, 'client-certificate')
  const key = await dataOrFile(user, 'client-key')
  if (certificate === undefined || key === undefined) return {}
  return { clientCertPem: certificate, clientKeyPem: new Secret(key) }
}

interface Authentication {
  readonly credential: Credential
  authorization(): Promise<Secret<string> | undefined>
}

async function authenticate(found: Found, own: Credential): Promise<Authentication> {
  const { user } = found
  if (user.tokenFile) {
    const path = user.tokenFile
    return { credential: own, authorization: async () => bearer((await readNamed(path)).trim()) }
  }
  if (user.token) return { credential: own, authorization: async () => bearer(user.token!) }
  if (user.username) {
    const basic = Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64')
    return { credential: own, authorization: async () => new Secret(`Basic ${basic}`) }
  }
  if (!user['exec'] && !user['auth-provider']) {
    return { credential: own, authorization: async () => undefined }
  }
  return authenticateByPlugin(found, own)
}

async function authenticateByPlugin(found: Found, own: Credential): Promise<Authentication> {
  const client = await officialClient(found)
  const first = await askPlugin(client, found)
  const issued =
    first.cert && first.key
      ? { clientCertPem: String(first.cert), clientKeyPem: new Secret(String(first.key)) }
      : own
  return {
    credential: issued,
    // The official client keeps the token while it is good.
    authorization: async () => authorizationOf(await askPlugin(client, found)),
  }
}

async function officialClient(found: Found): Promise<KubeConfig> {
  const { KubeConfig } = await import('@kubernetes/client-node')
  const client = new KubeConfig()
  client.loadFromOptions({
    clusters: [{ name: 'cluster', server: found.cluster.server, skipTLSVerify: false }],
    users: [{ name: 'user', exec: found.user['exec'], authProvider: found.user['auth-provider'] }],
    contexts: [{ name: 'context', cluster: 'cluster', user: 'user' }],
    currentContext: 'context',
  })
  return client
}

interface PluginAnswer {
  cert?: unknown
  key?: unknown
  headers?: Record<string, unknown>
}

async function askPlugin(client: KubeConfig, found: Found): Promise<PluginAnswer> {
  const answer: PluginAnswer = {}
  try {
    await client.applyToHTTPSOptions(answer as Parameters<KubeConfig['applyToHTTPSOptions']>[0])
    return answer
  } catch (cause) {
    const why = messageOf(cause).trim().split('\n')[0]
    throw new IdentityError(
      'MCM_NOT_LOGGED_IN',
      `context ${found.context}: its credential plugin failed: ${why}`,
      { hint: `check with kubectl --context ${found.context} auth whoami`, cause },
    )
  }
}

function authorizationOf(answer: PluginAnswer): Secret<string> | undefined {
  const value = answer.headers?.['Authorization']
  return typeof value === 'string' ? new Secret(value) : undefined
}

function bearer(token: string): Secret<string> {
  return new Secret(`Bearer ${token}`)
}

async function dataOrFile(
  entry: Readonly<Record<string, unknown>>,
  field: 'certificate-authority' | 'client-certificate' | 'client-key',
): Promise<string | undefined> {
  const data = entry[`${field}-data`]
  if (typeof data === 'string' && data !== '') return Buffer.from(data, 'base64').toString('utf8')
  const path = entry[field]
  return typeof path === 'string' && path !== '' ? readNamed(path) : undefined
}

async function readNamed(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause) => {
    throw new UsageError('MCM_BAD_FILE', `${path} cannot be read: ${messageOf(cause)}`, {
      hint: 'the kubeconfig names it: correct the path or the file',
      cause,
    })
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
