/** Kubernetes objects as plain JSON. Stored ones are never changed in place: every write makes a new one. */

export type Json = null | boolean | number | string | readonly Json[] | JsonObject

export interface JsonObject {
  readonly [key: string]: Json | undefined
}

export interface ObjectMeta extends JsonObject {
  readonly name?: string
  readonly generateName?: string
  readonly namespace?: string
  readonly uid?: string
  readonly resourceVersion?: string
  readonly generation?: number
  readonly creationTimestamp?: string
  readonly deletionTimestamp?: string
  readonly labels?: StringMap
  readonly annotations?: StringMap
  readonly finalizers?: readonly string[]
  readonly managedFields?: readonly JsonObject[]
}

export interface StringMap extends JsonObject {
  readonly [key: string]: string
}

export interface KubeObject extends JsonObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: ObjectMeta
}

/** Of a list. */
export interface ListMeta extends JsonObject {
  readonly resourceVersion: string
  readonly continue?: string
  readonly remainingItemCount?: number
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isJsonList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value)
}

/** The own member of an object, so that `constructor` and its kin are absent like any other. */
export function member(value: Json | undefined, key: string): Json | undefined {
  return isJsonObject(value) && Object.hasOwn(value, key) ? value[key] : undefined
}

/** What lies at a path of members; undefined where the path ends early. */
export function at(value: Json | undefined, ...path: readonly string[]): Json | undefined {
  return path.reduce<Json | undefined>((current, key) => member(current, key), value)
}

/** The text at a path, '' where there is none. */
export function textAt(value: Json | undefined, ...path: readonly string[]): string {
  const found = at(value, ...path)
  return typeof found === 'string' ? found : ''
}

/** The number at a path, 0 where there is none. */
export function numberAt(value: Json | undefined, ...path: readonly string[]): number {
  const found = at(value, ...path)
  return typeof found === 'number' ? found : 0
}

/** The list at a path, empty where there is none. */
export function listAt(value: Json | undefined, ...path: readonly string[]): readonly Json[] {
  const found = at(value, ...path)
  return isJsonList(found) ? found : []
}

/** The texts in the list at a path. */
export function textsAt(value: Json | undefined, ...path: readonly string[]): readonly string[] {
  return listAt(value, ...path).filter((item) => typeof item === 'string')
}

/** A copy with one member set, or taken away where the value is undefined. */
export function withMember<T extends JsonObject>(
  object: T,
  key: string,
  value: Json | undefined,
): T {
  if (value !== undefined) return { ...object, [key]: value }
  const { [key]: _, ...rest } = object
  return rest as T
}

/** A copy with these members of its metadata; undefined takes one away. */
export function withMetadata(object: KubeObject, changes: Partial<ObjectMeta>): KubeObject {
  const merged: Record<string, Json | undefined> = { ...object.metadata, ...changes }
  for (const key of Object.keys(merged)) if (merged[key] === undefined) delete merged[key]
  return { ...object, metadata: merged }
}

/** Deep equality of JSON, the order of members apart; absent and undefined are the same. */
export function isSameJson(left: Json | undefined, right: Json | undefined): boolean {
  if (left === right) return true
  if (isJsonList(left) && isJsonList(right))
    return left.length === right.length && left.every((item, i) => isSameJson(item, right[i]))
  if (!isJsonObject(left) || !isJsonObject(right)) return false
  const keys = new Set([...Object.keys(left), ...Object.keys(right)])
  return [...keys].every((key) => isSameJson(member(left, key), member(right, key)))
}
