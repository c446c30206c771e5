/**
 * Calls to a Kubernetes API server: objects in, objects out, one transport underneath (straight to
 * the server, or through a session of ours). It knows paths, verbs and Status, and nothing of what
 * any object means. Invariant: an answer that is no success becomes an error of errors.ts whose
 * cause is the Status.
 */

import {
  AccessDeniedError,
  type ErrorDetails,
  IdentityError,
  isMcmError,
  type McmError,
  NotFoundError,
  UnreachableError,
  UsageError,
} from '../errors.ts'
import type { KubernetesObject } from '../kube/object.ts'
import { failureStatus, type Status } from '../kube/status.ts'

export interface KubernetesRequest {
  readonly method: string
  /** Origin-form: path and query, percent-encoded. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal?: AbortSignal
}

export interface KubernetesResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: AsyncIterable<Uint8Array>
}

/** One HTTP exchange with an API server. @throws UnreachableError, TrustError */
export type KubernetesTransport = (request: KubernetesRequest) => Promise<KubernetesResponse>

export interface WatchEvent<T = KubernetesObject> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'
  readonly object: T
}

export interface WatchOptions {
  /** Where to start, from a list; without it the server sends what exists first. */
  readonly resourceVersion?: string
  readonly labelSelector?: string
  readonly fieldSelector?: string
  /** The server ends the watch after so long; the caller lists and watches anew. Default 300 s. */
  readonly maximumAgeSeconds?: number
}

export interface ListOptions {
  readonly labelSelector?: string
  readonly fieldSelector?: string
}

export interface KubernetesList<T> {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string }
  readonly items: readonly T[]
}

/** `path` is always an absolute API path, such as `/api/v1/namespaces/default/secrets/x`. */
export interface KubernetesApi {
  get<T = KubernetesObject>(path: string): Promise<T>
  /** Undefined where get would throw NotFoundError. */
  getIfAny<T = KubernetesObject>(path: string): Promise<T | undefined>
  /** All pages of a collection, as one list at the version of the first. */
  list<T = KubernetesObject>(path: string, options?: ListOptions): Promise<KubernetesList<T>>
  /** POST to a collection (or a subresource, such as `…/token`). */
  create<T = KubernetesObject>(path: string, object: object): Promise<T>
  /** PUT; refused with MCM_CONFLICT when the object's resourceVersion is not the present one. */
  update<T = KubernetesObject>(path: string, object: object): Promise<T>
  /** Server-side apply. `force` takes over fields of other managers. */
  apply<T = KubernetesObject>(path: string, object: object, options: ApplyOptions): Promise<T>
  /** JSON merge patch (RFC 7386). */
  patch<T = KubernetesObject>(path: string, patch: object): Promise<T>
  delete(path: string): Promise<void>
  /**
   * Events of a collection until the server's or our end of it; an expired version throws
   * MCM_CONFLICT. Silence beyond the maximum age ends it too, so that a frozen path cannot hide
   * events for ever.
   */
  watch<T = KubernetesObject>(
    path: string,
    signal: AbortSignal,
    options?: WatchOptions,
  ): AsyncIterable<WatchEvent<T>>
}

export interface ApplyOptions {
  readonly fieldManager: string
  readonly force: boolean
  /** Asks the API server everything, RBAC and admission included, and keeps nothing. */
  readonly dryRun?: boolean
}

const JSON_TYPE = 'application/json'
const MERGE_PATCH_TYPE = 'application/merge-patch+json'
const APPLY_TYPE = 'application/apply-patch+yaml'
const PAGE_LENGTH = 500
const MAX_ANSWER_BYTES = 64 * 1024 * 1024
const DEFAULT_MAXIMUM_AGE_SECONDS = 300
/** How long after its maximum age a watch that did not end is given up. */
const WATCH_GRACE_MS = 5_000

/** The API over a transport. */
export function openKubernetes(transport: KubernetesTransport): KubernetesApi {
  const call = <T>(method: string, path: string, body?: object, type = JSON_TYPE) =>
    callJson<T>(transport, method, path, body, type)
  return {
    get: (path) => call('GET', path),
    getIfAny: (path) => call<never>('GET', path).catch(undefinedIfNotFound),
    list: (path, options = {}) => listAll(call, path, options),
    create: (path, object) => call('POST', path, object),
    update: (path, object) => call('PUT', path, object),
    apply: (path, object, { fieldManager, force, dryRun }) => {
      const query = { fieldManager, force: String(force), dryRun: dryRun ? 'All' : undefined }
      return call('PATCH', withQuery(path, query), object, APPLY_TYPE)
    },
    patch: (path, patch) => call('PATCH', path, patch, MERGE_PATCH_TYPE),
    delete: async (path) => {
      await call('DELETE', path)
    },
    watch: (path, signal, options = {}) => watchEvents(transport, path, signal, options),
  }
}

