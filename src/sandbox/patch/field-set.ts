/**
 * Sets of field paths and their form in `managedFields` (sigs.k8s.io/structured-merge-diff
 * `fieldpath/`). A path is a list of elements: `f:NAME`, `k:{"KEY":VALUE}` for an item of a list with
 * keys, `v:VALUE` for one of a list of values.
 */
import { isJsonObject, type JsonObject } from '../json.ts'
import { quote } from '../refusals.ts'

/** Paths, their elements joined. */
export type FieldSet = ReadonlySet<string>

const SEPARATOR = '\u0000'

export function childPath(path: string, element: string): string {
  return path === '' ? element : `${path}${SEPARATOR}${element}`
}

function elementsOf(path: string): string[] {
  return path.split(SEPARATOR)
}

export function union(...sets: readonly FieldSet[]): FieldSet {
  return new Set(sets.flatMap((set) => [...set]))
}

export function difference(left: FieldSet, right: FieldSet): FieldSet {
  return new Set([...left].filter((path) => !right.has(path)))
}

export function intersection(left: FieldSet, right: FieldSet): FieldSet {
  return new Set([...left].filter((path) => right.has(path)))
}

/** With every named field on the way to a member (`EnsureNamedFieldsAreMembers`). */
export function withNamedAncestors(set: FieldSet): FieldSet {
  const all = new Set(set)
  for (const path of set) {
    const elements = elementsOf(path)
    for (let length = 1; length < elements.length; length++)
      if (elements[length - 1]!.startsWith('f:')) all.add(elements.slice(0, length).join(SEPARATOR))
  }
  return all
}

/** Whether a path lies at or below a top-level field, such as `f:status`. */
export function isBelow(path: string, top: string): boolean {
  return path === top || path.startsWith(`${top}${SEPARATOR}`)
}

/** The nested form: `{"f:spec":{"f:replicas":{}}}`; `.` marks a member that has members below it. */
export function toFieldsV1(set: FieldSet): JsonObject {
  type Tree = { [element: string]: Tree }
  const root: Tree = {}
  const members = [...set].sort()
  for (const path of members) {
    let node = root
    for (const element of elementsOf(path)) node = node[element] ??= {}
  }
  for (const path of members) {
    const node = elementsOf(path).reduce((current, element) => current[element]!, root)
    if (Object.keys(node).length > 0) node['.'] = {}
  }
  return sorted(root)

  function sorted(tree: Tree): JsonObject {
    const keys = Object.keys(tree).sort()
    return Object.fromEntries(keys.map((key) => [key, sorted(tree[key]!)]))
  }
}

/** Back from the nested form; a leaf is a member. */
export function fromFieldsV1(fields: unknown): FieldSet {
  const members = new Set<string>()
  if (isJsonObject(fields)) collect(fields, '', members)
  return members
}

function collect(tree: JsonObject, path: string, members: Set<string>): void {
  for (const [element, below] of Object.entries(tree)) {
    if (element === '.') members.add(path)
    else if (!isJsonObject(below) || Object.keys(below).length === 0)
      members.add(childPath(path, element))
    else collect(below, childPath(path, element), members)
  }
}

/** As messages show it: `.spec.containers[name="a"].image`. */
export function shownPath(path: string): string {
  return elementsOf(path).map(shownElement).join('')
}

function shownElement(element: string): string {
  const rest = element.slice(2)
  if (element.startsWith('f:')) return `.${rest}`
  if (element.startsWith('v:')) return `[=${rest}]`
  const keys = Object.entries(JSON.parse(rest) as JsonObject)
  const shown = keys.map(
    ([key, value]) => `${key}=${typeof value === 'string' ? quote(value) : value}`,
  )
  return `[${shown.join(',')}]`
}
