import { IdentityError } from '../errors.ts'
import { type Exchange, replyJson, replyStatus, type UpgradeExchange } from '../forward/exchange.ts'
import { forwardExchange } from '../forward/forward.ts'
import type { ListenerHandlers } from '../forward/listener-handlers.ts'
import { answerAndEnd } from '../forward/raw-answer.ts'
import { badRequest, Refusal } from '../forward/refusal.ts'
import { GATHERED_BODY_BYTES } from '../forward/request-body.ts'
import { forwardUpgrade, type Upgrading } from '../forward/upgrade.ts'
import { requireUpgrade, type UpgradeProtocol } from '../forward/upgrade-request.ts'
import { isLongRunning, type RequestInfo, requestInfo } from '../kube/request-info.ts'
import type { Status } from '../kube/status.ts'
import type { World } from '../world.ts'
import type { Standing } from './authenticate.ts'
import { requireBelowCeiling } from './ceiling-holder.ts'
import { tokenRefused, upgradeHeadWithToken } from './egress.ts'
import { answerOwn, isOwnPath } from './own-endpoints.ts'
import { ownStatusOf } from './own-status.ts'
import { readJson } from './read-json.ts'
import { contentLengthOf, outgoingHeaders } from './request-headers.ts'
import type { Session } from './sessions.ts'
import { Passage, type RequestForm, type TrafficSources } from './traffic.ts'

/** Above the 60 s after which the API server itself ends what is not long-running. */
const ANSWER_TIMEOUT_MS = 90_000

/** The handlers of a listener whose connections are sessions. */
export function trafficHandlers(sources: TrafficSources): ListenerHandlers<Session> {
  return {
    request: (exchange) => void handleRequest(sources, exchange),
    upgrade: (exchange) => void handleUpgrade(sources, exchange),
  }
}

/** The handlers of a listener whose connections are all refused with one Status each. */
export function refusingHandlers(): ListenerHandlers<Status> {
  return {
    request: ({ reply, context }) => {
      reply.endConnection()
      replyStatus(reply, context)
    },
    upgrade: ({ client, context }) => void answerAndEnd(client, context),
  }
}

async function handleRequest(sources: TrafficSources, exchange: Exchange<Session>): Promise<void> {
  const passage = new Passage(sources, exchange.context, exchange)
  let leave: (() => void) | undefined
  try {
    const form = passage.requireForm()
    const entered = await passage.enter()
    leave = entered.leave
    if (isOwnPath(form.path)) await ownAnswer(passage, exchange, form, entered.standing)
    else await forwardRequest(passage, exchange, form, entered.standing)
  } catch (error) {
    const status = ownStatusOf(error)
    if (endsConnection(error)) exchange.reply.endConnection()
    replyStatus(exchange.reply, status, status.code === 429 ? ['retry-after', '1'] : [])
    passage.noteRefusal(error, status.code)
  } finally {
    leave?.()
  }
}

async function ownAnswer(
  passage: Passage,
  { body, reply }: Exchange<Session>,
  { lines, method, path, target }: RequestForm,
  standing: Standing,
): Promise<void> {
  passage.requireOneself(standing, lines)
  const { certificate } = passage.session
  const query = new URLSearchParams(target.slice(path.length + 1))
  const json = (maxBytes?: number) => readJson(body, maxBytes)
  const request = { method, path, query, standing, certificate, body: json }
  const answered = passage.session.awaitAnswer()
  try {
    replyJson(reply, 200, await answerOwn(passage.sources.own, request))
    passage.noteEnd({ status: 200, ended: 'complete', bytes: 0 })
  } finally {
    answered()
  }
}

async function forwardRequest(
  passage: Passage,
  exchange: Exchange<Session>,
  form: RequestForm,
  standing: Standing,
): Promise<void> {
  const { sources } = passage
  const { lines, method, target } = form
  const info = requestInfo(method, target)
  const headers = await headersFor(passage, form, standing, info, false)
  const contentLength = contentLengthOf(lines)
  const isLong = isLongRunning(info)
  const upstream = isProxied(info) ? sources.workloads : sources.apiServer
  const answerTimeoutMs = isLong ? 0 : ANSWER_TIMEOUT_MS
  const head = { method, target, headers, contentLength, answerTimeoutMs }
  const hasBody = isProxied(info) || (method !== 'GET' && method !== 'HEAD')
  const subject = hasBody ? exchange : withoutBody(exchange, contentLength)
  const leave = enterUpload(passage, subject, contentLength)
  try {
    const forwarding = forwardExchange(subject, upstream, head)
    if (isLong) passage.noteBegin()
    const result = await passage.follow(forwarding)
    if (result.ended === 'client') sources.limits.noteAbort(passage.session.certificate.user)
    passage.noteEnd(result)
  } finally {
    leave()
  }
}

