import { DEFAULT_PREFIX, requirePrefix } from '../access/identity.ts'
import { agentManifest, type ManifestOptions } from '../access/manifest.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { verifyPublication } from '../directory/proofs.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { isMcmError, TrustError, UnreachableError, UsageError } from '../errors.ts'
import type { KubernetesObject } from '../kube/object.ts'
import { isClusterId, requireClusterName } from '../protocol/names.ts'
import { requireAdmin } from './admin.ts'
import { openSession } from './agent-connection.ts'
import { appendStatements } from './append.ts'
import type { ClusterFacts } from './apply-manifest.ts'
import { type CeilingWish, ceilingOf } from './ceiling-wish.ts'
import { derOfCertificate } from './checked-certificate.ts'
import { withCluster } from './cluster-access.ts'
import { type ClusterWish, registrationDrafts, requireSignable } from './cluster-statement.ts'
import { credentialInSession } from './credentials.ts'
import type { Device } from './device.ts'
import type { FleetSession } from './fleet-session.ts'
import { inOrder } from './hub-connection.ts'
import { followServer } from './impersonation-form.ts'
import type { Credential } from './kept-credential.ts'
import {
  beginRegistration,
  endRegistration,
  type Registration,
  readRegistration,
} from './registration.ts'
import type { DeviceState } from './state.ts'
import { createUserCa, forgetUserCa, userCaPem } from './user-ca.ts'

/**
 * Registering a cluster: an id and a token from the hub, a pairing secret the hub never sees, the agent's
 * objects, and once the agent has published what it made, this owner's signature under it.
 */

export interface RegisterOptions extends ClusterWish {
  /** Which endpoints of the hub the agent is given first. */
  readonly endpoint: DeviceState['endpoint']
  readonly workload?: ManifestOptions['workload']
  /** What nobody shall do there through mcm; the one that the cluster has, or none, unless told. */
  readonly ceiling?: CeilingWish
  /** Known when the manifest is applied directly. */
  readonly facts?: ClusterFacts
}

/** What is to be put into the cluster. Holds the join token and the pairing secret. */
export interface PreparedRegistration {
  readonly registration: Registration
  readonly isResumed: boolean
  readonly objects: readonly KubernetesObject[]
}

/**
 * Begins, or goes on with, the registration of a name.
 * @throws UsageError MCM_BAD_NAME, or MCM_USAGE when the name is taken; AccessDeniedError, TrustError
 */
export async function prepareRegistration(
  session: FleetSession,
  options: RegisterOptions,
): Promise<PreparedRegistration> {
  const name = requireClusterName(options.name)
  requirePrefix(options.prefix ?? DEFAULT_PREFIX)
  requireAdmin(session, 'register clusters')
  // What could not be signed in the end is said now, before anything is put into the cluster.
  requireSignable(options)
  const pending = await usableRegistration(session, name)
  if (!pending) requireFreeName(session, name)
  const registration = pending ?? (await newRegistration(session, name, options.issuer))
  const userCa = await userCaPem(session.device, registration.id)
  requireSameIssuer(name, options.issuer, userCa)
  const objects = agentManifest(manifestOptions(session, options, registration, userCa))
  return { registration, isResumed: pending !== undefined, objects }
}

/** One whose token has run out is begun anew, unless its cluster is in the directory already. */
async function usableRegistration(
  { device, directory }: FleetSession,
  name: string,
): Promise<Registration | undefined> {
  const pending = await readRegistration(device, name)
  if (!pending) return undefined
  const isSigned = directory.state.clusters.has(pending.id)
  if (isSigned || new Date(pending.expires) > device.world.now()) return pending
  await endRegistration(device, pending)
  await forgetUserCa(device, pending.id)
  return undefined
}

async function newRegistration(
  session: FleetSession,
  name: string,
  issuer: RegisterOptions['issuer'],
): Promise<Registration> {
  const answer = await session.hub.newCluster(name)
  const isKnown = session.directory.state.clusters.has(answer.id)
  if (!isClusterId(answer.id) || isKnown) {
    throw new TrustError(
      'MCM_DIRECTORY_INVALID',
      `the hub gave the id ${answer.id} for ${name}, which ${isKnown ? 'another cluster has' : 'is none'}`,
      { hint: 'nothing was written; look at the hub' },
    )
  }
  // Before the registration: one that goes on knows by it who issues.
  if (issuer === 'local') await newUserCa(session.device, name, answer.id)
  return beginRegistration(session.device, name, answer)
}

