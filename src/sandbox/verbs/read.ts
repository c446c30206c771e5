/** get and list (apiserver `pkg/endpoints/handlers/get.go`). */
import type { ResourceContext } from '../context.ts'
import type { KubeObject, ListMeta } from '../json.ts'
import type { Snapshot } from '../objects/snapshots.ts'
import { badRequest, notFound, quote, tooLargeResourceVersion } from '../refusals.ts'
import { answerList, answerObject } from '../show/answer.ts'
import { selectorsOf } from './selection.ts'

/** @throws Refusal 404 */
export function requireObject({ sandbox, resource, info }: ResourceContext): KubeObject {
  const namespace = resource.isNamespaced ? info.namespace : ''
  const object = sandbox.storage.get(resource, namespace, info.name)
  if (!object) throw notFound(resource, info.name)
  return object
}

export function getObject(context: ResourceContext): number {
  requireKnownRevision(context)
  answerObject(context, 200, requireObject(context))
  return 200
}

export function listObjects(context: ResourceContext): number {
  const { query } = context.exchange
  const token = query.get('continue') ?? ''
  if (token === '') requireKnownRevision(context)
  const snapshot =
    token === '' ? takeSnapshot(context) : context.sandbox.snapshots.resume(token, scopeOf(context))
  const limit = readLimit(query.get('limit'))
  const page = limit === 0 ? snapshot.items : snapshot.items.slice(0, limit)
  answerList(context, page, listMeta(context, snapshot, page.length))
  return 200
}

function takeSnapshot(context: ResourceContext): Snapshot {
  const { sandbox, resource, info } = context
  const matches = selectorsOf(context)
  const namespace = resource.isNamespaced ? info.namespace : ''
  const items = sandbox.storage.list(resource, namespace).filter(matches)
  return { items, revision: sandbox.storage.revision, scope: scopeOf(context) }
}

function scopeOf({ resource, info, exchange }: ResourceContext): string {
  const selectors = ['labelSelector', 'fieldSelector'].map((key) => exchange.query.get(key) ?? '')
  return JSON.stringify([
    resource.group,
    resource.resource,
    info.namespace,
    info.name,
    ...selectors,
  ])
}

function listMeta(context: ResourceContext, snapshot: Snapshot, shown: number): ListMeta {
  const resourceVersion = String(snapshot.revision)
  const rest = snapshot.items.slice(shown)
  if (rest.length === 0) return { resourceVersion }
  const token = context.sandbox.snapshots.keep({ ...snapshot, items: rest })
  const { query } = context.exchange
  const isSelected = Boolean(query.get('labelSelector') || query.get('fieldSelector'))
  return {
    resourceVersion,
    continue: token,
    ...(!isSelected && { remainingItemCount: rest.length }),
  }
}

function readLimit(text: string | null): number {
  if (text === null || text === '') return 0
  const limit = Number(text)
  if (!Number.isInteger(limit))
    throw badRequest(`strconv.ParseInt: parsing "${text}": invalid syntax`)
  return Math.max(0, limit)
}

/** `0`: any; a number: not older than that, which holds unless it lies in the future. */
function requireKnownRevision({ exchange, sandbox }: ResourceContext): void {
  const asked = readRevision(exchange.query.get('resourceVersion'))
  const { revision } = sandbox.storage
  if (asked > revision) throw tooLargeResourceVersion(asked, revision)
}

/** @throws Refusal 400 */
function readRevision(text: string | null): number {
  if (text === null || text === '') return 0
  if (!/^\d+$/.test(text)) throw badRequest(`invalid resource version: ${revisionProblem(text)}`)
  return Number(text)
}

export function revisionProblem(text: string): string {
  const shown = quote(text)
  return `resourceVersion: Invalid value: ${shown}: strconv.ParseUint: parsing ${shown}: invalid syntax`
}
