import type { KubeConfig } from '@kubernetes/client-node'
import { IdentityError, messageOf } from '../errors.ts'
import type { ApiServerConnection } from '../kube/connection.ts'
import { Secret } from '../secret.ts'
import { dataOrFile, readNamed } from './data.ts'
import type { KubeconfigUser } from './model.ts'

/** A kubeconfig user as credentials: certificates and tokens by hand, plugins by the official client. */

type Credential = Pick<ApiServerConnection, 'clientCertPem' | 'clientKeyPem'>

async function credentialOf(user: KubeconfigUser): Promise<Credential> {
  const certificate = await dataOrFile(user, 'client-certificate')
  const key = await dataOrFile(user, 'client-key')
  if (certificate === undefined || key === undefined) return {}
  return { clientCertPem: certificate, clientKeyPem: new Secret(key) }
}

/** A user of a kubeconfig, and where it is to be used. */
export interface FoundUser {
  readonly context: string
  readonly server: string
  readonly user: KubeconfigUser
}

export interface Authentication {
  readonly credential: Credential
  authorization(): Promise<Secret<string> | undefined>
}

/** @throws IdentityError MCM_NOT_LOGGED_IN when a plugin fails, UsageError MCM_BAD_FILE */
export async function authenticate(found: FoundUser): Promise<Authentication> {
  const { user } = found
  const own = await credentialOf(user)
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

async function authenticateByPlugin(found: FoundUser, own: Credential): Promise<Authentication> {
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

async function officialClient(found: FoundUser): Promise<KubeConfig> {
  const { KubeConfig } = await import('@kubernetes/client-node')
  const client = new KubeConfig()
  client.loadFromOptions({
    clusters: [{ name: 'cluster', server: found.server, skipTLSVerify: false }],
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

async function askPlugin(client: KubeConfig, found: FoundUser): Promise<PluginAnswer> {
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
