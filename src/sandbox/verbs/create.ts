/** create (apiserver `pkg/endpoints/handlers/create.go`). */
import type { ResourceContext } from '../context.ts'
import { updatedBy } from '../patch/field-managers.ts'
import { answerObject } from '../show/answer.ts'
import { afterCreation } from './after-creation.ts'
import { decodeBody } from './decode-body.ts'
import { writeOptions } from './options.ts'
import { bringToLife } from './write.ts'

export async function createObject(context: ResourceContext): Promise<number> {
  const { exchange, resource, sandbox } = context
  const options = writeOptions(exchange, 'CreateOptions')
  const object = await decodeBody(context, resource, options.fieldValidation)
  const { managedFields: _, ...metadata } = object.metadata
  const owned = (complete: typeof object) =>
    updatedBy(
      { resource, manager: options.fieldManager, world: sandbox.world, subresource: '' },
      undefined,
      complete,
    )
  const created = bringToLife(context, { ...object, metadata }, options.isDryRun, owned)
  if (!options.isDryRun) afterCreation(sandbox, resource, created)
  answerObject(context, 201, created)
  return 201
}
