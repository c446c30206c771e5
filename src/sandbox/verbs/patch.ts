/** patch (apiserver `pkg/endpoints/handlers/patch.go`). */

import { failureStatus } from '../../kube/status.ts'
import { mediaTypeOf, readJson, readYaml } from '../body.ts'
import type { ResourceContext } from '../context.ts'
import {
  isJsonList,
  isJsonObject,
  type Json,
  type JsonObject,
  type KubeObject,
  textAt,
} from '../json.ts'
import { invalidValue } from '../objects/names.ts'
import { groupVersionOf } from '../objects/resources.ts'
import { applyConfiguration } from '../patch/apply.ts'
import { checkConfiguration } from '../patch/configuration.ts'
import { type Author, updatedBy } from '../patch/field-managers.ts'
import { applyJsonPatch, PatchError } from '../patch/json-patch.ts'
import { applyMergePatch } from '../patch/merge-patch.ts'
import { applyStrategicPatch, StrategicPatchError } from '../patch/strategic-merge.ts'
import { ShapeError } from '../patch/typed.ts'
import { badRequest, internal, invalid, notFound, Refusal } from '../refusals.ts'
import { DecodeError, decodeKind } from '../schema/decode.ts'
import { kindType } from '../schema/types.ts'
import { answerObject } from '../show/answer.ts'
import { afterCreation } from './after-creation.ts'
import { decodeAs } from './decode-body.ts'
import { type WriteOptions, writeOptions } from './options.ts'
import { requireName } from './preconditions.ts'
import { bringToLife, replace, requireCreateRight } from './write.ts'

const JSON_PATCH = 'application/json-patch+json'
const MERGE_PATCH = 'application/merge-patch+json'
const STRATEGIC_PATCH = 'application/strategic-merge-patch+json'
const APPLY_PATCH = 'application/apply-patch+yaml'
const ACCEPTED = [JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH]

export async function patchObject(context: ResourceContext): Promise<number> {
  const { exchange, resource, info, sandbox } = context
  const mediaType = mediaTypeOf(exchange.headers.first('content-type'))
  if (!ACCEPTED.includes(mediaType)) throw unsupportedPatchType()
  const options = writeOptions(exchange, 'PatchOptions')
  requireConsistent(context, options, mediaType)
  const body = await exchange.body()
  const patch = mediaType === APPLY_PATCH ? readYaml(body) : readPatch(body)
  const namespace = resource.isNamespaced ? info.namespace : ''
  const old = sandbox.storage.get(resource, namespace, info.name)
  if (mediaType === APPLY_PATCH) return answerApply(context, patch, old, options)
  if (!old) throw notFound(resource, info.name)
  const patched = applyPatch(context, mediaType, old, patch)
  const object = decodePatched(context, patched, options)
  const by = authorOf(context, options)
  const change = {
    object,
    old,
    subresource: info.subresource,
    isDryRun: options.isDryRun,
    isPatch: true,
  }
  const updated = replace(context, { ...change, owned: (next) => updatedBy(by, old, next, object) })
  answerObject(context, 200, updated)
  return 200
}

/** The patched object. @throws Refusal 400, 422 */
export function applyPatch(
  { resource }: Pick<ResourceContext, 'resource'>,
  mediaType: string,
  old: JsonObject,
  patch: Json,
): JsonObject {
  try {
    return requireObject(
      patchedBy(mediaType, old, patch, kindType(resource.group, resource.version, resource.kind)!),
    )
  } catch (error) {
    if (error instanceof PatchError) throw unprocessable()
    if (error instanceof StrategicPatchError) throw internal(error.message)
    throw error
  }
}

function patchedBy(
  mediaType: string,
  old: JsonObject,
  patch: Json,
  type: Parameters<typeof applyStrategicPatch>[2],
): Json {
  if (mediaType === JSON_PATCH) return applyJsonPatch(old, requireOperations(patch))
  if (mediaType === MERGE_PATCH) return applyMergePatch(old, requireObject(patch))
  return applyStrategicPatch(old, requireObject(patch), type)
}

function requireObject(value: Json): JsonObject {
  if (isJsonObject(value)) return value
  const word = isJsonList(value) ? 'array' : typeof value
  throw undecodable(`json: cannot unmarshal ${word} into Go value of type map[string]interface {}`)
}