async function newUserCa(device: Device, name: string, id: string): Promise<void> {
  await createUserCa(device, id)
  const place = device.secrets.kind === 'keychain' ? 'the keychain' : 'a file only you can read'
  device.progress.say(`the user CA of ${name} was made: its key is in ${place}, and nowhere else`)
}

/** What may be in the cluster already is not changed by a flag. */
function requireSameIssuer(
  name: string,
  wanted: RegisterOptions['issuer'],
  userCa: string | undefined,
): void {
  const begun = userCa === undefined ? 'agent' : 'local'
  if (wanted === undefined || wanted === begun) return
  const message = `the registration of ${name} has begun with --issuer ${begun}`
  throw new UsageError('MCM_USAGE', message, {
    hint: `mcm register ${name} --issuer ${begun} goes on; or choose another name`,
  })
}

function requireFreeName({ directory }: FleetSession, name: string): void {
  const taken = [...directory.state.clusters.values()].find((cluster) => cluster.name === name)
  if (!taken) return
  throw new UsageError('MCM_USAGE', `a cluster ${name} is registered already (${taken.id})`, {
    hint: `choose another name, or mcm clusters remove ${name} first`,
  })
}

function manifestOptions(
  session: FleetSession,
  options: RegisterOptions,
  { id, joinToken, pairingSecret }: Registration,
  userCa: string | undefined,
): ManifestOptions {
  const { pin } = session.connection.candidate
  const { facts, workload } = options
  const customGroups = facts?.customGroups ?? []
  const ceiling = options.ceiling ? ceilingOf(options.ceiling, customGroups) : facts?.ceiling
  return {
    cluster: id,
    hub: { endpoints: agentEndpoints(session, options.endpoint), pin },
    fleet: session.state.fleet,
    joinToken,
    pairingSecret,
    prefix: options.prefix ?? DEFAULT_PREFIX,
    owner: session.state.user,
    ...(facts ? { listed: facts.listed, form: facts.form, customGroups } : {}),
    ...(ceiling ? { ceiling } : {}),
    ...(options.impersonateAny ? { impersonateAny: true } : {}),
    ...(userCa === undefined ? {} : { userCaPem: userCa }),
    ...(workload ? { workload } : {}),
  }
}

function agentEndpoints(
  { directory, connection }: FleetSession,
  first: DeviceState['endpoint'],
): string[] {
  const { pin, endpoint } = connection.candidate
  const hub = directory.state.hubs.find((each) => each.pin === pin)
  return hub ? inOrder(hub, first) : [endpoint]
}

export interface Registered {
  readonly id: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  /** RFC 3339: until when this owner's first certificate stands; absent when it is not there yet. */
  readonly certificateUntil?: string
}

/** What is done with the owner's direct access. */
export type OwnerWork = (kubernetes: KubernetesApi) => Promise<void>

/** How long one question to the hub waits for the agent. */
const POLL_SECONDS = 20

/**
 * Waits for the agent, checks what it published, signs it into the directory with this owner as a member, and
 * gets the owner's first certificate; then the list of names takes the form that the API server has.
 * @param own the owner's direct access, where the manifest was applied with it
 * @throws UnreachableError MCM_TIMEOUT, TrustError MCM_PAIRING_MISMATCH
 */
