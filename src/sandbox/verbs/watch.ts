/**
 * watch (apiserver `pkg/endpoints/handlers/watch.go`, `pkg/storage/cacher/cacher.go`): what is there, when
 * that is asked for, then every change, one JSON document per line.
 */
import type { ResourceContext } from '../context.ts'
import { type JsonObject, type KubeObject, withMetadata } from '../json.ts'
import { notSupported } from '../objects/names.ts'
import { groupVersionOf } from '../objects/resources.ts'
import type { Selector } from '../objects/selectors.ts'
import type { Change } from '../objects/storage.ts'
import { type Cause, expired, internal, invalid } from '../refusals.ts'
import { zeroObject } from '../schema/decode.ts'
import { kindType } from '../schema/types.ts'
import { watchedObject } from '../show/answer.ts'
import { negotiate } from '../show/negotiate.ts'
import { answerStream } from '../streams/message-stream.ts'
import { revisionProblem } from './read.ts'
import { selectorsOf } from './selection.ts'

const BOOKMARK_INTERVAL_MS = 60_000
const DEFAULT_SECONDS = 1800
const NOT_OLDER = 'NotOlderThan'
const INITIAL_EVENTS_END = 'k8s.io/initial-events-end'

interface WatchOptions {
  readonly revision: number
  readonly wantsBookmarks: boolean
  readonly sendsInitialEvents: boolean
  readonly timeoutMs: number
}

type Send = (type: string, object: object) => void

export async function watchObjects(context: ResourceContext): Promise<number> {
  const options = watchOptions(context)
  const matches = selectorsOf(context)
  const form = negotiate(context.exchange.headers.first('accept'))
  const stream = answerStream(context.exchange, 'application/json', 'events')
  const send: Send = (type, object) => stream.write(`${JSON.stringify({ type, object })}\n`)
  let isFirst = true
  const show = (type: string, object: KubeObject) => {
    send(type, watchedObject(context, form, object, isFirst))
    isFirst = false
  }
  await new Promise<void>((resolve) => {
    const stop = run(context, options, matches, { send, show }, () => end())
    const end = () => {
      stop()
      resolve()
    }
    if (context.exchange.signal.aborted) end()
    else context.exchange.signal.addEventListener('abort', end, { once: true })
  })
  stream.end()
  return 200
}

interface Output {
  readonly send: Send
  readonly show: (type: string, object: KubeObject) => void
}

/** Starts sending; the answer stops it. `end` is called when there is no more to come. */
function run(
  context: ResourceContext,
  options: WatchOptions,
  matches: Selector,
  output: Output,
  end: () => void,
): () => void {
  const { storage } = context.sandbox
  const { resource } = context
  const isInScope = scopeOf(context)
  const pass = (change: Change) => sendChange(change, isInScope, matches, output)
  const past = options.sendsInitialEvents ? [] : storage.changesSince(resource, options.revision)
  if (!past) {
    output.send('ERROR', tooOld(options.revision, storage.oldestRevision(resource)))
    queueMicrotask(end)
    return () => {}
  }
  if (options.sendsInitialEvents) sendInitial(context, options, matches, output)
  for (const change of past) pass(change)
  const unsubscribe = storage.subscribe(resource, (change) => {
    if (change.revision > options.revision) pass(change)
  })
  const bookmark = () => output.show('BOOKMARK', bookmarkOf(context))
  const bookmarks = options.wantsBookmarks ? setInterval(bookmark, BOOKMARK_INTERVAL_MS) : undefined
  const deadline = setTimeout(() => {
    if (options.wantsBookmarks) bookmark()
    end()
  }, options.timeoutMs)
  return () => {
    unsubscribe()
    clearInterval(bookmarks)
    clearTimeout(deadline)
  }
}

function scopeOf({ resource, info }: ResourceContext): Selector {
  const { namespace } = info
  if (!resource.isNamespaced || namespace === '') return () => true
  return (object) => object.metadata.namespace === namespace
}

/** An object that comes into the selection is ADDED to it, one that leaves it DELETED from it. */
function sendChange(
  change: Change,
  isInScope: Selector,
  matches: Selector,
  { show }: Output,
): void {
  const { type, object, previous } = change
  if (!isInScope(object)) return
  const was = previous !== undefined && matches(previous)
  const is = type !== 'DELETED' && matches(object)
  if (is) show(was ? 'MODIFIED' : 'ADDED', object)
  else if (was && previous) show('DELETED', atRevision(previous, change.revision))
}

function atRevision(object: KubeObject, revision: number): KubeObject {
  return withMetadata(object, { resourceVersion: String(revision) })
}

function sendInitial(
  context: ResourceContext,
  options: WatchOptions,
  matches: Selector,
  output: Output,
): void {
  const { resource, info, sandbox, exchange } = context
  const namespace = resource.isNamespaced ? info.namespace : ''
  for (const object of sandbox.storage.list(resource, namespace))
    if (matches(object)) output.show('ADDED', object)
  if (exchange.query.get('sendInitialEvents') !== 'true' || !options.wantsBookmarks) return
  output.show('BOOKMARK', bookmarkOf(context, { annotations: { [INITIAL_EVENTS_END]: 'true' } }))
}

/** An object of the kind that says nothing but how far the watch has come. */
function bookmarkOf({ resource, sandbox }: ResourceContext, more: JsonObject = {}): KubeObject {
  const { group, version, kind } = resource
  const metadata = { resourceVersion: String(sandbox.storage.revision), ...more }
  const nothing = zeroObject(kindType(group, version, kind)!)
  return { kind, apiVersion: groupVersionOf(resource), ...nothing, metadata }
}

/** A watch words it differently, and takes it for its own failure. */
function readWatchRevision(text: string): number {
  if (text === '' || /^\d+$/.test(text)) return Number(text)
  throw internal(revisionProblem(text))
}

/** @throws Refusal 422, 500 */
function watchOptions({ exchange }: ResourceContext): WatchOptions {
  const { query } = exchange
  const asked = query.get('resourceVersion') ?? ''
  const revision = readWatchRevision(asked)
  const initial = query.get('sendInitialEvents')
  requireMatch(initial, query.get('resourceVersionMatch') ?? '')
  const seconds = Number(query.get('timeoutSeconds') ?? 0)
  return {
    revision,
    wantsBookmarks: query.get('allowWatchBookmarks') === 'true',
    sendsInitialEvents: initial === null ? revision === 0 : initial === 'true',
    timeoutMs: (seconds > 0 ? seconds : DEFAULT_SECONDS) * 1000,
  }
}

/** apimachinery `pkg/apis/meta/internalversion/validation/validation.go`. */
function requireMatch(initial: string | null, match: string): void {
  const field = 'resourceVersionMatch'
  const forbid = (why: string): Cause => ({
    reason: 'FieldValueForbidden',
    message: `Forbidden: ${why}`,
    field,
  })
  const causes: Cause[] = []
  if (initial !== null && match !== NOT_OLDER)
    causes.push(forbid(`sendInitialEvents requires setting resourceVersionMatch to ${NOT_OLDER}`))
  if (initial === null && match !== '')
    causes.push(
      forbid('resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided'),
    )
  if (match !== '' && match !== NOT_OLDER) causes.push(notSupported(field, match, [NOT_OLDER]))
  if (causes.length > 0) throw invalid('meta.k8s.io', 'ListOptions', '', causes)
}

function tooOld(asked: number, oldest: number): object {
  return expired(`too old resource version: ${asked} (${oldest})`).status
}
