/** update (apiserver `pkg/endpoints/handlers/update.go`). */
import type { ResourceContext } from '../context.ts'
import type { KubeObject } from '../json.ts'
import { rulesOf } from '../kinds/rules-of.ts'
import { updatedBy } from '../patch/field-managers.ts'
import { notFound } from '../refusals.ts'
import { answerObject } from '../show/answer.ts'
import { afterCreation } from './after-creation.ts'
import { decodeBody } from './decode-body.ts'
import { type WriteOptions, writeOptions } from './options.ts'
import { requireName } from './preconditions.ts'
import { bringToLife, replace, requireCreateRight } from './write.ts'

export async function updateObject(context: ResourceContext): Promise<number> {
  const { exchange, resource, info, sandbox } = context
  const options = writeOptions(exchange, 'UpdateOptions')
  const object = await decodeBody(context, resource, options.fieldValidation)
  const namespace = resource.isNamespaced ? info.namespace : ''
  const old = sandbox.storage.get(resource, namespace, info.name)
  if (!old) return createByUpdate(context, object, options)
  const { subresource } = info
  const by = { resource, manager: options.fieldManager, world: sandbox.world, subresource }
  const change = { object, old, subresource, isDryRun: options.isDryRun, isPatch: false }
  const updated = replace(context, { ...change, owned: (next) => updatedBy(by, old, next, object) })
  answerObject(context, 200, updated)
  return 200
}

function createByUpdate(
  context: ResourceContext,
  object: KubeObject,
  options: WriteOptions,
): number {
  const { resource, info, sandbox } = context
  if (info.subresource !== '' || !rulesOf(resource).isCreatedByUpdate)
    throw notFound(resource, info.name)
  requireCreateRight(context)
  const by = { resource, manager: options.fieldManager, world: sandbox.world, subresource: '' }
  requireName(object, info.name)
  const created = bringToLife(context, object, options.isDryRun, (next) =>
    updatedBy(by, undefined, next),
  )
  if (!options.isDryRun) afterCreation(sandbox, resource, created)
  answerObject(context, 201, created)
  return 201
}