export async function completeRegistration(
  session: FleetSession,
  options: RegisterOptions,
  waitMs: number,
  own?: (work: OwnerWork) => Promise<void>,
): Promise<Registered> {
  const { device } = session
  const registration = await readRegistration(device, options.name)
  if (!registration) throw new Error(`the registration of ${options.name} was never prepared`)
  const deadline = device.world.now().getTime() + waitMs
  const text = await device.progress.step(`waiting for the agent of ${options.name}`, () =>
    waitForPublication(session, registration, deadline),
  )
  const { id, pairingSecret } = registration
  const published = await verifyPublication(pairingSecret, text, id)
  const userCa = await userCaPem(device, id)
  if (userCa !== undefined) requireOwnUserCa(userCa, published.userCa)
  const wish = { ...options, issuer: userCa === undefined ? 'agent' : 'local' } as const
  const drafts = (current: FleetSession) => registrationDrafts(current, wish, published)
  const signed = await appendStatements(session, drafts)
  await endRegistration(device, registration)
  const record = signed.directory.state.clusters.get(id)!
  const until = await firstCertificate(signed, record, deadline)
  const { name, labels } = record
  if (until !== undefined) await followServerIfPossible(signed, record, own)
  return { id, name, labels, ...(until === undefined ? {} : { certificateUntil: until }) }
}

/** The agent only hands on what agent.yaml told it. */
function requireOwnUserCa(pem: string, published: string): void {
  if (derOfCertificate(pem).toString('base64') === published) return
  throw new TrustError(
    'MCM_PAIRING_MISMATCH',
    'the agent published another user CA than the one made here',
    { hint: 'nothing was signed; register it under another name' },
  )
}

async function waitForPublication(
  { hub, device }: FleetSession,
  { id, name }: Registration,
  deadline: number,
): Promise<string> {
  for (;;) {
    device.signal.throwIfAborted()
    const leftMs = deadline - device.world.now().getTime()
    const seconds = Math.max(0, Math.min(POLL_SECONDS, Math.ceil(leftMs / 1000)))
    const publication = await hub.publication(id, seconds)
    if (publication !== undefined) return publication
    if (leftMs <= 0) throw noAgent(name)
  }
}

/** The list works in its first form, too; what it lacks then `mcm clusters show` says. */
async function followServerIfPossible(
  session: FleetSession,
  cluster: ClusterRecord,
  own: ((work: OwnerWork) => Promise<void>) | undefined,
): Promise<void> {
  const { progress } = session.device
  try {
    await progress.step('fitting the list of names to the API server', () =>
      withCluster(session, cluster, async ({ agent, kubernetes }) => {
        if (own) await own((direct) => followServer({ agent, kubernetes: direct }).then(() => {}))
        else await followServer({ agent, kubernetes })
      }),
    )
  } catch (error) {
    if (!isMcmError(error) || error instanceof TrustError) throw error
    progress.say(`the list of names stays in its first form: ${error.message}`)
  }
}

const RETRY_MS = 500
const AGENT_LEARNS_MS = 30_000

/** The agent hears of the statements over its tunnel: a moment later it knows this owner. */
async function firstCertificate(
  session: FleetSession,
  cluster: ClusterRecord,
  deadline: number,
): Promise<string | undefined> {
  const { device } = session
  const end = Math.max(deadline, device.world.now().getTime() + AGENT_LEARNS_MS)
  return device.progress.step('the first certificate', async () => {
    for (;;) {
      try {
        const credential = await credentialInSession(session, cluster.id)
        // One that this owner signed says nothing of the agent; what is done next needs it.
        if (cluster.issuer === 'local') await requireKnown(session, cluster, credential)
        return formatTime(credential.notAfter)
      } catch (error) {
        if (!isMcmError(error) || error instanceof TrustError) throw error
        if (device.world.now().getTime() >= end) return undefined
        await pause(RETRY_MS, device.signal)
      }
    }
  })
}

/** Only somebody whom the agent knows is answered. Without `withCluster`, which makes another certificate after a 401. */
async function requireKnown(
  session: FleetSession,
  cluster: ClusterRecord,
  credential: Credential,
): Promise<void> {
  const agent = await openSession(session, cluster, credential)
  await agent.whoami().finally(() => agent.close())
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { setTimeout } = await import('node:timers/promises')
  await setTimeout(ms, undefined, { signal })
}

function noAgent(name: string): UnreachableError {
  return new UnreachableError('MCM_TIMEOUT', `the agent of ${name} has not come to the hub yet`, {
    hint: `kubectl -n mcm-system get pods shows it; mcm register ${name} goes on waiting`,
  })
}
