/**
 * The object in a request's body: JSON, YAML or protobuf (apiserver
 * `pkg/endpoints/handlers/negotiation/negotiate.go`, `create.go`).
 */
import { messageOf } from '../errors.ts'
import { readDocument } from '../kubeconfig/yaml.ts'
import { isJsonList, isJsonObject, type Json, type JsonObject } from './json.ts'
import { badRequest, Refusal, unsupportedMediaType } from './refusals.ts'
import { ProtobufError, readProtobuf } from './schema/protobuf.ts'

const ACCEPTED = ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf']
const SHOWN_BYTES = 30
const MAX_DEPTH = 100

/** A body whose kind has still to be checked. @throws Refusal 400, 415 */
export function readObject(body: Buffer, contentType: string, kind: string): JsonObject {
  const mediaType = mediaTypeOf(contentType)
  if (mediaType === 'application/vnd.kubernetes.protobuf') return readProtobufObject(body, kind)
  if (mediaType !== 'application/json' && mediaType !== 'application/yaml')
    throw unsupportedMediaType(ACCEPTED)
  const value = mediaType === 'application/yaml' ? readYaml(body) : readJson(body, kind)
  if (isJsonObject(value)) return value
  throw unrecognized(kind, 'json: cannot unmarshal array into Go value of type struct', body)
}

/** `application/json; charset=utf-8` → `application/json`; JSON when nothing is said. */
export function mediaTypeOf(contentType: string): string {
  return contentType.split(';')[0]!.trim().toLowerCase() || 'application/json'
}

/** @throws Refusal 400 */
export function readYaml(body: Buffer): Json {
  try {
    return plain(readDocument(body.toString('utf8'), 'the body').toJS() as Json)
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw badRequest(`error parsing YAML: ${messageOf(error)}`)
  }
}

/** @throws Refusal 400 */
export function readJson(body: Buffer, kind: string): Json {
  try {
    return plain(JSON.parse(body.toString('utf8')) as Json)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw unrecognized(kind, jsonProblem(body, error), body)
  }
}

function readProtobufObject(body: Buffer, kind: string): JsonObject {
  try {
    const object = readProtobuf(body)
    if (object) return plain(object) as JsonObject
  } catch (error) {
    if (!(error instanceof ProtobufError)) throw error
    throw badRequest(
      `the object provided is unrecognized (must be of type ${kind}): ${error.message}`,
    )
  }
  throw badRequest(
    `the object provided is unrecognized (must be of type ${kind}): no kind is registered`,
  )
}

function unrecognized(kind: string, problem: string, body: Buffer): Error {
  const what = `couldn't get version/kind; json parse error: ${problem} (${summary(body)})`
  return badRequest(`the object provided is unrecognized (must be of type ${kind}): ${what}`)
}

/** A start of an object as it is, of anything else in hexadecimal (apiserver `rest.go` summarizeData). */
function summary(body: Buffer): string {
  if (body.length === 0) return '<empty>'
  const start = body.subarray(0, SHOWN_BYTES)
  const shown = body[0] === 0x7b ? start.toString() : start.toString('hex')
  return body.length > SHOWN_BYTES ? `${shown} ...` : shown
}

function jsonProblem(body: Buffer, error: SyntaxError): string {
  return /^\s*$/.test(body.toString()) || /end of JSON input/.test(error.message)
    ? 'unexpected end of JSON input'
    : error.message
}

/** JavaScript objects cannot hold a member of that name safely: refused rather than mangled. */
function plain(value: Json, depth = 0): Json {
  if (depth > MAX_DEPTH) throw badRequest('exceeded max depth')
  if (isJsonList(value)) for (const item of value) plain(item, depth + 1)
  else if (isJsonObject(value)) {
    if (Object.hasOwn(value, '__proto__'))
      throw badRequest('the sandbox does not store members named "__proto__"')
    for (const item of Object.values(value)) if (item !== undefined) plain(item, depth + 1)
  }
  return value
}
