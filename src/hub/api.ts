import { z } from 'zod'
import { formatTime } from '../directory/time.ts'
import { visibleDetails } from '../directory/visibility.ts'
import { AccessDeniedError, IdentityError, NotFoundError, UsageError } from '../errors.ts'
import {
  type AdmittedDevice,
  type DirectoryPage,
  directoryAppendSchema,
  foundFleetSchema,
  type HubInfo,
  joinSchema,
  newClusterSchema,
  type Presence,
  tokenAdmissionSchema,
} from '../protocol/messages.ts'
import { isClusterId } from '../protocol/names.ts'
import type { World } from '../world.ts'
import type { Book } from './book.ts'
import type { HubEvents } from './events.ts'
import type { Guests } from './guests.ts'
import { requireInvited } from './invited.ts'
import { type Peer, viewerOf } from './peer.ts'
import type { Registrations } from './registrations.ts'
import { isStartToken } from './start-token.ts'
import type { HubStore } from './store.ts'
import type { Tunnels } from './tunnels.ts'

/** The hub's API (docs/PROTOCOL.md §5): each route with who may call it. */
export interface ApiCall {
  readonly method: string
  /** With query. */
  readonly path: string
  readonly peer: Peer
  /** The JSON of the body; undefined when there is none. */
  readonly body: unknown
  /** Aborted when the caller is gone. */
  readonly gone: AbortSignal
}

export interface ApiAnswer {
  readonly status: number
  readonly body?: unknown
}

export interface ApiDeps {
  readonly world: World
  readonly version: string
  readonly ownPin: string
  /** Base64 DER. */
  nextCertificate(): string | undefined
  readonly book: Book
  readonly guests: Guests
  readonly store: HubStore
  readonly registrations: Registrations
  readonly tunnels: Tunnels
  readonly events: HubEvents
}

interface RoutedCall extends ApiCall {
  readonly query: URLSearchParams
  /** The cluster id in the path, where the route has one. */
  readonly cluster: string
  /** The same segment, for routes of other things. */
  readonly segment: string
}

type Handler = (deps: ApiDeps, call: RoutedCall) => Promise<ApiAnswer> | ApiAnswer

const MAX_WAIT_SECONDS = 60

const ROUTES: readonly (readonly [method: string, path: RegExp, handler: Handler])[] = [
  ['GET', /^\/v1\/hub$/, info],
  ['POST', /^\/v1\/fleet$/, foundFleet],
  ['GET', /^\/v1\/directory$/, readDirectory],
  ['POST', /^\/v1\/directory$/, append],
  ['GET', /^\/v1\/oidc$/, providerDetail],
  ['POST', /^\/v1\/oidc$/, admit],
  ['GET', /^\/v1\/devices$/, admittedDevices],
  ['DELETE', /^\/v1\/devices\/([^/]+)$/, endAdmitted],
  ['GET', /^\/v1\/clusters$/, presence],
  ['POST', /^\/v1\/clusters$/, newCluster],
  ['POST', /^\/v1\/clusters\/([^/]+)\/join$/, join],
  ['GET', /^\/v1\/clusters\/([^/]+)\/publication$/, publication],
]

/** @throws McmError: the refusal to answer with */
export async function answerApi(deps: ApiDeps, call: ApiCall): Promise<ApiAnswer> {
  const [path = '', query = ''] = call.path.split('?', 2)
  for (const [method, pattern, handler] of ROUTES) {
    const match = method === call.method ? pattern.exec(path) : null
    if (!match) continue
    const routed = {
      ...call,
      query: new URLSearchParams(query),
      cluster: match[1] ?? '',
      segment: match[1] ?? '',
    }
    return handler(deps, routed)
  }
  throw new NotFoundError('MCM_NOT_FOUND', `the hub has no ${call.method} ${path}`, {
    hint: 'client and hub may be of different versions: mcm version',
  })
}

function info({ version, world, book, ...deps }: ApiDeps): ApiAnswer {
  const nextCertificate = deps.nextCertificate()
  const { fleet } = book.current
  const body: HubInfo = {
    version,
    time: formatTime(world.now()),
    ...(fleet === undefined ? {} : { fleet }),
    ...(nextCertificate === undefined ? {} : { nextCertificate }),
  }
  return { status: 200, body }
}

async function foundFleet(deps: ApiDeps, call: RoutedCall): Promise<ApiAnswer> {
  const { token, statements, details } = parse(foundFleetSchema, call.body)
  if (!(await isStartToken(deps.store, token))) throw wrongStartToken()
  const head = await deps.book.found({ statements, details }, deps.ownPin)
  await deps.store.writeStartTokenHash(undefined)
  deps.events.fleetFounded(deps.book.current.fleet!)
  return { status: 200, body: head }
}

async function readDirectory(deps: ApiDeps, { peer, query }: RoutedCall): Promise<ApiAnswer> {
  const proof = query.get('invite')
  const invited = proof === null ? undefined : await requireInvited(deps, peer, proof)
  const { directory } = deps.guests
  const viewer = invited ?? viewerOf(directory.state, peer)
  if (!viewer) throw unknownDevice()
  const after = parse(afterSchema, query.get('after') ?? '-1')
  const visible = visibleDetails(directory, viewer)
  const isAll = query.get('details') === 'all'
  const body: DirectoryPage = {
    head: directory.head,
    statements: directory.statements.slice(after + 1).map(({ text }) => text),
    details: isAll ? visible : visible.filter(({ seq }) => seq > after),
  }
  return { status: 200, body }
}

