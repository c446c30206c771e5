/** Field sets of objects, their comparison, merging and pruning (structured-merge-diff `typed/*.go`). */
import { isJsonObject, isSameJson, type Json } from '../json.ts'
import { childPath, type FieldSet, shownPath } from './field-set.ts'
import { fromParts, isItem, partsOf, type Shape, ShapeError, shapeOfPart } from './typed.ts'

/** Every leaf of a value, and every item of a map or list (`tofieldset.go`). */
export function fieldsOf(shape: Shape, value: Json, path = ''): FieldSet {
  const found = new Set<string>()
  collectFields(shape, value, path, found)
  return found
}

function collectFields(shape: Shape, value: Json, path: string, found: Set<string>): void {
  const parts = partsAt(shape, value, path)
  if (!parts) {
    if (path !== '') found.add(path)
    return
  }
  for (const [element, item] of parts) {
    const below = childPath(path, element)
    const isEmpty = item === null || (isJsonObject(item) && Object.keys(item).length === 0)
    if (isEmpty || isItem(shape, element)) found.add(below)
    if (item !== null) collectFields(shapeOfPart(shape, element), item, below, found)
  }
}

/** A complaint about a list says where it is. */
function partsAt(shape: Shape, value: Json, path: string): ReadonlyMap<string, Json> | undefined {
  try {
    return partsOf(shape, value)
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error
    throw new ShapeError(`${shownPath(path)}: ${error.message}`)
  }
}

export interface Comparison {
  readonly added: FieldSet
  readonly modified: FieldSet
  readonly removed: FieldSet
}

type Mutable = { readonly [K in keyof Comparison]: Set<string> }

/** What is new, different and gone (`compare.go`). */
export function compare(shape: Shape, left: Json | undefined, right: Json | undefined): Comparison {
  const found: Mutable = { added: new Set(), modified: new Set(), removed: new Set() }
  compareValues(shape, left, right, '', found)
  return found
}

function compareValues(
  shape: Shape,
  left: Json | undefined,
  right: Json | undefined,
  path: string,
  found: Mutable,
): void {
  if (left === undefined && right === undefined) return
  const [before, after] = [partsOf(shape, left), partsOf(shape, right)]
  const isLeaf = (before?.size ?? 0) === 0 && (after?.size ?? 0) === 0
  if (path !== '') note(path, left, right, isLeaf, found)
  if (isLeaf) return
  for (const element of new Set([...(before?.keys() ?? []), ...(after?.keys() ?? [])])) {
    const below = childPath(path, element)
    compareValues(
      shapeOfPart(shape, element),
      before?.get(element),
      after?.get(element),
      below,
      found,
    )
  }
}

function note(
  path: string,
  left: Json | undefined,
  right: Json | undefined,
  isLeaf: boolean,
  found: Mutable,
): void {
  if (left === undefined) found.added.add(path)
  else if (right === undefined) found.removed.add(path)
  else if (isLeaf && !isSameJson(left, right)) found.modified.add(path)
}

/** A configuration laid over an object; items of lists keep their order, new ones come last (`merge.go`). */
export function merge(shape: Shape, live: Json | undefined, config: Json): Json {
  const [below, above] = [partsOf(shape, live), partsOf(shape, config)]
  if (!above) return config
  const merged = new Map(below ?? [])
  for (const [element, item] of above)
    merged.set(element, merge(shapeOfPart(shape, element), below?.get(element), item))
  const order = inOrder([...(below?.keys() ?? [])], [...above.keys()])
  return fromParts(shape, new Map(order.map((element) => [element, merged.get(element)!])))
}

/**
 * What the configuration names stands in its order, what only the object has stays before what followed
 * it there (`merge.go` visitListItems).
 */
function inOrder(live: readonly string[], config: readonly string[]): string[] {
  const [inLive, inConfig] = [new Set(live), new Set(config)]
  const shared = config.filter((element) => inLive.has(element))
  const merged = new Set<string>()
  let [l, r] = [0, 0]
  while (l < live.length || r < config.length) {
    const [left, right] = [live[l], config[r]]
    if (left !== undefined && left !== right && right !== undefined) {
      const isOutOfTurn = inConfig.has(left) && shared[0] !== undefined && shared[0] !== left
      if (isOutOfTurn) {
        l += 1
        continue
      }
    }
    if (left !== undefined && !inConfig.has(left)) {
      merged.add(left)
      l += 1
      continue
    }
    if (left !== undefined && (left === right || merged.has(left))) l += 1
    if (right === undefined) continue
    merged.add(right)
    r += 1
    if (shared[0] === right) shared.shift()
  }
  return [...merged]
}

/** A value without the fields of a set (`remove.go`). */
export function remove(shape: Shape, value: Json, set: FieldSet, path = ''): Json {
  const parts = partsOf(shape, value)
  if (!parts) return value
  const kept = [...parts].filter(([element]) => !set.has(childPath(path, element)))
  const pruned = kept.map(
    ([element, item]) =>
      [element, remove(shapeOfPart(shape, element), item, set, childPath(path, element))] as const,
  )
  return fromParts(shape, new Map(pruned))
}
