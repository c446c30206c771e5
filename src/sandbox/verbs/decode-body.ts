/** A request's body as an object of the resource's kind (apiserver `pkg/endpoints/handlers/create.go`). */
import { readObject } from '../body.ts'
import type { ResourceContext } from '../context.ts'
import type { JsonObject, KubeObject } from '../json.ts'
import { badRequest } from '../refusals.ts'
import { DecodeError, decodeKind } from '../schema/decode.ts'
import { kindType } from '../schema/types.ts'
import type { FieldValidation } from './options.ts'

export interface Kind {
  readonly group: string
  readonly version: string
  readonly kind: string
}

/** @throws Refusal 400, 413, 415 */
export async function decodeBody(
  context: Pick<ResourceContext, 'exchange'>,
  kind: Kind,
  validation: FieldValidation,
): Promise<KubeObject> {
  const { exchange } = context
  const body = readObject(await exchange.body(), exchange.headers.first('content-type'), kind.kind)
  return decodeAs(context, body, kind, validation)
}

/**
 * Checks what an object says it is, and its fields.
 * @param isWhole false for an applied configuration, which says only what it says
 * @throws Refusal 400
 */
export function decodeAs(
  { exchange }: Pick<ResourceContext, 'exchange'>,
  value: JsonObject,
  wanted: Kind,
  validation: FieldValidation,
  isWhole = true,
): KubeObject {
  const groupVersion = wanted.group === '' ? wanted.version : `${wanted.group}/${wanted.version}`
  const typed = {
    ...value,
    kind: value.kind ?? wanted.kind,
    apiVersion: value.apiVersion ?? groupVersion,
  }
  if (typed.kind !== wanted.kind || typed.apiVersion !== groupVersion)
    throw wrongKind(typed, wanted)
  const { object, unknownFields } = decode(typed, wanted, isWhole)
  const problems = unknownFields.map((path) => `unknown field ${JSON.stringify(path)}`)
  if (problems.length > 0 && validation === 'Strict')
    throw cannotBeHandled(typed, wanted, `strict decoding error: ${problems.join(', ')}`)
  if (validation === 'Warn') for (const problem of problems) exchange.addWarning(problem)
  return { ...object, metadata: object.metadata ?? {} } as KubeObject
}

function decode(typed: JsonObject, wanted: Kind, isWhole: boolean) {
  try {
    return decodeKind(typed, kindType(wanted.group, wanted.version, wanted.kind)!, isWhole)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    throw cannotBeHandled(typed, wanted, error.message)
  }
}

function wrongKind(typed: JsonObject, wanted: Kind): Error {
  const { version } = splitVersion(String(typed.apiVersion))
  const problem = `no kind "${typed.kind}" is registered for version "${version}"`
  return cannotBeHandled(typed, wanted, `${problem} that can be stored as a ${wanted.kind}`)
}

function cannotBeHandled(typed: JsonObject, wanted: Kind, problem: string): Error {
  const { version } = splitVersion(String(typed.apiVersion))
  return badRequest(
    `${typed.kind} in version ${JSON.stringify(version)} cannot be handled as a ${wanted.kind}: ${problem}`,
  )
}

function splitVersion(apiVersion: string): { group: string; version: string } {
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion]
  return { group: group!, version: version! }
}