async function append(deps: ApiDeps, call: RoutedCall): Promise<ApiAnswer> {
  const { book, events } = deps
  const before = book.current.statements.length
  try {
    const head = await book.append(parse(directoryAppendSchema, call.body))
    const added = book.current.statements.slice(before, head.seq + 1)
    events.directoryAppended(
      head.seq,
      added.map(({ type }) => type),
      call.peer.key,
    )
    return { status: 200, body: head }
  } catch (error) {
    if (viewerOf(deps.guests.directory.state, call.peer))
      events.directoryRefused(String(error), call.peer.key)
    throw error
  }
}

function providerDetail({ guests }: ApiDeps, { query }: RoutedCall): ApiAnswer {
  return { status: 200, body: guests.providerDetail(query.get('detail') ?? '') }
}

async function admit({ guests, events }: ApiDeps, call: RoutedCall): Promise<ApiAnswer> {
  const { user, until, device } = await guests.admit(
    call.peer,
    parse(tokenAdmissionSchema, call.body),
  )
  events.guestAdmitted(user, device.id, formatTime(until))
  return { status: 200, body: { user, until: formatTime(until) } }
}

function admittedDevices({ guests }: ApiDeps, { peer }: RoutedCall): ApiAnswer {
  const { user, isAdmin } = requireDevice(guests, peer)
  return { status: 200, body: guests.list().filter((each) => isAdmin || each.user === user) }
}

/** Own, or for an admin anybody’s; the second path segment is a key id here. */
async function endAdmitted(deps: ApiDeps, call: RoutedCall): Promise<ApiAnswer> {
  const { body } = admittedDevices(deps, call)
  const found = (body as AdmittedDevice[]).find(({ id }) => id === call.segment)
  if (!found) throw new NotFoundError('MCM_NOT_FOUND', 'no such device of yours is admitted here')
  await deps.guests.end(found.id)
  deps.events.guestEnded(found.user, found.id)
  return { status: 200, body: {} }
}

function presence({ guests, tunnels, world }: ApiDeps, { peer }: RoutedCall): ApiAnswer {
  const { state } = guests.directory
  const { user, isAdmin } = requireDevice(guests, peer)
  const now = world.now()
  const visible = [...state.clusters.keys()].filter(
    (id) => isAdmin || state.isMember(user, id, now),
  )
  const body: Presence = visible.map((id) => ({ id, agents: tunnels.presence(id) }))
  return { status: 200, body }
}

async function newCluster(deps: ApiDeps, { peer, body }: RoutedCall): Promise<ApiAnswer> {
  const { key } = requireAdmin(deps.guests, peer)
  const { name } = parse(newClusterSchema, body)
  return { status: 200, body: await deps.registrations.create(name, key) }
}

async function join(deps: ApiDeps, { peer, cluster, body }: RoutedCall): Promise<ApiAnswer> {
  if (!isClusterId(cluster) || peer.key === undefined) throw unknownDevice()
  await deps.registrations.join(cluster, peer.key, parse(joinSchema, body))
  return { status: 200, body: {} }
}

async function publication(deps: ApiDeps, call: RoutedCall): Promise<ApiAnswer> {
  requireAdmin(deps.guests, call.peer)
  const seconds = parse(waitSchema, call.query.get('wait') ?? '0')
  const { cluster, gone } = call
  const published = await deps.registrations.publication(cluster, seconds * 1000, gone)
  if (published === undefined) return { status: 204 }
  return { status: 200, body: { publication: published } }
}

interface DeviceCaller {
  readonly key: string
  readonly user: string
  readonly isAdmin: boolean
}

/** @throws IdentityError MCM_DEVICE_UNKNOWN, AccessDeniedError MCM_REVOKED */
function requireDevice({ directory }: Guests, { key }: Peer): DeviceCaller {
  const { state } = directory
  const owner = key === undefined ? undefined : state.deviceOwner(key)
  if (key === undefined || !owner) throw unknownDevice()
  if (!state.isLiveDevice(key)) {
    throw new AccessDeniedError(
      'MCM_REVOKED',
      `this device of ${owner.user.name} has been revoked`,
      {
        hint: 'ask an administrator for a new invite',
      },
    )
  }
  return { key, user: owner.user.name, isAdmin: state.admins.has(key) }
}

function requireAdmin(guests: Guests, peer: Peer): DeviceCaller {
  const caller = requireDevice(guests, peer)
  if (caller.isAdmin) return caller
  throw new AccessDeniedError(
    'MCM_FORBIDDEN',
    `${caller.user} is not an administrator of the fleet`,
    {
      hint: 'ask one to do it, or to make you one',
    },
  )
}

const afterSchema = z.coerce.number().int().min(-1)
const waitSchema = z.coerce.number().int().min(0).max(MAX_WAIT_SECONDS)

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const where = issue?.path.join('.') || 'the request'
  throw new UsageError('MCM_BAD_REQUEST', `${where} is not as it must be: ${issue?.message}`)
}

function unknownDevice(): IdentityError {
  return new IdentityError('MCM_DEVICE_UNKNOWN', 'this hub’s directory does not know this device', {
    hint: 'mcm login',
  })
}

function wrongStartToken(): AccessDeniedError {
  return new AccessDeniedError(
    'MCM_FORBIDDEN',
    'this start link opens nothing: the hub has its fleet already, or has shown a newer link since',
    { hint: 'use the link of the hub’s last start, or ask an administrator for an invite' },
  )
}
