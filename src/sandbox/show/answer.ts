/** Objects and lists as an answer, in the form that was asked for. */
import type { ResourceContext } from '../context.ts'
import type { KubeObject, ListMeta } from '../json.ts'
import { groupVersionOf, type Resource } from '../objects/resources.ts'
import { badRequest } from '../refusals.ts'
import { type Form, negotiate } from './negotiate.ts'
import { tableOf } from './table.ts'

const JSON_TYPE = 'application/json'

export function answerJson(
  context: Pick<ResourceContext, 'exchange'>,
  status: number,
  value: object,
): void {
  context.exchange.respond(status, JSON_TYPE, `${JSON.stringify(value)}\n`)
}

export function answerObject(context: ResourceContext, status: number, object: KubeObject): void {
  const form = negotiate(context.exchange.headers.first('accept'))
  if (form === 'Table') answerJson(context, status, tableFor(context, [object], listMetaOf(object)))
  else if (form === 'PartialObjectMetadata') answerJson(context, status, partialOf(object))
  else answerJson(context, status, object)
}

export function answerList(
  context: ResourceContext,
  items: readonly KubeObject[],
  metadata: ListMeta,
): void {
  const form = negotiate(context.exchange.headers.first('accept'))
  if (form === 'Table') answerJson(context, 200, tableFor(context, items, metadata))
  else if (form === 'PartialObjectMetadata')
    answerJson(context, 200, {
      kind: 'PartialObjectMetadataList',
      apiVersion: 'meta.k8s.io/v1',
      metadata,
      items: items.map(partialOf),
    })
  else answerJson(context, 200, listOf(context.resource, items, metadata))
}

/** One object of a watch, in the form of the watch. Only its first table names the columns. */
export function watchedObject(
  context: ResourceContext,
  form: Form,
  object: KubeObject,
  isFirst: boolean,
): object {
  if (form === 'PartialObjectMetadata') return partialOf(object)
  if (form === 'Object') return object
  const table = tableFor(context, [object], listMetaOf(object))
  return isFirst ? table : { ...table, columnDefinitions: null }
}

/** In lists the items do not repeat what they are. */
function listOf(resource: Resource, items: readonly KubeObject[], metadata: ListMeta): object {
  const bare = items.map(({ kind: _, apiVersion: __, ...rest }) => rest)
  return {
    kind: `${resource.kind}List`,
    apiVersion: groupVersionOf(resource),
    metadata,
    items: bare,
  }
}

function partialOf(object: KubeObject): object {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata }
}

function listMetaOf(object: KubeObject): ListMeta {
  return { resourceVersion: object.metadata.resourceVersion ?? '' }
}

function tableFor(
  context: ResourceContext,
  items: readonly KubeObject[],
  metadata: ListMeta,
): object {
  const include = context.exchange.query.get('includeObject') ?? ''
  if (!['', 'None', 'Metadata', 'Object'].includes(include))
    throw badRequest(`unrecognized includeObject value: "${include}"`)
  const objectFor = (object: KubeObject) => {
    if (include === 'None') return null
    return include === 'Object' ? object : partialOf(object)
  }
  return tableOf(context.resource, items, metadata, objectFor, context.sandbox.world.now())
}
