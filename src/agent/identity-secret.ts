import { X509Certificate } from 'node:crypto'
import type { KubernetesApi } from '../client/kubernetes.ts'
import {
  generateSigningKey,
  type SigningKey,
  signingKeyFromPem,
  signingKeyPem,
} from '../directory/signing-key.ts'
import { StateError } from '../errors.ts'
import { type Authority, createAuthority, loadAuthority } from '../pki/authority.ts'
import { Secret } from '../secret.ts'
import type { World } from '../world.ts'
import type { AgentConfiguration } from './configuration.ts'
import {
  changeSecret,
  identitySecretName,
  newStateSecret,
  type StateSecret,
  secretValue,
} from './state-secret.ts'

/** What one cluster's agent is, the same in all its replicas. Its keys never leave the cluster. */
export interface AgentIdentity {
  /** Signs what the agent shows inside sessions. */
  readonly serverAuthority: Authority
  readonly userCaPem: string
  readonly userCaDer: Buffer
  /** Signs users' certificates; absent where the owner keeps its key (`--issuer local`). */
  readonly userAuthority?: Authority
  /** Known to the hub and to the directory. */
  readonly agentKey: SigningKey
  /** The Secret it is kept in: the impersonator's token can be bound to it. */
  readonly secret: { readonly name: string; readonly uid: string }
}

const KEYS = {
  serverCa: 'serverCa.crt',
  serverCaKey: 'serverCa.key',
  userCa: 'userCa.crt',
  userCaKey: 'userCa.key',
  agentKey: 'agent.key',
} as const

/**
 * The identity that is kept, or a new one. Replicas that start at once each make one; the first to
 * be written is everybody's, the others are forgotten.
 * @throws StateError MCM_STATE_DAMAGED; UnreachableError, AccessDeniedError of the API server
 */
export async function loadOrCreateIdentity(
  api: KubernetesApi,
  configuration: AgentConfiguration,
  world: World,
): Promise<AgentIdentity> {
  const name = identitySecretName(configuration.cluster)
  const secret = await changeSecret(api, name, async (current) =>
    current === undefined ? newIdentity(name, configuration, world) : undefined,
  )
  if (secret === undefined) throw new Error(`Secret ${name} was neither found nor made`)
  return readIdentity(secret, configuration)
}

async function newIdentity(
  name: string,
  { cluster, userCaPem }: AgentConfiguration,
  world: World,
): Promise<StateSecret> {
  const serverCa = await createAuthority(world, { commonName: `mcm server CA ${cluster}` })
  const values = {
    [KEYS.serverCa]: serverCa.certificatePem,
    [KEYS.serverCaKey]: serverCa.privateKeyPem.reveal(),
    [KEYS.agentKey]: signingKeyPem(generateSigningKey()).reveal(),
  }
  if (userCaPem !== undefined) return newStateSecret(name, cluster, 'identity', values)
  const userCa = await createAuthority(world, { commonName: `mcm user CA ${cluster}` })
  return newStateSecret(name, cluster, 'identity', {
    ...values,
    [KEYS.userCa]: userCa.certificatePem,
    [KEYS.userCaKey]: userCa.privateKeyPem.reveal(),
  })
}

function readIdentity(secret: StateSecret, configuration: AgentConfiguration): AgentIdentity {
  const { name, uid } = secret.metadata
  const serverAuthority = authorityOf(secret, KEYS.serverCa, KEYS.serverCaKey)
  return {
    serverAuthority,
    ...userCaOf(secret, configuration, serverAuthority),
    agentKey: signingKeyFromPem(textOf(secret, KEYS.agentKey)),
    secret: { name, uid: uid ?? '' },
  }
}

function userCaOf(
  secret: StateSecret,
  { userCaPem }: AgentConfiguration,
  serverAuthority: Authority,
) {
  const userAuthority =
    userCaPem === undefined ? authorityOf(secret, KEYS.userCa, KEYS.userCaKey) : undefined
  const userCa = userAuthority ?? ownersUserCa(secret, userCaPem ?? '')
  // One CA for both directions would let a user show themselves as the cluster.
  if (userCa.certificateDer.equals(serverAuthority.certificateDer))
    throw damaged(secret, 'its user CA is its server CA')
  return {
    userCaPem: userCa.certificatePem,
    userCaDer: userCa.certificateDer,
    ...(userAuthority ? { userAuthority } : {}),
  }
}

function ownersUserCa(secret: StateSecret, pem: string) {
  try {
    return { certificatePem: pem, certificateDer: new X509Certificate(pem).raw }
  } catch {
    throw damaged(secret, 'the user CA of the configuration is no certificate')
  }
}

function authorityOf(secret: StateSecret, certificate: string, key: string): Authority {
  return loadAuthority(textOf(secret, certificate), new Secret(textOf(secret, key)))
}

function textOf(secret: StateSecret, key: string): string {
  const value = secretValue(secret, key)
  if (value === undefined || value.length === 0) throw damaged(secret, `${key} is missing`)
  return value.toString('utf8')
}

function damaged({ metadata }: StateSecret, why: string): StateError {
  return new StateError('MCM_STATE_DAMAGED', `Secret ${metadata.name} cannot be used: ${why}`, {
    hint: 'restore it from a backup; if there is none, delete it and register the cluster anew',
  })
}
