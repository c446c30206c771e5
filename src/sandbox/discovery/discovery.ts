/**
 * Everything that is not a resource: health, version, and what there is to ask for (apiserver
 * `pkg/endpoints/discovery/`, `pkg/server/routes/version.go`).
 */
import type { RequestContext } from '../context.ts'
import { readVersion } from '../kubernetes-version.ts'
import { methodNotAllowed, noSuchResource } from '../refusals.ts'
import { answerJson } from '../show/answer.ts'
import { wantsAggregatedDiscovery } from '../show/negotiate.ts'
import { aggregatedDiscovery, apiGroup, apiGroups, apiResources, rootPaths } from './documents.ts'
import { openApiGroup, openApiIndex, openApiV2 } from './openapi.ts'

const AGGREGATED = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'
const HEALTH = new Set([
  '/healthz',
  '/livez',
  '/readyz',
  '/healthz/ping',
  '/livez/ping',
  '/readyz/ping',
])

/** @returns the status code. @throws Refusal 404, 405 */
export function answerDiscovery(context: RequestContext): number {
  const { exchange, info } = context
  if (exchange.method !== 'GET' && exchange.method !== 'HEAD') throw methodNotAllowed()
  const path = info.path.replace(/(?<=.)\/$/, '')
  if (HEALTH.has(path)) return answerText(context, 200, 'ok')
  if (
    (path === '/api' || path === '/apis') &&
    wantsAggregatedDiscovery(exchange.headers.first('accept'))
  )
    return answerAggregated(context, path)
  const document = documentAt(context, path)
  if (document === undefined) return answerNotFound(context, path)
  answerJson(context, 200, document)
  return 200
}

function documentAt(context: RequestContext, path: string): object | undefined {
  const [, first = '', group = '', version = ''] = path.split('/')
  if (path === '/') return rootPaths()
  if (path === '/version') return versionOf(context)
  if (path === '/api')
    return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] }
  if (path === '/apis') return apiGroups()
  if (path === '/api/v1') return apiResources('', 'v1')
  if (path === '/openapi/v2') return openApiV2()
  if (path === '/openapi/v3') return openApiIndex()
  if (path.startsWith('/openapi/v3/')) return openApiGroup(path.slice('/openapi/v3/'.length))
  if (first !== 'apis' || path.split('/').length > 4) return undefined
  return version === '' ? apiGroup(group) : apiResources(group, version)
}

function answerAggregated(context: RequestContext, path: string): number {
  const document = aggregatedDiscovery(path === '/api')
  context.exchange.setHeader('vary', 'Accept')
  context.exchange.respond(200, AGGREGATED, JSON.stringify(document))
  return 200
}

/** Below a group that is served it is a resource that is missing, elsewhere a page. */
function answerNotFound(context: RequestContext, path: string): number {
  const [, first, group = ''] = path.split('/')
  if (first === 'apis' && apiGroup(group) !== undefined) throw noSuchResource()
  return answerText(context, 404, '404 page not found\n')
}

function answerText({ exchange }: RequestContext, status: number, text: string): number {
  exchange.setHeader('x-content-type-options', 'nosniff')
  exchange.respond(status, 'text/plain; charset=utf-8', text)
  return status
}

function versionOf({ sandbox }: RequestContext): object {
  const { major, minor } = readVersion(sandbox.kubernetesVersion)
  return {
    major: String(major),
    minor: String(minor),
    emulationMajor: String(major),
    emulationMinor: String(minor),
    minCompatibilityMajor: String(major),
    minCompatibilityMinor: String(minor - 1),
    gitVersion: sandbox.kubernetesVersion,
    gitCommit: 'mcm-sandbox',
    gitTreeState: 'clean',
    buildDate: '1970-01-01T00:00:00Z',
    goVersion: 'none',
    compiler: 'none',
    platform: 'sandbox',
  }
}