/** Creates or changes; the answer's code tells which. */
function answerApply(
  context: ResourceContext,
  patch: Json,
  old: KubeObject | undefined,
  options: WriteOptions,
): number {
  const { resource, info, sandbox } = context
  const config = readConfiguration(context, patch)
  if (!old && info.subresource !== '') throw notFound(resource, info.name)
  if (!old) requireCreateRight(context)
  const nothing = { apiVersion: config.apiVersion, kind: config.kind, metadata: {} }
  const { object, owned } = layOver(context, old ?? nothing, config, options)
  const whole = decodeAs(context, object, resource, 'Ignore')
  const { subresource } = info
  if (old) {
    const change = { object: whole, old, subresource, isDryRun: options.isDryRun, isPatch: true }
    answerObject(context, 200, replace(context, { ...change, owned }))
    return 200
  }
  requireName(whole, info.name)
  const created = bringToLife(context, whole, options.isDryRun, owned)
  if (!options.isDryRun) afterCreation(sandbox, resource, created)
  answerObject(context, 201, created)
  return 201
}

function layOver(
  context: ResourceContext,
  live: KubeObject,
  config: KubeObject,
  options: WriteOptions,
) {
  const { group, version, kind } = context.resource
  try {
    checkConfiguration(config, kindType(group, version, kind)!)
    return applyConfiguration(authorOf(context, options), live, config, options.isForced === true)
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error
    const { namespace = '', name = '' } = config.metadata
    const what = `${namespace}/${name}; ${config.apiVersion}, Kind=${config.kind}`
    throw internal(`failed to create typed patch object (${what}): ${error.message}`)
  }
}

/** An applied configuration names its kind and object, and no owners. */
function readConfiguration({ resource, info }: ResourceContext, patch: Json): KubeObject {
  const value = requireObject(patch)
  const [apiVersion, kind] = [textAt(value, 'apiVersion'), textAt(value, 'kind')]
  if (kind !== resource.kind || apiVersion !== groupVersionOf(resource))
    throw badRequest(`invalid object type: ${shownVersion(apiVersion)}, Kind=${kind}`)
  const config = { ...value, metadata: value.metadata ?? {} } as KubeObject
  const { managedFields, name } = config.metadata
  if (managedFields !== undefined) throw badRequest('metadata.managedFields must be nil')
  if (name && name !== info.name)
    throw badRequest(
      `the name of the object (${name}) does not match the name on the URL (${info.name})`,
    )
  return config
}

function shownVersion(apiVersion: string): string {
  return apiVersion.includes('/') ? apiVersion : `/${apiVersion}`
}

function authorOf({ resource, info, sandbox }: ResourceContext, options: WriteOptions): Author {
  const { subresource } = info
  return { resource, manager: options.fieldManager, subresource, world: sandbox.world }
}

/** `fieldManager` is needed for apply, `force` is for apply only. */
function requireConsistent(
  { exchange }: ResourceContext,
  { isForced }: WriteOptions,
  mediaType: string,
): void {
  const problem = (field: string, word: string, detail: string) =>
    invalid('meta.k8s.io', 'PatchOptions', '', [
      {
        reason: word === 'Required' ? 'FieldValueRequired' : 'FieldValueForbidden',
        message: detail,
        field,
      },
    ])
  if (mediaType === APPLY_PATCH && !exchange.query.get('fieldManager'))
    throw problem('fieldManager', 'Required', 'Required value: is required for apply patch')
  if (mediaType !== APPLY_PATCH && isForced !== undefined)
    throw problem('force', 'Forbidden', 'Forbidden: may not be specified for non-apply patch')
}

/** The reason is about the patch here, not about the object. @throws Refusal 400, 422 */
function decodePatched(
  context: ResourceContext,
  patched: JsonObject,
  options: WriteOptions,
): KubeObject {
  const { resource } = context
  try {
    decodeKind(patched, kindType(resource.group, resource.version, resource.kind)!)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    throw invalid('', '', '', [invalidValue('patch', JSON.stringify(patched), error.message)])
  }
  return decodeAs(context, patched, resource, options.fieldValidation)
}

function requireOperations(patch: Json): Json {
  if (isJsonList(patch)) return patch
  const word = isJsonObject(patch) ? 'object' : typeof patch
  throw undecodable(`json: cannot unmarshal ${word} into Go value of type []handlers.jsonPatchOp`)
}

/** @throws Refusal 400 */
export function readPatch(body: Buffer): Json {
  try {
    return readJson(body, '')
  } catch (error) {
    if (!(error instanceof Refusal) || !error.message.includes('json parse error')) throw error
    throw undecodable('unexpected end of JSON input')
  }
}

function undecodable(problem: string): Refusal {
  return badRequest(`error decoding patch: ${problem}`)
}

function unsupportedPatchType(): Refusal {
  return new Refusal(failureStatus(415, 'UnsupportedMediaType', '415: Unsupported Media Type', {}))
}

function unprocessable(): Refusal {
  const message = 'the server rejected our request due to an error in our request'
  return new Refusal(failureStatus(422, 'Invalid', message, {}))
}