/** The API server reads no body of a GET: what came nonetheless would wait here for ever. */
function withoutBody(
  exchange: Exchange<Session>,
  contentLength: number | undefined,
): Exchange<Session> {
  const { body, reply } = exchange
  if (body === undefined) return exchange
  if (contentLength) throw badRequest('a GET or HEAD has no body')
  body.once('data', () => reply.abort())
  body.resume()
  return { ...exchange, body: undefined }
}

/** A body that is passed on as it comes may wait here for a slow upstream. */
function enterUpload(
  { sources, session }: Passage,
  { body }: Exchange<Session>,
  contentLength: number | undefined,
): () => void {
  const isGathered = contentLength !== undefined && contentLength <= GATHERED_BODY_BYTES
  if (body === undefined || isGathered) return () => {}
  return sources.limits.enterUpload(session.certificate.user)
}

async function handleUpgrade(
  sources: TrafficSources,
  exchange: UpgradeExchange<Session>,
): Promise<void> {
  const passage = new Passage(sources, exchange.context, exchange)
  let leave: (() => void) | undefined
  try {
    const form = passage.requireForm()
    const protocol = requireUpgrade(exchange, form.lines)
    const entered = await passage.enter()
    leave = entered.leave
    if (isOwnPath(form.path)) throw badRequest('nothing of the agent’s own can be switched')
    await switchProtocols(passage, exchange, form, protocol, entered.standing)
  } catch (error) {
    const status = ownStatusOf(error)
    passage.noteRefusal(error, status.code)
    if (endsConnection(error)) exchange.client.endConnection()
    await answerAndEnd(exchange.client, status)
  } finally {
    leave?.()
  }
}

async function switchProtocols(
  passage: Passage,
  exchange: UpgradeExchange<Session>,
  form: RequestForm,
  protocol: UpgradeProtocol,
  standing: Standing,
): Promise<void> {
  const { apiServer, token, world } = passage.sources
  const { method, target } = form
  const info = requestInfo(method, target)
  const headers = await headersFor(passage, form, standing, info, true)
  if (exchange.protocol !== undefined && protocol === 'websocket')
    headers.push(...newWebSocketKey(world))
  const head = { method, target, headers, protocol }
  const first = await upgradeHeadWithToken(head, () => token.current())
  const again = () => upgradeHeadWithToken(head, () => token.reload())
  const repeat = isProxied(info) ? undefined : { head: again, exhausted: tokenRefused() }
  const upgrading = forwardUpgrade(exchange, apiServer, first, repeat)
  passage.noteBegin()
  passage.noteEnd(await passage.follow(whoseCutIsHeard(upgrading, passage.session)))
}

/** The session lives on until the client has been told why. */
function whoseCutIsHeard(upgrading: Upgrading, session: Session): Upgrading {
  const cut = (reason?: Status) => {
    const told = session.awaitAnswer()
    void upgrading.done.then(told)
    upgrading.cut(reason)
  }
  return { ...upgrading, cut }
}

/** An extended CONNECT carries none (RFC 8441 §5), and the API server wants one. */
function newWebSocketKey(world: World): [string, string] {
  return ['Sec-WebSocket-Key', Buffer.from(world.random(16)).toString('base64')]
}

async function headersFor(
  passage: Passage,
  { lines }: RequestForm,
  standing: Standing,
  info: RequestInfo,
  isUpgrade: boolean,
): Promise<string[]> {
  requireBelowCeiling(passage.sources.ceiling, info)
  const impersonation = await passage.impersonate(standing, lines)
  const { auditId, session } = passage
  const { clientAddress } = session
  const facts = { lines, impersonation, auditId, clientAddress, isUpgrade }
  return outgoingHeaders({ ...facts, isProxied: isProxied(info) })
}

/** A workload is behind it: a service, a pod or a node by its `proxy` subresource or verb. */
function isProxied({ verb, subresource }: RequestInfo): boolean {
  return verb === 'proxy' || subresource === 'proxy'
}

/**
 * After a malformed request nothing on that connection can be trusted; after a 401 another
 * certificate is needed.
 */
function endsConnection(error: unknown): boolean {
  return error instanceof IdentityError || (error instanceof Refusal && error.endsConnection)
}
