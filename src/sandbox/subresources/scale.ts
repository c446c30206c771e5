/** The scale of a deployment (kubernetes `pkg/registry/apps/deployment/storage/storage.go` ScaleREST). */
import { mediaTypeOf } from '../body.ts'
import type { ResourceContext } from '../context.ts'
import { at, type JsonObject, type KubeObject, numberAt } from '../json.ts'
import { invalidValue } from '../objects/names.ts'
import { updatedBy } from '../patch/field-managers.ts'
import { conflict, invalid, methodNotAllowed, STALE } from '../refusals.ts'
import { answerJson } from '../show/answer.ts'
import { decodeAs, decodeBody } from '../verbs/decode-body.ts'
import { type WriteOptions, writeOptions } from '../verbs/options.ts'
import { applyPatch, readPatch } from '../verbs/patch.ts'
import { requireObject } from '../verbs/read.ts'
import { replace } from '../verbs/write.ts'

const KIND = { group: 'autoscaling', version: 'v1', kind: 'Scale' }

export async function answerScale(context: ResourceContext): Promise<number> {
  const deployment = requireObject(context)
  const { verb } = context.info
  if (verb === 'get') {
    answerJson(context, 200, scaleOf(deployment))
    return 200
  }
  if (verb !== 'update' && verb !== 'patch') throw methodNotAllowed()
  const options = writeOptions(
    context.exchange,
    verb === 'update' ? 'UpdateOptions' : 'PatchOptions',
  )
  const scale =
    verb === 'update'
      ? await decodeBody(context, KIND, options.fieldValidation)
      : await patchedScale(context, options)
  answerJson(context, 200, scaleOf(scaled(context, requireObject(context), scale, options)))
  return 200
}

async function patchedScale(context: ResourceContext, options: WriteOptions): Promise<KubeObject> {
  const { exchange } = context
  const patch = readPatch(await exchange.body())
  const deployment = requireObject(context)
  const mediaType = mediaTypeOf(exchange.headers.first('content-type'))
  const patched = applyPatch(
    { resource: { ...context.resource, ...KIND } },
    mediaType,
    scaleOf(deployment),
    patch,
  )
  return decodeAs(context, patched, KIND, options.fieldValidation)
}

function scaled(
  context: ResourceContext,
  old: KubeObject,
  scale: KubeObject,
  options: WriteOptions,
): KubeObject {
  const { resource, info, sandbox } = context
  const replicas = numberAt(scale, 'spec', 'replicas')
  if (replicas < 0) {
    const problem = 'must be greater than or equal to 0'
    throw invalid('autoscaling', 'Scale', info.name, [
      invalidValue('spec.replicas', replicas, problem),
    ])
  }
  const { resourceVersion } = scale.metadata
  if (resourceVersion && resourceVersion !== old.metadata.resourceVersion)
    throw conflict(resource, info.name, STALE)
  const object = { ...old, spec: { ...(old.spec as JsonObject), replicas } }
  const by = { resource, manager: options.fieldManager, subresource: 'scale', world: sandbox.world }
  const change = { object, old, subresource: '', isDryRun: options.isDryRun, isPatch: true }
  return replace(context, { ...change, owned: (next) => updatedBy(by, old, next) })
}

function scaleOf(deployment: KubeObject): KubeObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = deployment.metadata
  const labels = (at(deployment, 'spec', 'selector', 'matchLabels') ?? {}) as Record<string, string>
  const selector = Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: {
      name,
      namespace,
      uid,
      resourceVersion,
      creationTimestamp,
    } as KubeObject['metadata'],
    spec: { replicas: numberAt(deployment, 'spec', 'replicas') },
    status: { replicas: numberAt(deployment, 'status', 'replicas'), ...(selector && { selector }) },
  }
}
