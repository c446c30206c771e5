/**
 * A JSON object read as a kind, as Go reads it into a struct: unknown fields are noted and dropped,
 * zero values that JSON leaves out are left out, a wrong type is refused with Go's sentence
 * (sigs.k8s.io/json, encoding/json `decode.go`).
 */
import { isJsonList, isJsonObject, type Json, type JsonObject } from '../json.ts'
import { type Field, type FieldType, type StructType, structType } from './types.ts'

/** The object does not fit its kind; the message is Go's. */
export class DecodeError extends Error {}

export interface Decoded {
  readonly object: JsonObject
  /** `metadata.foo`, `spec.containers[0].imge`, in the order met. */
  readonly unknownFields: readonly string[]
}

const MAX_DEPTH = 128

/**
 * @param isWhole whether fields that are always there are filled in with their zero values; an applied
 *   configuration says only what it says
 * @throws DecodeError
 */
export function decodeKind(value: JsonObject, type: StructType, isWhole = true): Decoded {
  const { apiVersion, kind, ...rest } = value
  const unknownFields: string[] = []
  const place = { struct: nameOf(type), goPath: '', path: '', depth: 0, isWhole, unknownFields }
  const fields = decodeStruct(rest, type, place)
  return { object: { kind, apiVersion, ...fields } as JsonObject, unknownFields }
}

interface Place {
  /** The innermost Go struct and the JSON path without list indices, for Go's sentence. */
  readonly struct: string
  readonly goPath: string
  /** The JSON path with indices, for unknown fields. */
  readonly path: string
  readonly depth: number
  readonly isWhole: boolean
  readonly unknownFields: string[]
}

function nameOf(type: StructType): string {
  return type.name.slice(type.name.lastIndexOf('.') + 1)
}

function decodeStruct(value: JsonObject, type: StructType, place: Place): JsonObject {
  if (place.depth > MAX_DEPTH) throw new DecodeError('exceeded max depth')
  const object: Record<string, Json> = {}
  for (const [key, item] of Object.entries(value)) {
    const field = type.fields.get(key)
    if (!field) place.unknownFields.push(join(place.path, key))
    else if (item !== null && item !== undefined) decodeField(object, field, item, type, place)
  }
  return place.isWhole ? { ...zeroFields(type, object), ...object } : object
}

/** The object of a kind that nobody has said anything about. */
export function zeroObject(type: StructType): JsonObject {
  return zeroFields(type, {})
}

function zeroFields(type: StructType, present: JsonObject): JsonObject {
  const missing = [...type.fields.values()].filter(
    ({ name, isAlwaysThere }) => isAlwaysThere && !Object.hasOwn(present, name),
  )
  return Object.fromEntries(missing.map((field) => [field.name, zeroValue(field.type)]))
}

function zeroValue(type: FieldType): Json {
  if (type.form === 'struct') return zeroObject(structType(type.name))
  if (type.form !== 'scalar') return null
  if (type.name === 'quantity') return '0'
  return ['string', 'bool', 'int32', 'int64', 'float64'].includes(type.name) ? zeroOf(type) : null
}

function decodeField(
  object: Record<string, Json>,
  field: Field,
  item: Json,
  owner: StructType,
  place: Place,
): void {
  const here = {
    ...place,
    struct: nameOf(owner),
    goPath: join(place.goPath, field.name),
    path: join(place.path, field.name),
    depth: place.depth + 1,
  }
  const decoded = decodeValue(item, field.type, here)
  // Storing in protobuf forgets the difference between an empty list and none.
  const isEmptyList = isJsonList(decoded) && decoded.length === 0
  if (field.isOmittedWhenEmpty && isZero(decoded)) return
  object[field.name] = field.isAlwaysThere && isEmptyList ? null : decoded
}

function isZero(value: Json): boolean {
  if (value === '' || value === 0 || value === false) return true
  if (isJsonList(value)) return value.length === 0
  return isJsonObject(value) && Object.keys(value).length === 0
}

function decodeValue(value: Json, type: FieldType, place: Place): Json {
  if (type.form === 'scalar') return decodeScalar(value, type.name, place)
  if (type.form === 'list') return decodeList(value, type, place)
  if (!isJsonObject(value)) throw mismatch(value, goType(type), place)
  if (type.form === 'struct') return decodeStruct(value, structType(type.name), place)
  const entries = Object.entries(value).map(([key, item]) => [
    key,
    decodeValue(item ?? zeroOf(type.of), type.of, { ...place, path: join(place.path, key) }),
  ])
  return Object.fromEntries(entries) as JsonObject
}

