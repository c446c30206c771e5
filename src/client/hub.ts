import type { ClientHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import { z } from 'zod'
import {
  type Admitted,
  type AdmittedDevice,
  admittedDevicesSchema,
  admittedSchema,
  type DetailEnvelope,
  type DirectoryAppend,
  type DirectoryPage,
  detailEnvelopeSchema,
  directoryPageSchema,
  type FoundFleet,
  type Head,
  type HubInfo,
  headSchema,
  hubInfoSchema,
  type Join,
  type NewClusterAnswer,
  newClusterAnswerSchema,
  type Presence,
  presenceSchema,
  publicationAnswerSchema,
  type TokenAdmission,
} from '../protocol/messages.ts'
import { REPLICA_HEADER } from '../protocol/names.ts'
import {
  beginStream,
  type Call,
  callJson,
  exchange,
  lostOf,
  type Peer,
  parseJson,
  readText,
  startSession,
  unreachablePeer,
} from './json-call.ts'
import { errorOfAnswer } from './status-error.ts'

/**
 * The hub's API (docs/PROTOCOL.md §5) over one connection, which is closed with it. What a hub says
 * is shape-checked here and believed nowhere: directory pages are for `directory` to verify. Errors
 * that the hub sent are thrown as the same family and code.
 */
export interface HubApi {
  info(): Promise<HubInfo>
  foundFleet(body: FoundFleet): Promise<Head>
  /** `after` -1 gives all. `invite`: the proof of an invite key for this connection, to read as the invited. */
  directory(query: DirectoryQuery): Promise<DirectoryPage>
  /** @throws UnreachableError MCM_CONFLICT when another append was faster: read, sign again */
  append(body: DirectoryAppend): Promise<Head>
  newCluster(name: string): Promise<NewClusterAnswer>
  join(cluster: string, body: Join): Promise<void>
  /** The publication, waiting at most `waitSeconds` (0–60); undefined when there is none yet. */
  publication(cluster: string, waitSeconds: number): Promise<string | undefined>
  presence(): Promise<Presence>
  /** The detail of the `oidc` statement with this hash; the caller checks that it is. @throws NotFoundError */
  providerDetail(hash: string): Promise<DetailEnvelope>
  /** Lets this connection's own key in by a token (PROTOCOL §11.3). @throws IdentityError, AccessDeniedError */
  admit(body: TokenAdmission): Promise<Admitted>
  /** Devices that tokens admitted: own, for an admin all. */
  admittedDevices(): Promise<AdmittedDevice[]>
  /** Lets one of them in no longer. @throws NotFoundError */
  endAdmitted(device: string): Promise<void>
  /**
   * A byte stream to an authority of a cluster, `<host>:443`; `replica`: the only one that will do.
   * @throws AccessDeniedError, UnreachableError
   */
  connect(authority: string, replica?: string): Promise<Duplex>
  /** Whether the hub answers a PING within so long. */
  ping(timeoutMs: number): Promise<boolean>
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>
  /** Ends it when what runs on it has ended. */
  close(): void
  /** Ends it and everything on it. */
  abandon(): void
}

export interface DirectoryQuery {
  readonly after: number
  readonly details: 'new' | 'all'
  readonly invite?: string
}

const AUTHORITY = 'hub.mcm.internal'
const CONNECT_TIMEOUT_MS = 20_000
const LONG_POLL_MARGIN_MS = 15_000
const nothing = z.unknown().transform(() => undefined)

/** Speaks to the hub on a socket that `dialHub` gave with ALPN `h2`. */
export function openHub(
  socket: Duplex,
  options: { readonly maxAnswerBytes?: number } = {},
): HubApi {
  const session = startSession(socket, AUTHORITY)
  const lost = unreachablePeer('MCM_HUB_UNREACHABLE', 'the hub')
  const peer: Peer = { name: 'the hub', authority: AUTHORITY, session, lost, ...options }
  const call = <T>(schema: z.ZodType<T>, request: Call) => callJson(peer, request, schema)
  return {
    info: () => call(hubInfoSchema, { method: 'GET', path: '/v1/hub' }),
    foundFleet: (body) => call(headSchema, { method: 'POST', path: '/v1/fleet', body }),
    directory: (query) =>
      call(directoryPageSchema, { method: 'GET', path: `/v1/directory?${directoryQuery(query)}` }),
    append: (body) => call(headSchema, { method: 'POST', path: '/v1/directory', body }),
    newCluster: (name) =>
      call(newClusterAnswerSchema, { method: 'POST', path: '/v1/clusters', body: { name } }),
    join: (cluster, body) =>
      call(nothing, { method: 'POST', path: `/v1/clusters/${cluster}/join`, body }),
    publication: (cluster, waitSeconds) => publication(peer, cluster, waitSeconds),
    presence: () => call(presenceSchema, { method: 'GET', path: '/v1/clusters' }),
    providerDetail: (hash) =>
      call(detailEnvelopeSchema, {
        method: 'GET',
        path: `/v1/oidc?${new URLSearchParams({ detail: hash })}`,
      }),
    admit: (body) => call(admittedSchema, { method: 'POST', path: '/v1/oidc', body }),
    endAdmitted: (device) =>
      call(nothing, { method: 'DELETE', path: `/v1/devices/${encodeURIComponent(device)}` }),
    admittedDevices: () => call(admittedDevicesSchema, { method: 'GET', path: '/v1/devices' }),
    connect: (authority, replica) => connectStream(peer, authority, replica),
    ping: (timeoutMs) => ping(peer, timeoutMs),
    closed: new Promise((resolve) => session.once('close', resolve)),
    close: () => session.close(),
    abandon: () => session.destroy(),
  }
}

function directoryQuery({ after, details, invite }: DirectoryQuery): string {
  const query = { after: String(after), details, ...(invite === undefined ? {} : { invite }) }
  return new URLSearchParams(query).toString()
}

async function publication(
  peer: Peer,
  cluster: string,
  waitSeconds: number,
): Promise<string | undefined> {
  const path = `/v1/clusters/${cluster}/publication?wait=${waitSeconds}`
  const timeoutMs = waitSeconds * 1000 + LONG_POLL_MARGIN_MS
  const { status, body } = await exchange(peer, { method: 'GET', path, timeoutMs })
  if (status === 204) return undefined
  if (status !== 200) throw errorOfAnswer(peer.name, status, body)
  const parsed = publicationAnswerSchema.safeParse(body)
  if (parsed.success) return parsed.data.publication
  throw peer.lost('its answer is not understood', parsed.error)
}

async function connectStream(
  peer: Peer,
  authority: string,
  replica: string | undefined,
): Promise<Duplex> {
  const wish: Record<string, string> = replica === undefined ? {} : { [REPLICA_HEADER]: replica }
  const headers = { ':method': 'CONNECT', ':authority': authority, ...wish }
  const stream = beginStream(peer, headers, false)
  const timer = setTimeout(() => {
    stream.destroy(new Error(`no answer within ${CONNECT_TIMEOUT_MS / 1000} s`))
  }, CONNECT_TIMEOUT_MS)
  try {
    return await connected(peer, stream)
  } catch (cause) {
    stream.destroy()
    throw lostOf(peer, cause)
  } finally {
    clearTimeout(timer)
  }
}

function connected(peer: Peer, stream: ClientHttp2Stream): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    stream.once('response', (headers) => {
      const status = headers[':status'] ?? 0
      if (status === 200) resolve(stream)
      else readText(stream).then((text) => reject(refusal(status, text)), reject)
    })
    stream.once('error', reject)
    stream.once('close', () => reject(new Error('the connection ended')))
  })
  function refusal(status: number, text: string) {
    return errorOfAnswer(peer.name, status, parseJson(text))
  }
}

function ping({ session }: Peer, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    if (session.closed || session.destroyed) return resolve(false)
    const timer = setTimeout(() => resolve(false), timeoutMs)
    session.ping((error) => {
      clearTimeout(timer)
      resolve(error === null)
    })
  })
}
