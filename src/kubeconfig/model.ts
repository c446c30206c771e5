import { z } from 'zod'
import type { Secret } from '../secret.ts'

/**
 * What a kubeconfig says (kubeconfig.v1) and what mcm puts into one: a cluster, a user and a context of
 * the same name. Knows the format, not who may do what. Invariant: the certificate bundle of a cluster
 * reached through a hub is the hub's own leaf and that cluster's server CA, and nothing else, because
 * kubectl uses one bundle for both layers.
 */

/** Every entry of mcm carries this extension, so that ours are known from others of the same name. */
export const EXTENSION = 'mcm.dev'

const extension = z.looseObject({ name: z.string(), extension: z.unknown() })
const clusterSchema = z.looseObject({
  server: z.string().optional(),
  'tls-server-name': z.string().optional(),
  'insecure-skip-tls-verify': z.boolean().optional(),
  'certificate-authority': z.string().optional(),
  'certificate-authority-data': z.string().optional(),
  'proxy-url': z.string().optional(),
  extensions: z.array(extension).nullish(),
})
const userSchema = z.looseObject({
  'client-certificate': z.string().optional(),
  'client-certificate-data': z.string().optional(),
  'client-key': z.string().optional(),
  'client-key-data': z.string().optional(),
  token: z.string().optional(),
  tokenFile: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  extensions: z.array(extension).nullish(),
})
const contextSchema = z.looseObject({
  cluster: z.string().optional(),
  user: z.string().optional(),
  namespace: z.string().optional(),
  extensions: z.array(extension).nullish(),
})

/** A kubeconfig as read; fields nobody here knows are let be. */
export const kubeconfigSchema = z.looseObject({
  'current-context': z.string().nullish(),
  clusters: z
    .array(z.looseObject({ name: z.string(), cluster: clusterSchema.nullish() }))
    .nullish(),
  users: z.array(z.looseObject({ name: z.string(), user: userSchema.nullish() })).nullish(),
  contexts: z
    .array(z.looseObject({ name: z.string(), context: contextSchema.nullish() }))
    .nullish(),
})
export type Kubeconfig = z.infer<typeof kubeconfigSchema>
export type KubeconfigCluster = z.infer<typeof clusterSchema>
export type KubeconfigUser = z.infer<typeof userSchema>

/** How kubectl gets its credentials and its way. PEM everywhere. */
export type AccessMode =
  | {
      /** kubectl runs a plugin; keys stay in the keychain; the way is the hub. */
      readonly kind: 'exec'
      readonly command: string
      readonly args: readonly string[]
      readonly env: Readonly<Record<string, string>>
    }
  | {
      /** Certificate and key inside the file; the way is the hub. */
      readonly kind: 'static'
      readonly certificatePem: string
      readonly key: Secret<string>
    }
  | {
      /** The way is the local `mcm proxy`, with the key that opens its door. */
      readonly kind: 'proxy'
      readonly server: string
      readonly tlsServerName?: string
      readonly caPem: string
      readonly certificatePem: string
      readonly key: Secret<string>
    }

export interface ClusterAccess {
  /** The cluster's name; the entries are called `mcm-<name>`. */
  readonly name: string
  readonly clusterId: string
  readonly serverCaPem: string
  readonly hub: { readonly endpoint: string; readonly certificatePem: string }
  readonly namespace?: string
  readonly mode: AccessMode
}

/** One cluster, one user and one context, as they stand in the file. `user` may hold a key: never log it. */
export interface KubeconfigEntries {
  readonly name: string
  readonly clusterId: string
  readonly cluster: Readonly<Record<string, unknown>>
  readonly user: Readonly<Record<string, unknown>>
  readonly context: Readonly<Record<string, unknown>>
  readonly holdsKey: boolean
}

const CLUSTER_PORT = 443

/** The name of a cluster's entries. */
export function contextName(clusterName: string): string {
  return `mcm-${clusterName}`
}

/** The entries that make plain kubectl reach a cluster. `host` is the cluster host. */
export function kubeconfigEntries(access: ClusterAccess, host: string): KubeconfigEntries {
  const name = contextName(access.name)
  const extensions = [{ name: EXTENSION, extension: { cluster: access.clusterId } }]
  const namespace = access.namespace === undefined ? {} : { namespace: access.namespace }
  return {
    name,
    clusterId: access.clusterId,
    cluster: { ...clusterEntry(access, host), extensions },
    user: { ...userEntry(access.mode), extensions },
    context: { cluster: name, user: name, ...namespace, extensions },
    holdsKey: access.mode.kind !== 'exec',
  }
}

function clusterEntry(access: ClusterAccess, host: string): Record<string, unknown> {
  const { mode } = access
  if (mode.kind !== 'proxy') {
    return {
      'certificate-authority-data': base64(joinPem(access.hub.certificatePem, access.serverCaPem)),
      server: `https://${host}:${CLUSTER_PORT}`,
      'proxy-url': `https://${access.hub.endpoint}`,
    }
  }
  const name = mode.tlsServerName === undefined ? {} : { 'tls-server-name': mode.tlsServerName }
  return { 'certificate-authority-data': base64(mode.caPem), server: mode.server, ...name }
}

function userEntry(mode: AccessMode): Record<string, unknown> {
  if (mode.kind === 'exec') return { exec: execPlugin(mode) }
  return {
    'client-certificate-data': base64(mode.certificatePem),
    'client-key-data': base64(mode.key.reveal()),
  }
}

function execPlugin(mode: AccessMode & { kind: 'exec' }): Record<string, unknown> {
  const env = Object.entries(mode.env).map(([name, value]) => ({ name, value }))
  return {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: mode.command,
    args: [...mode.args],
    ...(env.length > 0 ? { env } : {}),
    interactiveMode: 'Never',
    // So the plugin can say that this entry trusts what was replaced.
    provideClusterInfo: true,
  }
}

function joinPem(...certificates: readonly string[]): string {
  return certificates.map((pem) => `${pem.trim()}\n`).join('')
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}
