import { parseDetail } from '../directory/details.ts'
import { Directory } from '../directory/directory.ts'
import type { SigningKey } from '../directory/signing-key.ts'
import type { ProviderRecord } from '../directory/state.ts'
import { AccessDeniedError, TrustError } from '../errors.ts'
import { sha256 } from '../protocol/keys.ts'
import type { Link } from '../protocol/link.ts'
import type { DetailEnvelope } from '../protocol/messages.ts'
import { requireClock } from './clock.ts'
import type { Device } from './device.ts'
import { p256 } from './found-fleet.ts'
import { connectToHub, type HubCandidate, type HubConnection } from './hub-connection.ts'
import {
  alreadyLoggedIn,
  type LoggedIn,
  type LoginAttempt,
  storeDeviceKey,
} from './login-attempt.ts'
import { type CommandSource, type FreshToken, keepTokens, obtainToken } from './provided-token.ts'
import { type DeviceState, type ProvidedLogin, readState } from './state.ts'

/**
 * Joining by a token of an identity provider (PROTOCOL §11.3). The link pins hub, fleet and the statement that
 * names the provider: what the hub shows is believed where it fits, and nothing else.
 */

type OidcLink = Link & { kind: 'oidc' }

/**
 * `state`: of a device that is logged in already. A token of somebody else changes nothing there.
 * @throws UsageError MCM_USAGE, IdentityError MCM_TOKEN_REFUSED, AccessDeniedError, TrustError, UnreachableError,
 *   NotFoundError
 */
export async function joinByToken(
  attempt: Pick<LoginAttempt, 'device' | 'options' | 'key'>,
  link: OidcLink,
  state: DeviceState | undefined,
): Promise<LoggedIn> {
  const { device, options, key } = attempt
  const candidates = link.endpoints.map((endpoint) => ({ endpoint, pin: link.hubPin }))
  const place = { device, candidates, key }
  const provider = await withHub(place, (connection) => readProvider(device, connection, link))
  const source = options.token ?? { kind: 'person' }
  // Without a connection: a person takes their time.
  const fresh = await obtainToken(device, { fleet: link.fleet, key }, provider, source)
  if (state && state.user !== fresh.judged.identity.user) throw alreadyLoggedIn(state, device)
  await storeDeviceKey(device, key)
  const directory = await withHub(place, async ({ hub }) => {
    await hub.admit(admissionRequest(fresh, key, options.deviceName))
    // Other processes have gone on while a person took their time.
    const seen = (await readState(device.home))?.head
    const page = await hub.directory({ after: -1, details: 'all' })
    return device.progress.step('reading and verifying the directory', () =>
      Directory.restore(link.fleet, page, seen),
    )
  })
  const current = directory.state.providers.get(provider.name)
  if (current?.detailHash !== link.detail) throw otherProvider(link)
  const provided = providedBy(current, fresh, key, options)
  const own = directory.admitting([provided.admission])
  if (!own.state.isLiveDevice(key.id)) throw notAdmitted(provided)
  await keepTokens(device, fresh)
  const { user } = provided.admission
  return { directory: own, user, deviceName: options.deviceName, provided }
}

/** What the hub is told; the agents are told the same, each for itself. */
export function admissionRequest({ token, salt }: FreshToken, key: SigningKey, name: string) {
  return { token: token.reveal(), salt, device: { key: p256(key), name } }
}

/** What stays of a login, beside the tokens. */
export function providedBy(
  provider: ProviderRecord,
  { judged, salt }: FreshToken,
  key: SigningKey,
  { deviceName, token }: Pick<LoginAttempt['options'], 'deviceName' | 'token'>,
): ProvidedLogin {
  const { identity, tokenHash, tokenTime, until } = judged
  const device = { id: key.id, key: p256(key), name: deviceName }
  const command = token?.kind === 'command' ? kept(token) : {}
  const times = { tokenHash, tokenTime, until }
  const admission = { provider: provider.seq, ...identity, groups: [...identity.groups], device }
  return { provider: provider.name, salt, admission: { ...admission, ...times }, ...command }
}

function kept({ command, isAudienceFixed }: CommandSource) {
  return isAudienceFixed ? { command, isAudienceFixed } : { command }
}

/** A connection for a moment. */
export async function withHub<T>(
  place: {
    readonly device: Device
    readonly candidates: readonly HubCandidate[]
    readonly key: SigningKey
  },
  work: (connection: HubConnection) => Promise<T>,
): Promise<T> {
  const connection = await connectToHub(place.device, place.candidates, place.key)
  try {
    return await work(connection)
  } finally {
    connection.hub.close()
  }
}

async function readProvider(
  device: Device,
  { hub }: HubConnection,
  link: OidcLink,
): Promise<ProviderRecord> {
  const info = await hub.info()
  requireClock(device.world.now(), info.time)
  if (info.fleet !== link.fleet) throw otherProvider(link)
  return readLinked(link, await hub.providerDetail(link.detail))
}

/** The statement that the link names, whoever shows it. */
function readLinked(link: OidcLink, { seq, salt, text }: DetailEnvelope): ProviderRecord {
  const bytes = Buffer.concat([Buffer.from(salt, 'base64url'), Buffer.from(text)])
  const known = sha256(bytes) === link.detail ? parseDetail('oidc', text) : undefined
  if (known?.type !== 'oidc' || known.detail.action !== 'set') throw otherProvider(link)
  const { action: _, ca, ...rest } = known.detail
  const caDer = ca === undefined ? {} : { caDer: Buffer.from(ca, 'base64') }
  return { ...rest, ...caDer, seq, detailHash: link.detail }
}

function otherProvider(link: OidcLink): TrustError {
  return new TrustError(
    'MCM_DIRECTORY_INVALID',
    `the hub does not serve fleet ${link.fleet} with the identity provider of this link`,
    { hint: 'nothing was kept; ask an administrator for the link of today: mcm oidc' },
  )
}

function notAdmitted({ admission }: ProvidedLogin): AccessDeniedError {
  return new AccessDeniedError('MCM_REVOKED', `${admission.user} has been revoked`, {
    hint: 'ask an administrator: mcm grant brings a user back who was revoked',
  })
}
