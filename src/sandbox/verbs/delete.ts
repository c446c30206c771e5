/** delete and deletecollection (apiserver `pkg/endpoints/handlers/delete.go`). Propagation is not followed. */
import { readObject } from '../body.ts'
import type { ResourceContext } from '../context.ts'
import { type JsonObject, type KubeObject, textAt, textsAt } from '../json.ts'
import { rulesOf } from '../kinds/rules-of.ts'
import { answerJson, answerList, answerObject } from '../show/answer.ts'
import { refuseProtected } from './admission.ts'
import { endObject } from './finish.ts'
import { readDryRun } from './options.ts'
import { type DeletePreconditions, requirePreconditions } from './preconditions.ts'
import { requireObject } from './read.ts'
import { selectorsOf } from './selection.ts'
import { now } from './time.ts'

export async function deleteObject(context: ResourceContext): Promise<number> {
  const { resource, sandbox } = context
  const options = await deleteOptions(context)
  const object = requireObject(context)
  requirePreconditions(context, options, object)
  refuseProtected(context, object)
  const ended = options.isDryRun
    ? object
    : endObject(sandbox.storage, resource, object, now(sandbox.world))
  const isPending = (ended.metadata.finalizers ?? []).length > 0
  if (rulesOf(resource).isReturnedWhenDeleted || isPending) {
    answerObject(context, 200, ended)
    return 200
  }
  const status = success(context, ended)
  context.audit.answered({ status: status.status, details: status.details })
  answerJson(context, 200, status)
  return 200
}

export async function deleteCollection(context: ResourceContext): Promise<number> {
  const { resource, info, sandbox } = context
  const options = await deleteOptions(context)
  const namespace = resource.isNamespaced ? info.namespace : ''
  const selected = sandbox.storage.list(resource, namespace).filter(selectorsOf(context))
  const time = now(sandbox.world)
  const ended = options.isDryRun
    ? selected
    : selected.map((object) => endObject(sandbox.storage, resource, object, time))
  answerList(context, ended, { resourceVersion: String(sandbox.storage.revision) })
  return 200
}

interface DeleteOptions extends DeletePreconditions {
  readonly isDryRun: boolean
}

/** In the body, or else in the query. */
async function deleteOptions({ exchange }: ResourceContext): Promise<DeleteOptions> {
  const body = await exchange.body()
  const given: JsonObject =
    body.length === 0
      ? {}
      : readObject(body, exchange.headers.first('content-type'), 'DeleteOptions')
  const dryRun = [...textsAt(given, 'dryRun'), ...exchange.query.getAll('dryRun')]
  return {
    isDryRun: readDryRun(dryRun, 'DeleteOptions'),
    uid: textAt(given, 'preconditions', 'uid'),
    resourceVersion: textAt(given, 'preconditions', 'resourceVersion'),
  }
}

function success({ resource }: ResourceContext, { metadata }: KubeObject) {
  const group = resource.group === '' ? {} : { group: resource.group }
  const details = { name: metadata.name, ...group, kind: resource.resource, uid: metadata.uid }
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details }
}