/** The error of an answer that is no success. `what` names the call, such as `GET /api/v1/pods`. */
export function errorOfStatus(what: string, status: Status): McmError {
  const message = `${what}: ${status.message || status.reason || `HTTP ${status.code}`}`
  const details: ErrorDetails = { cause: status }
  if (status.code === 400 || status.code === 422)
    return new UsageError('MCM_BAD_REQUEST', message, details)
  if (status.code === 401) return new IdentityError('MCM_NOT_LOGGED_IN', message, details)
  if (status.code === 403) return new AccessDeniedError('MCM_FORBIDDEN', message, details)
  if (status.code === 404) return new NotFoundError('MCM_NOT_FOUND', message, details)
  if (status.code === 409 || status.code === 410)
    return new UnreachableError('MCM_CONFLICT', message, details)
  if (status.code === 504) return new UnreachableError('MCM_TIMEOUT', message, details)
  return new UnreachableError('MCM_API_SERVER_UNREACHABLE', message, details)
}

/** The path with a query; parameters that are undefined are left out. */
export function withQuery(
  path: string,
  parameters: Readonly<Record<string, string | undefined>>,
): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(parameters))
    if (value !== undefined) query.set(name, value)
  const text = query.toString()
  return text === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${text}`
}

type Call = <T>(method: string, path: string, body?: object) => Promise<T>

async function callJson<T>(
  transport: KubernetesTransport,
  method: string,
  path: string,
  body: object | undefined,
  type: string,
): Promise<T> {
  const headers: Record<string, string> = { accept: JSON_TYPE }
  if (body !== undefined) headers['content-type'] = type
  const text = body === undefined ? undefined : JSON.stringify(body)
  const response = await transport({
    method,
    path,
    headers,
    ...(text === undefined ? {} : { body: text }),
  })
  const answer = await readText(response.body)
  if (response.status >= 200 && response.status < 300) return parseAnswer<T>(method, path, answer)
  throw errorOfStatus(`${method} ${pathOnly(path)}`, statusFrom(response.status, answer))
}

async function listAll<T>(call: Call, path: string, options: ListOptions) {
  const items: T[] = []
  let first: KubernetesList<T> | undefined
  let next: string | undefined
  do {
    const query = { ...options, limit: String(PAGE_LENGTH), continue: next }
    const page: KubernetesList<T> = await call('GET', withQuery(path, query))
    first ??= page
    items.push(...(page.items ?? []))
    next = page.metadata.continue || undefined
  } while (next !== undefined)
  return { metadata: { resourceVersion: first.metadata.resourceVersion }, items }
}

async function* watchEvents<T>(
  transport: KubernetesTransport,
  path: string,
  signal: AbortSignal,
  options: WatchOptions,
): AsyncGenerator<WatchEvent<T>> {
  const age = options.maximumAgeSeconds ?? DEFAULT_MAXIMUM_AGE_SECONDS
  const deadline = AbortSignal.timeout(age * 1000 + WATCH_GRACE_MS)
  const response = await transport({
    method: 'GET',
    path: withQuery(path, watchQuery(options, age)),
    headers: { accept: JSON_TYPE },
    signal: AbortSignal.any([signal, deadline]),
  })
  if (response.status !== 200) {
    const status = statusFrom(response.status, await readText(response.body))
    throw errorOfStatus(`watch ${pathOnly(path)}`, status)
  }
  try {
    for await (const line of linesOf(response.body)) yield watchEvent<T>(path, line)
  } catch (error) {
    // Our own end of the watch is no failure; the caller looks at its signal.
    if (!signal.aborted && !deadline.aborted) throw error
  }
}

function watchQuery(options: WatchOptions, age: number) {
  const { resourceVersion, labelSelector, fieldSelector } = options
  const where = { resourceVersion, labelSelector, fieldSelector }
  return { ...where, watch: '1', allowWatchBookmarks: 'true', timeoutSeconds: String(age) }
}

function watchEvent<T>(path: string, line: string): WatchEvent<T> {
  const event = parseAnswer<{ type: string; object: T }>('watch', path, line)
  if (event.type !== 'ERROR') return event as WatchEvent<T>
  throw errorOfStatus(`watch ${pathOnly(path)}`, event.object as Status)
}

async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > MAX_ANSWER_BYTES) throw tooLong()
    for (const line of lines) if (line.trim() !== '') yield line
  }
}

async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > MAX_ANSWER_BYTES) throw tooLong()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parseAnswer<T>(method: string, path: string, text: string): T {
  try {
    return JSON.parse(text) as T
  } catch (cause) {
    const problem = `${method} ${pathOnly(path)}: the answer is no JSON`
    throw new UnreachableError('MCM_API_SERVER_UNREACHABLE', problem, { cause })
  }
}

/** The Status of an answer, or one made of its HTTP code where the body is none. */
function statusFrom(code: number, text: string): Status {
  try {
    const status = JSON.parse(text) as Partial<Status>
    if (status.kind === 'Status')
      return failureStatus(code, status.reason ?? '', status.message ?? '', status.details)
  } catch {
    // Not every server in the way speaks Kubernetes: its code is all there is to say.
  }
  return failureStatus(code, '', `HTTP ${code}`)
}

function undefinedIfNotFound(error: unknown): undefined {
  if (isMcmError(error) && error.code === 'MCM_NOT_FOUND') return undefined
  throw error
}

function pathOnly(path: string): string {
  return path.split('?', 1)[0]!
}

function tooLong(): UnreachableError {
  return new UnreachableError('MCM_API_SERVER_UNREACHABLE', 'the answer is longer than 64 MiB')
}
