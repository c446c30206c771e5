/**
 * Objects seen through their type, as server-side apply sees them: what is one value and what is made of
 * parts that can have different owners (sigs.k8s.io/structured-merge-diff `typed/`).
 */

import { isJsonList, isJsonObject, type Json, type JsonObject, member } from '../json.ts'
import { type Field, type FieldType, type StructType, structType } from '../schema/types.ts'
import { shownPath } from './field-set.ts'

/** A value made of parts, or a leaf. */
export type Shape =
  | { readonly form: 'leaf' }
  | { readonly form: 'map'; childOf(key: string): Shape; isNamed(key: string): boolean }
  | { readonly form: 'keyed'; readonly item: Shape; keyOf(item: Json): string }
  | { readonly form: 'set' }

const LEAF: Shape = { form: 'leaf' }
const SET: Shape = { form: 'set' }

/** The object does not fit: a list item without its key, or one twice. */
export class ShapeError extends Error {}

export function shapeOfStruct(struct: StructType): Shape {
  return {
    form: 'map',
    childOf: (key) => {
      const field = struct.fields.get(key)
      return field ? shapeOfField(field) : LEAF
    },
    isNamed: (key) => struct.fields.has(key),
  }
}

function shapeOfField(field: Field): Shape {
  const { type } = field
  if (type.form === 'list') return shapeOfList(field, type.of)
  return field.isAtomicMap ? LEAF : shapeOf(type)
}

function shapeOf(type: FieldType): Shape {
  if (type.form === 'map')
    return { form: 'map', childOf: () => shapeOf(type.of), isNamed: () => false }
  if (type.form !== 'struct') return LEAF
  const struct = structType(type.name)
  return struct.isAtomic ? LEAF : shapeOfStruct(struct)
}

/** A list without a rule is atomic. */
function shapeOfList(field: Field, item: FieldType): Shape {
  if (field.list === 'set') return SET
  if (field.list !== 'map' || item.form !== 'struct') return LEAF
  const struct = structType(item.name)
  const keys = [...field.keys].sort()
  return {
    form: 'keyed',
    item: shapeOfStruct(struct),
    keyOf: (value) => keyElement(struct, keys, value),
  }
}

/** A key that is not said has its default, or else the zero value that stands for it. */
function keyElement(struct: StructType, keys: readonly string[], item: Json): string {
  const pairs = keys.map((key) => {
    const field = struct.fields.get(key)
    const isText = field?.type.form !== 'scalar' || field.type.name === 'string'
    return [key, member(item, key) ?? field?.defaultText ?? (isText ? '' : 0)] as const
  })
  return `k:${JSON.stringify(Object.fromEntries(pairs))}`
}

/** The parts of a value by path element, in order; undefined for a leaf or a value without parts. */
export function partsOf(shape: Shape, value: Json | undefined): Map<string, Json> | undefined {
  if (shape.form === 'map') return isJsonObject(value) ? partsOfMap(value) : undefined
  if (shape.form === 'leaf' || !isJsonList(value)) return undefined
  const parts = new Map<string, Json>()
  for (const item of value) {
    const element = shape.form === 'set' ? `v:${JSON.stringify(item)}` : shape.keyOf(item)
    if (parts.has(element)) throw new ShapeError(`duplicate entries for key ${shownPath(element)}`)
    parts.set(element, item)
  }
  return parts
}

function partsOfMap(value: JsonObject): Map<string, Json> {
  const present = Object.entries(value).filter(
    (pair): pair is [string, Json] => pair[1] !== undefined,
  )
  return new Map(present.map(([key, item]) => [`f:${key}`, item]))
}

/** Puts parts together again. */
export function fromParts(shape: Shape, parts: ReadonlyMap<string, Json>): Json {
  if (shape.form !== 'map') return [...parts.values()]
  return Object.fromEntries([...parts].map(([element, item]) => [element.slice(2), item]))
}

export function shapeOfPart(shape: Shape, element: string): Shape {
  if (shape.form === 'map') return shape.childOf(element.slice(2))
  return shape.form === 'keyed' ? shape.item : LEAF
}

/** Whether a part is itself a member of a field set, beside what is below it. */
export function isItem(shape: Shape, element: string): boolean {
  return shape.form !== 'map' || !shape.isNamed(element.slice(2))
}
