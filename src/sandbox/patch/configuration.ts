/**
 * Whether an applied configuration fits its type, in the words of structured-merge-diff
 * (`typed/validate.go`): it is read before Go's decoder sees it.
 */
import { isJsonList, isJsonObject, type Json } from '../json.ts'
import { quote } from '../refusals.ts'
import { type FieldType, type StructType, structType } from '../schema/types.ts'
import { ShapeError } from './typed.ts'

/** @throws ShapeError */
export function checkConfiguration(value: Json, type: StructType): void {
  if (!isJsonObject(value)) throw new ShapeError('expected map')
  const { apiVersion, kind, ...fields } = value
  checkStruct(fields as Json, type, '')
}

function checkStruct(value: Json, type: StructType, path: string): void {
  if (!isJsonObject(value)) throw wrong(path, `expected map, got ${shown(value)}`)
  for (const [key, item] of Object.entries(value)) {
    const field = type.fields.get(key)
    const below = `${path}.${key}`
    if (!field) throw wrong(below, 'field not declared in schema')
    if (item !== null && item !== undefined) check(item, field.type, below)
  }
}

function check(value: Json, type: FieldType, path: string): void {
  if (type.form === 'struct') checkStruct(value, structType(type.name), path)
  else if (type.form === 'scalar') checkScalar(value, type.name, path)
  else if (type.form === 'list') checkList(value, type.of, path)
  else checkMap(value, type.of, path)
}

function checkList(value: Json, of: FieldType, path: string): void {
  if (!isJsonList(value)) throw wrong(path, `expected list, got ${shown(value)}`)
  for (const [index, item] of value.entries()) check(item, of, `${path}[${index}]`)
}

function checkMap(value: Json, of: FieldType, path: string): void {
  if (!isJsonObject(value)) throw wrong(path, `expected map, got ${shown(value)}`)
  for (const [key, item] of Object.entries(value))
    if (item !== null && item !== undefined) check(item, of, `${path}.${key}`)
}

function checkScalar(value: Json, name: string, path: string): void {
  const isNumber = typeof value === 'number'
  if (name.startsWith('int3') || name.startsWith('int6') || name.startsWith('float')) {
    if (!isNumber) throw wrong(path, `expected numeric (int or float), got ${goTypeOf(value)}`)
  } else if (name === 'bool') {
    if (typeof value !== 'boolean') throw wrong(path, `expected boolean, got ${shown(value)}`)
  } else if (name === 'string' && typeof value !== 'string')
    throw wrong(path, `expected string, got ${shown(value)}`)
}

/** Go's `%T`. */
function goTypeOf(value: Json): string {
  if (typeof value === 'boolean') return 'bool'
  if (isJsonList(value)) return '[]interface {}'
  return isJsonObject(value) ? 'map[string]interface {}' : 'string'
}

/** Go's `%#v` of a scalar; anything larger as JSON. */
function shown(value: Json): string {
  return typeof value === 'string' ? quote(value) : JSON.stringify(value)
}

function wrong(path: string, problem: string): ShapeError {
  return new ShapeError(`${path}: ${problem}`)
}