function decodeList(value: Json, type: FieldType & { form: 'list' }, place: Place): Json {
  if (!isJsonList(value)) throw mismatch(value, goType(type), place)
  return value.map((item, index) =>
    decodeValue(item ?? zeroOf(type.of), type.of, { ...place, path: `${place.path}[${index}]` }),
  )
}

function zeroOf(type: FieldType): Json {
  if (type.form === 'list') return []
  if (type.form !== 'scalar') return {}
  if (type.name === 'bool') return false
  return type.name.startsWith('int') || type.name.startsWith('float') ? 0 : ''
}

function decodeScalar(value: Json, name: string, place: Place): Json {
  switch (name) {
    case 'string':
      return requireText(value, name, place)
    case 'bool':
      if (typeof value !== 'boolean') throw mismatch(value, name, place)
      return value
    case 'int32':
    case 'int64':
      return requireInteger(value, name, place)
    case 'float64':
      if (typeof value !== 'number') throw mismatch(value, name, place)
      return value
    case 'bytes':
      return requireBase64(requireText(value, '[]uint8', place))
    case 'strings':
      return decodeList(value, { form: 'list', of: { form: 'scalar', name: 'string' } }, place)
    case 'time':
    case 'microtime':
      return requireTime(requireText(value, 'string', place), name)
    case 'quantity':
      return requireQuantity(value)
    case 'intorstring':
      if (typeof value === 'number') return requireInteger(value, 'int32', place)
      return requireText(value, 'string', place)
    case 'duration':
      return requireText(value, 'string', place)
    default:
      return value
  }
}

function requireText(value: Json, goName: string, place: Place): string {
  if (typeof value !== 'string') throw mismatch(value, goName, place)
  return value
}

function requireInteger(value: Json, name: string, place: Place): number {
  if (typeof value !== 'number') throw mismatch(value, name, place)
  const limit = name === 'int32' ? 2 ** 31 : 2 ** 63
  if (Number.isInteger(value) && value >= -limit && value < limit) return value
  throw mismatch(value, name, place, `number ${value}`)
}

function requireBase64(text: string): string {
  const wrong = /[^A-Za-z0-9+/=\r\n]/.exec(text)
  if (wrong) throw new DecodeError(`illegal base64 data at input byte ${wrong.index}`)
  const bare = text.replace(/[\r\n]/g, '')
  if (/^[A-Za-z0-9+/]*={0,2}$/.test(bare) && bare.length % 4 === 0) return bare
  throw new DecodeError(`illegal base64 data at input byte ${bare.length}`)
}

const TIME = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/

function requireTime(text: string, name: string): string {
  const time = new Date(text)
  if (!TIME.test(text) || Number.isNaN(time.getTime())) throw notATime(text, name)
  const whole = time.toISOString()
  if (name === 'time') return `${whole.slice(0, 19)}Z`
  const fraction = (/\.(\d+)/.exec(text)?.[1] ?? '').slice(0, 6).padEnd(6, '0')
  return `${whole.slice(0, 19)}.${fraction}Z`
}

function notATime(text: string, name: string): DecodeError {
  const layout = name === 'time' ? '2006-01-02T15:04:05Z07:00' : '2006-01-02T15:04:05.000000Z07:00'
  const problem = `cannot parse ${JSON.stringify(text)} as "2006"`
  return new DecodeError(`parsing time ${JSON.stringify(text)} as "${layout}": ${problem}`)
}

const QUANTITY = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+|[KMGTPE]i|[numkMGTPE])?$/

function requireQuantity(value: Json): string {
  const text = typeof value === 'number' ? String(value) : value
  if (typeof text === 'string' && QUANTITY.test(text)) return text
  throw new DecodeError(
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
  )
}

function mismatch(value: Json, goName: string, place: Place, shown = jsonWord(value)): DecodeError {
  const field = `${place.struct}.${place.goPath}`
  return new DecodeError(
    `json: cannot unmarshal ${shown} into Go struct field ${field} of type ${goName}`,
  )
}

function jsonWord(value: Json): string {
  if (value === null) return 'null'
  if (typeof value === 'boolean') return 'bool'
  if (isJsonList(value)) return 'array'
  return typeof value
}

/** A Go type as its decoder names it; structs by package and name. */
function goType(type: FieldType): string {
  if (type.form === 'list') return `[]${goType(type.of)}`
  if (type.form === 'map') return `map[string]${goType(type.of)}`
  if (type.form === 'scalar') return type.name === 'bytes' ? '[]uint8' : type.name
  const [, version, name] = type.name.split('.')
  return `${version}.${name}`
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`
}
