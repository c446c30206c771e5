/**
 * What a request asks of the API server: verb, resource, namespace, name. The algorithm is the
 * API server's own (apiserver `pkg/endpoints/request/requestinfo.go`), so that the audit and the
 * judgement of RBAC speak of the same thing. It only names a request: nothing is allowed by it.
 */

import { exactNameOf } from './field-selector.ts'
import { decodePercent } from './percent.ts'

/** Absent parts are empty strings, as in Kubernetes. */
export interface RequestInfo {
  readonly isResourceRequest: boolean
  /** The decoded path, without the query. */
  readonly path: string
  /** `get list watch create update patch delete deletecollection proxy`, or the HTTP method in lower case. */
  readonly verb: string
  readonly apiPrefix: string
  readonly apiGroup: string
  readonly apiVersion: string
  readonly namespace: string
  readonly resource: string
  readonly subresource: string
  readonly name: string
}

const API_PREFIXES = new Set(['api', 'apis'])
const VERBS_IN_PATH = new Set(['proxy', 'watch'])
const NAMESPACE_SUBRESOURCES = new Set(['status', 'finalize'])
const VERB_OF_METHOD: ReadonlyMap<string, string> = new Map([
  ['POST', 'create'],
  ['GET', 'get'],
  ['HEAD', 'get'],
  ['PUT', 'update'],
  ['PATCH', 'patch'],
  ['DELETE', 'delete'],
])

const LONG_RUNNING_VERBS = new Set(['watch', 'proxy'])
const LONG_RUNNING_SUBRESOURCES = new Set(['attach', 'exec', 'proxy', 'log', 'portforward'])

/**
 * What an HTTP request means to the API server.
 * @param method in upper case, as on the wire
 * @param target origin-form: path and optional query, still percent-encoded
 */
export function requestInfo(method: string, target: string): RequestInfo {
  const [rawPath, query] = splitAtFirst(target, '?')
  const path = decodePercent(rawPath) ?? rawPath
  const other = nonResourceRequest(method, path)
  const parts = path.replace(/^\/+|\/+$/g, '').split('/')
  const apiPrefix = parts[0] ?? ''
  if (parts.length < 3 || !API_PREFIXES.has(apiPrefix)) return other
  if (apiPrefix === 'api') return resourceRequest({ ...other, apiPrefix }, parts.slice(1), query)
  if (parts.length < 4) return { ...other, apiPrefix }
  return resourceRequest({ ...other, apiPrefix, apiGroup: parts[1]! }, parts.slice(2), query)

  function resourceRequest(base: RequestInfo, rest: readonly string[], search: string) {
    return withListVerb(namedRequest(base, method, rest), search)
  }
}

/** Whether the API server lets it run without a deadline (kubernetes `pkg/controlplane/apiserver/config.go`). */
export function isLongRunning(info: RequestInfo): boolean {
  if (LONG_RUNNING_VERBS.has(info.verb)) return true
  if (info.isResourceRequest) return LONG_RUNNING_SUBRESOURCES.has(info.subresource)
  return info.path.startsWith('/debug/pprof/')
}

function nonResourceRequest(method: string, path: string): RequestInfo {
  const none = { apiPrefix: '', apiGroup: '', apiVersion: '', namespace: '' }
  const unnamed = { resource: '', subresource: '', name: '' }
  return { isResourceRequest: false, path, verb: method.toLowerCase(), ...none, ...unnamed }
}

/** `parts` start at the version. At least one more follows. */
function namedRequest(base: RequestInfo, method: string, parts: readonly string[]): RequestInfo {
  const info = { ...base, isResourceRequest: true, apiVersion: parts[0]! }
  const first = parts[1]!
  if (!VERBS_IN_PATH.has(first))
    return withResource({ ...info, verb: VERB_OF_METHOD.get(method) ?? '' }, parts.slice(1))
  if (parts.length < 3) return info
  return withResource({ ...info, verb: first }, parts.slice(2))
}

function withResource(info: RequestInfo, parts: readonly string[]): RequestInfo {
  if (parts[0] !== 'namespaces' || parts.length < 2) return withName(info, parts)
  const inNamespace = { ...info, namespace: parts[1]! }
  const isOfNamespace = parts.length < 3 || NAMESPACE_SUBRESOURCES.has(parts[2]!)
  return withName(inNamespace, isOfNamespace ? parts : parts.slice(2))
}

function withName(info: RequestInfo, parts: readonly string[]): RequestInfo {
  const [resource = '', name = '', third = ''] = parts
  return { ...info, resource, name, subresource: info.verb === 'proxy' ? '' : third }
}

/** Without a name a GET is a list or a watch, a DELETE a deletecollection. */
function withListVerb(info: RequestInfo, query: string): RequestInfo {
  if (info.name !== '' || info.resource === '') return info
  if (info.verb === 'delete') return { ...info, verb: 'deletecollection' }
  if (info.verb !== 'get') return info
  const parameters = parseQuery(query)
  const name = exactNameOf(parameters.get('fieldSelector') ?? '')
  return { ...info, verb: isWatch(parameters.get('watch')) ? 'watch' : 'list', name }
}

/** apimachinery reads a boolean parameter so: present and neither "false" nor "0". */
function isWatch(value: string | undefined): boolean {
  return value !== undefined && value.toLowerCase() !== 'false' && value !== '0'
}

/** The first value of each parameter; pairs that Go's net/url drops are dropped. */
function parseQuery(query: string): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>()
  for (const pair of query.split('&')) {
    if (pair === '' || pair.includes(';')) continue
    const [key, value] = splitAtFirst(pair.replaceAll('+', ' '), '=').map(decodePercent)
    if (key === undefined || value === undefined || parameters.has(key)) continue
    parameters.set(key, value)
  }
  return parameters
}

function splitAtFirst(text: string, separator: string): [string, string] {
  const index = text.indexOf(separator)
  return index < 0 ? [text, ''] : [text.slice(0, index), text.slice(index + 1)]
}
