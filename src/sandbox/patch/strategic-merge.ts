/**
 * Strategic merge patch (apimachinery `pkg/util/strategicpatch/patch.go`): lists with a merge key are merged
 * by it, and `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/` and `$setElementOrder/` steer.
 */
import {
  isJsonList,
  isJsonObject,
  isSameJson,
  type Json,
  type JsonObject,
  member,
} from '../json.ts'
import { type Field, type FieldType, type StructType, structType } from '../schema/types.ts'

/** The patch cannot be applied; the message is the server's. */
export class StrategicPatchError extends Error {}

const DIRECTIVE = '$patch'
const RETAIN = '$retainKeys'
const DELETE_PRIMITIVES = '$deleteFromPrimitiveList/'
const ORDER = '$setElementOrder/'

/** @throws StrategicPatchError */
export function applyStrategicPatch(
  target: Json | undefined,
  patch: JsonObject,
  type: StructType,
): JsonObject {
  return mergeObjects(isJsonObject(target) ? target : {}, patch, type)
}

/** @param type undefined within values that have no struct, such as maps */
function mergeObjects(
  target: JsonObject,
  patch: JsonObject,
  type: StructType | undefined,
): JsonObject {
  const directive = patch[DIRECTIVE]
  if (directive === 'replace') return withoutDirectives(patch)
  if (directive === 'delete') return {}
  if (directive !== undefined && directive !== 'merge')
    throw new StrategicPatchError(`unrecognized patch directive: ${String(directive)}`)
  const merged: Record<string, Json | undefined> = retained(target, patch)
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$') || value === undefined) continue
    if (value === null) delete merged[key]
    else merged[key] = mergeMember(member(merged as JsonObject, key), value, type?.fields.get(key))
  }
  return withListDirectives(merged, patch, type)
}

function retained(target: JsonObject, patch: JsonObject): Record<string, Json | undefined> {
  const keys = patch[RETAIN]
  if (!isJsonList(keys)) return { ...target }
  return Object.fromEntries(Object.entries(target).filter(([key]) => keys.includes(key)))
}

function mergeMember(target: Json | undefined, value: Json, field: Field | undefined): Json {
  if (isJsonList(value)) return mergeList(target, value, field)
  if (!isJsonObject(value)) return value
  const below = isJsonObject(target) ? target : {}
  return mergeObjects(below, value, field && structOf(field.type))
}

function structOf(type: FieldType): StructType | undefined {
  if (type.form === 'struct') return structType(type.name)
  return type.form === 'map' ? structOfItems(type.of) : undefined
}

function structOfItems(type: FieldType): StructType | undefined {
  return type.form === 'struct' ? structType(type.name) : undefined
}

function mergeList(
  target: Json | undefined,
  patch: readonly Json[],
  field: Field | undefined,
): Json {
  if (!field?.patch.includes('merge')) return patch.filter((item) => !isDirective(item))
  const below = isJsonList(target) ? target : []
  if (field.mergeKey === undefined) return [...below, ...patch.filter((item) => !has(below, item))]
  const struct = field.type.form === 'list' ? structOfItems(field.type.of) : undefined
  return mergeKeyedList(below, patch, field.mergeKey, struct)
}

function mergeKeyedList(
  target: readonly Json[],
  patch: readonly Json[],
  key: string,
  struct: StructType | undefined,
): Json {
  const isReplaced = patch.some(
    (item) =>
      isDirective(item) && member(item, DIRECTIVE) === 'replace' && member(item, key) === undefined,
  )
  let merged = isReplaced ? [] : [...target]
  for (const item of patch) {
    const value = member(item, key)
    if (value === undefined && isDirective(item)) continue
    if (value === undefined)
      throw new StrategicPatchError(
        `map: ${goMap(item)} does not contain declared merge key: ${key}`,
      )
    if (member(item, DIRECTIVE) === 'delete')
      merged = merged.filter((one) => member(one, key) !== value)
    else merged = mergeItem(merged, item as JsonObject, key, value, struct)
  }
  return merged
}

function mergeItem(
  list: readonly Json[],
  item: JsonObject,
  key: string,
  value: Json,
  struct: StructType | undefined,
): Json[] {
  const index = list.findIndex((one) => member(one, key) === value)
  const below = index < 0 ? {} : (list[index] as JsonObject)
  const merged = mergeObjects(below, item, struct)
  return index < 0 ? [...list, merged] : list.with(index, merged)
}

/** After merging: items taken out of lists of values, and the order that was asked for. */
function withListDirectives(
  merged: Record<string, Json | undefined>,
  patch: JsonObject,
  type: StructType | undefined,
): JsonObject {
  for (const [key, value] of Object.entries(patch)) {
    if (!isJsonList(value)) continue
    if (key.startsWith(DELETE_PRIMITIVES)) {
      const name = key.slice(DELETE_PRIMITIVES.length)
      const list = merged[name]
      if (isJsonList(list)) merged[name] = list.filter((item) => !has(value, item))
    } else if (key.startsWith(ORDER)) {
      const name = key.slice(ORDER.length)
      merged[name] = inOrder(merged[name], value, type?.fields.get(name)?.mergeKey)
    }
  }
  return merged as JsonObject
}

/** Named items in the order given; the others stay behind the item they followed. */
function inOrder(
  list: Json | undefined,
  order: readonly Json[],
  key: string | undefined,
): Json | undefined {
  if (!isJsonList(list)) return list
  const idOf = (item: Json): Json => (key === undefined ? item : (member(item, key) ?? null))
  const wanted = order.map(idOf)
  const rank = (item: Json) => wanted.findIndex((one) => isSameJson(one, idOf(item)))
  const named = list.filter((item) => rank(item) >= 0).sort((a, b) => rank(a) - rank(b))
  return list.map((item) => (rank(item) >= 0 ? named.shift()! : item))
}

/** Go's `%v` of a map. */
function goMap(value: Json): string {
  if (isJsonList(value)) return `[${value.map(goMap).join(' ')}]`
  if (!isJsonObject(value)) return String(value)
  const keys = Object.keys(value).sort()
  return `map[${keys.map((key) => `${key}:${goMap(value[key] ?? null)}`).join(' ')}]`
}

function isDirective(item: Json): boolean {
  return member(item, DIRECTIVE) !== undefined
}

function has(list: readonly Json[], item: Json): boolean {
  return list.some((one) => isSameJson(one, item))
}

function withoutDirectives(patch: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(patch).filter(([key]) => !key.startsWith('$')))
}
