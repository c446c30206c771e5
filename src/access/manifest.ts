/**
 * Everything that is put into a cluster to register it, as plain objects in the order in which they
 * can be created. Pure: the same options give the same objects.
 */

import { createHash } from 'node:crypto'
import type { KubernetesObject } from '../kube/object.ts'
import type { Secret } from '../secret.ts'
import { AGENT_NAME, AGENT_NAMESPACE, agentRights } from './agent-rights.ts'
import type { AgentWorkload } from './agent-workload.ts'
import { agentWorkload } from './agent-workload.ts'
import { type Ceiling, ceilingRole } from './ceiling.ts'
import type { Grant } from './grant.ts'
import { bindingOf, namesForGrant, requireGrant } from './grant.ts'
import type { ImpersonationForm, ImpersonatorNames } from './impersonator.ts'
import {
  impersonatorRole,
  NO_NAMES,
  unrestrictedImpersonatorRole,
  withNames,
} from './impersonator.ts'
import { MANAGED_BY_MCM } from './label.ts'
import { presetCeiling } from './preset-ceiling.ts'
import { presetRoles } from './role.ts'

/** The keys of the Secret `mcm-agent`, each a file where it is mounted. */
export const AGENT_SECRET_KEYS = {
  hub: 'hub.json',
  cluster: 'cluster',
  fleet: 'fleet',
  joinToken: 'joinToken',
  pairingSecret: 'pairingSecret',
  prefix: 'prefix',
  userCa: 'userCa',
} as const

/** Where the agent finds the hub: the JSON of `hub.json`. */
export interface HubReference {
  /** `HOST:PORT`, tried in order. */
  readonly endpoints: readonly string[]
  /** Fingerprint of the hub's certificate. */
  readonly pin: string
}

export interface ManifestOptions {
  /** The cluster id. */
  readonly cluster: string
  readonly hub: HubReference
  /** Fleet fingerprint. */
  readonly fleet: string
  readonly joinToken: Secret<string>
  readonly pairingSecret: Secret<string>
  /** Before every user and group name, as `mcm:`. */
  readonly prefix: string
  /** The bare name of who registers the cluster: gets `mcm:admin`. */
  readonly owner: string
  /** PEM of the user CA's certificate where the owner keeps its key (`--issuer local`). */
  readonly userCaPem?: string
  /** Names listed already, when a cluster is registered again: the role is replaced as a whole. */
  readonly listed?: ImpersonatorNames
  /** The form the list has already; the legacy one, which every server knows, unless told. */
  readonly form?: ImpersonationForm
  /** What can be done through mcm at all; everything but minting tokens unless told. */
  readonly ceiling?: Ceiling
  /** The owner's opt-out: anybody may be impersonated. */
  readonly impersonateAny?: boolean
  /** API groups of the cluster's custom resources, for `mcm:admin`. */
  readonly customGroups?: readonly string[]
  /** How the agent runs; absent for an agent outside the cluster. */
  readonly workload?: Omit<AgentWorkload, 'configurationHash'>
}

/**
 * The objects of agent.yaml. They hold the join token and the pairing secret in clear: write them to a
 * file of mode 0600 or straight to the API server, never to a log.
 * @throws UsageError MCM_BAD_NAME an owner or prefix that cannot be used
 */
export function agentManifest(options: ManifestOptions): KubernetesObject[] {
  const { workload, prefix } = options
  const grant = ownerGrant(options.owner)
  const objects = [
    namespace(),
    configuration(options),
    ...agentRights(),
    impersonator(options, grant),
    ceilingRole(options.ceiling ?? presetCeiling([], options.customGroups)),
    ...presetRoles(options.customGroups),
    bindingOf(grant, prefix),
  ]
  if (!workload) return objects
  return [
    ...objects,
    ...agentWorkload({ ...workload, configurationHash: configurationHash(options) }),
  ]
}

function ownerGrant(owner: string): Grant {
  return requireGrant({ subject: { kind: 'user', name: owner }, role: 'mcm:admin' })
}

function namespace(): KubernetesObject {
  const enforced = { 'pod-security.kubernetes.io/enforce': 'restricted' }
  const metadata = { name: AGENT_NAMESPACE, labels: { ...MANAGED_BY_MCM, ...enforced } }
  return { apiVersion: 'v1', kind: 'Namespace', metadata }
}

function impersonator(options: ManifestOptions, grant: Grant): KubernetesObject {
  if (options.impersonateAny) return unrestrictedImpersonatorRole(options.form)
  const ownNames = namesForGrant(grant, options.prefix)
  return impersonatorRole(withNames(options.listed ?? NO_NAMES, ownNames), options.form)
}

interface SecretObject extends KubernetesObject {
  readonly type: 'Opaque'
  /** Base64 by key. */
  readonly data: Readonly<Record<string, string>>
}

function configuration(options: ManifestOptions): SecretObject {
  const { hub, userCaPem } = options
  const key = AGENT_SECRET_KEYS
  const texts = {
    [key.hub]: JSON.stringify({ endpoints: hub.endpoints, pin: hub.pin }),
    [key.cluster]: options.cluster,
    [key.fleet]: options.fleet,
    [key.joinToken]: options.joinToken.reveal(),
    [key.pairingSecret]: options.pairingSecret.reveal(),
    [key.prefix]: options.prefix,
    ...(userCaPem === undefined ? {} : { [key.userCa]: userCaPem }),
  }
  const metadata = { name: AGENT_NAME, namespace: AGENT_NAMESPACE, labels: MANAGED_BY_MCM }
  const data = Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, base64(text)]))
  return { apiVersion: 'v1', kind: 'Secret', metadata, type: 'Opaque', data }
}

function base64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64')
}

/** Changes whenever running pods would have to be others; no secret goes into it. */
function configurationHash({ cluster, fleet, hub, prefix }: ManifestOptions): string {
  const text = JSON.stringify([cluster, fleet, hub.endpoints, hub.pin, prefix])
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}
