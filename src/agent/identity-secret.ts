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

/** The two CAs of a cluster. */
export interface ClusterAuthorities {
  /** Signs what the agent shows inside sessions. */
  readonly serverAuthority: Authority
  readonly userCaPem: string
  readonly userCaDer: Buffer
  /** Signs users' certificates; absent where the owner keeps its key (`--issuer local`). */
  readonly userAuthority?: Authority
}

/** What one cluster's agent is, the same in all its replicas. Its keys never leave the cluster. */
export interface AgentIdentity extends ClusterAuthorities {
  /** Made for a rotation (PROTOCOL §12.1); used from when an admin has signed them. */
  readonly next?: ClusterAuthorities
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
  /** Of an owner who issues, since the first rotation; before it the configuration has it. */
  ownersUserCa: 'ownersUserCa.crt',
  agentKey: 'agent.key',
} as const
/** Before the name of each value that waits to take the place of another. */
const NEXT = 'next.'

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
  const values = await newAuthorities(cluster, world, userCaPem === undefined)
  const agentKey = signingKeyPem(generateSigningKey()).reveal()
  return newStateSecret(name, cluster, 'identity', { ...values, [KEYS.agentKey]: agentKey })
}

/** Keys and certificates of new CAs, by name. */
async function newAuthorities(
  cluster: string,
  world: World,
  withUserCa: boolean,
): Promise<Record<string, string>> {
  const serverCa = await createAuthority(world, { commonName: `mcm server CA ${cluster}` })
  const values = {
    [KEYS.serverCa]: serverCa.certificatePem,
    [KEYS.serverCaKey]: serverCa.privateKeyPem.reveal(),
  }
  if (!withUserCa) return values
  const userCa = await createAuthority(world, { commonName: `mcm user CA ${cluster}` })
  return {
    ...values,
    [KEYS.userCa]: userCa.certificatePem,
    [KEYS.userCaKey]: userCa.privateKeyPem.reveal(),
  }
}

/**
 * The Secret with CAs that wait for an admin's signature; undefined when those wait already. Of an owner's the latest counts.
 * `owners`: the user CAs of an owner who issues; the one of now is kept, too, whatever the configuration says later.
 */
export async function withNextAuthorities(
  secret: StateSecret,
  cluster: string,
  owners: { readonly now: string; readonly next: string } | undefined,
  world: World,
): Promise<StateSecret | undefined> {
  if (secretValue(secret, NEXT + KEYS.serverCa) !== undefined) {
    const waiting = secretValue(secret, NEXT + KEYS.ownersUserCa)?.toString('utf8')
    if (owners === undefined || waiting === owners.next) return undefined
    const data = { ...secret.data, [NEXT + KEYS.ownersUserCa]: base64(owners.next) }
    return { ...secret, data }
  }
  const made = await newAuthorities(cluster, world, owners === undefined)
  const next = {
    ...made,
    ...(owners === undefined ? {} : { [KEYS.ownersUserCa]: owners.next }),
  }
  const named = Object.entries(next).map(([key, value]) => [NEXT + key, base64(value)])
  const now = owners === undefined ? {} : { [KEYS.ownersUserCa]: base64(owners.now) }
  return { ...secret, data: { ...secret.data, ...now, ...Object.fromEntries(named) } }
}

/** The Secret in which the CAs that waited have taken the place of those before, which are gone. */
export function withNextInPlace(secret: StateSecret): StateSecret {
  const data = { ...secret.data }
  for (const key of Object.values(KEYS)) {
    const value = data[NEXT + key]
    if (value === undefined) continue
    data[key] = value
    delete data[NEXT + key]
  }
  return { ...secret, data }
}

/** What stands in the Secret. @throws StateError MCM_STATE_DAMAGED */
export function readIdentity(
  secret: StateSecret,
  configuration: AgentConfiguration,
): AgentIdentity {
  const { name, uid } = secret.metadata
  const hasNext = secretValue(secret, NEXT + KEYS.serverCa) !== undefined
  return {
    ...readAuthorities(secret, configuration, ''),
    ...(hasNext ? { next: readAuthorities(secret, configuration, NEXT) } : {}),
    agentKey: signingKeyFromPem(textOf(secret, KEYS.agentKey)),
    secret: { name, uid: uid ?? '' },
  }
}

function readAuthorities(
  secret: StateSecret,
  configuration: AgentConfiguration,
  prefix: '' | typeof NEXT,
): ClusterAuthorities {
  const serverAuthority = authorityOf(secret, prefix + KEYS.serverCa, prefix + KEYS.serverCaKey)
  return { serverAuthority, ...userCaOf(secret, configuration, serverAuthority, prefix) }
}

function userCaOf(
  secret: StateSecret,
  { userCaPem }: AgentConfiguration,
  serverAuthority: Authority,
  prefix: '' | typeof NEXT,
) {
  const userAuthority =
    userCaPem === undefined
      ? authorityOf(secret, prefix + KEYS.userCa, prefix + KEYS.userCaKey)
      : undefined
  const rotated = secretValue(secret, prefix + KEYS.ownersUserCa)?.toString('utf8')
  const userCa = userAuthority ?? ownersUserCa(secret, rotated ?? userCaPem ?? '')
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

function base64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64')
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
