/** From a request that may run to what it asks for. Every handler answers and tells the status code. */
import type { RequestContext, ResourceContext } from './context.ts'
import { answerDiscovery } from './discovery/discovery.ts'
import { findResource, RESOURCES } from './objects/resources.ts'
import { methodNotAllowed, noSuchResource } from './refusals.ts'
import { answerReview } from './reviews/reviews.ts'
import { answerPortForward } from './streams/port-forward.ts'
import { answerAttach, answerExec } from './streams/remote-command.ts'
import { answerLog } from './subresources/log.ts'
import { answerScale } from './subresources/scale.ts'
import { answerToken } from './subresources/token.ts'
import { createObject } from './verbs/create.ts'
import { deleteCollection, deleteObject } from './verbs/delete.ts'
import { patchObject } from './verbs/patch.ts'
import { getObject, listObjects } from './verbs/read.ts'
import { updateObject } from './verbs/update.ts'
import { watchObjects } from './verbs/watch.ts'

type Handler = (context: ResourceContext) => number | Promise<number>

const OBJECT_HANDLERS: Readonly<Record<string, Handler>> = {
  get: getObject,
  list: listObjects,
  watch: watchObjects,
  create: createObject,
  update: updateObject,
  patch: patchObject,
  delete: deleteObject,
  deletecollection: deleteCollection,
}
const STATUS_HANDLERS: Readonly<Record<string, Handler>> = {
  get: getObject,
  update: updateObject,
  patch: patchObject,
}
const SUBRESOURCE_HANDLERS: Readonly<Record<string, Handler>> = {
  'pods/log': answerLog,
  'pods/exec': answerExec,
  'pods/attach': answerAttach,
  'pods/portforward': answerPortForward,
  'deployments/scale': answerScale,
  'serviceaccounts/token': answerToken,
}

/** @returns the status code that was answered. @throws Refusal */
export async function dispatch(context: RequestContext): Promise<number> {
  const { isResourceRequest } = context.info
  return isResourceRequest ? dispatchResource(context) : answerDiscovery(context)
}

async function dispatchResource(context: RequestContext): Promise<number> {
  const { apiGroup, apiVersion, resource: name, namespace } = context.info
  const resource = findResource(apiGroup, apiVersion, name)
  if (!resource) return unknownResource(context)
  const isScoped = namespace !== '' && name !== 'namespaces'
  if (isScoped !== resource.isNamespaced && !isAllNamespaces(context, resource.isNamespaced))
    throw noSuchResource()
  requireMethod(context)
  return handlerOf({ ...context, resource })({ ...context, resource })
}

/** A namespaced resource without a namespace is listed or watched over all of them. */
function isAllNamespaces(context: RequestContext, isNamespaced: boolean): boolean {
  const { verb, namespace, name, subresource } = context.info
  if (!isNamespaced || namespace !== '' || subresource !== '') return false
  if (name !== '' && !['list', 'watch'].includes(verb)) return false
  if (verb === 'list' || verb === 'watch') return true
  throw methodNotAllowed()
}

/** Nothing is created at a name, nothing changed without one, and HEAD is not known. @throws Refusal 405 */
function requireMethod({ exchange, info }: RequestContext): void {
  const isNamed = info.name !== '' && info.subresource === ''
  const isWrong =
    exchange.method === 'HEAD' ||
    (info.verb === 'create' && isNamed) ||
    (['update', 'patch'].includes(info.verb) && info.name === '')
  if (isWrong) throw methodNotAllowed()
}

function unknownResource(context: RequestContext): number {
  const { apiGroup, apiVersion } = context.info
  const isServed = RESOURCES.some((one) => one.group === apiGroup && one.version === apiVersion)
  if (isServed) throw noSuchResource()
  context.exchange.respond(404, 'text/plain; charset=utf-8', '404 page not found\n')
  return 404
}

function handlerOf(context: ResourceContext): Handler {
  const { resource, info } = context
  if (!resource.isStored) return handlerIn({ create: answerReview }, info.verb)
  if (info.subresource === '') return handlerIn(OBJECT_HANDLERS, info.verb, resource.verbs)
  const special = SUBRESOURCE_HANDLERS[`${resource.resource}/${info.subresource}`]
  if (special) return special
  const isStatus = resource.subresources.some(({ name }) => name === info.subresource)
  if (!isStatus) throw noSuchResource()
  return handlerIn(STATUS_HANDLERS, info.verb)
}

function handlerIn(
  handlers: Readonly<Record<string, Handler>>,
  verb: string,
  verbs: readonly string[] = Object.keys(handlers),
): Handler {
  const handler = handlers[verb]
  if (!handler || !verbs.includes(verb)) throw methodNotAllowed()
  return handler
}
