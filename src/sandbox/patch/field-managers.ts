/**
 * Who owns which field: `metadata.managedFields` (apimachinery `pkg/util/managedfields/internal/`,
 * structured-merge-diff `merge/update.go`).
 */
import type { World } from '../../world.ts'
import { type Json, type JsonObject, type KubeObject, textAt, withMetadata } from '../json.ts'
import { groupVersionOf, type Resource } from '../objects/resources.ts'
import { zeroObject } from '../schema/decode.ts'
import { kindType } from '../schema/types.ts'
import { compare } from './field-operations.ts'
import { difference, type FieldSet, fromFieldsV1, isBelow, toFieldsV1, union } from './field-set.ts'
import { type Shape, shapeOfStruct } from './typed.ts'

export interface Manager {
  readonly manager: string
  readonly operation: 'Apply' | 'Update'
  readonly apiVersion: string
  readonly subresource: string
  /** Absent for a scale, and for an apply that changed nothing. */
  readonly time: string
  readonly fields: FieldSet
}

/** Who writes, and to what. */
export interface Author {
  readonly resource: Resource
  readonly manager: string
  readonly subresource: string
  readonly world: World
}

const NOT_OWNED = new Set(
  ['f:apiVersion', 'f:kind', 'f:metadata'].concat(
    'name namespace creationTimestamp selfLink uid clusterName generation managedFields resourceVersion'
      .split(' ')
      .map((key) => `f:metadata\u0000f:${key}`),
  ),
)

export function shapeOfResource({ group, version, kind }: Resource): Shape {
  return shapeOfStruct(kindType(group, version, kind)!)
}

/**
 * The new state with its owners after a plain write: what changed is the author's now.
 * @param submitted what the client sent, which may set the list of owners itself
 */
export function updatedBy(
  author: Author,
  old: KubeObject | undefined,
  next: KubeObject,
  submitted?: KubeObject,
): KubeObject {
  const known = managersOf(old, author.subresource === '' ? submitted : undefined)
  if (old !== undefined && known.length === 0 && !isReset(submitted)) return withManagers(next, [])
  const { resource } = author
  const base =
    old ?? (zeroObject(kindType(resource.group, resource.version, resource.kind)!) as KubeObject)
  const changes = compare(shapeOfResource(resource), unowned(base), unowned(next))
  const changed = ownable(author, union(changes.added, changes.modified))
  const mine = known.find((one) => isBy(one, author, 'Update'))?.fields ?? new Set<string>()
  const fields = union(difference(mine, changes.removed), changed)
  return withManagers(
    next,
    settle(author, 'Update', known, fields, union(changed, changes.removed), changed.size > 0),
  )
}

/** One manager owns these fields now; all others lose what was changed or is gone. */
export function settle(
  author: Author,
  operation: Manager['operation'],
  known: readonly Manager[],
  fields: FieldSet,
  lost: FieldSet,
  isChange: boolean,
): readonly Manager[] {
  const mine = known.find((one) => isBy(one, author, operation))
  const others = known.filter((one) => one !== mine)
  const entry: Manager = {
    manager: author.manager,
    operation,
    apiVersion: groupVersionOf(author.resource),
    subresource: author.subresource,
    time: isChange ? timeFor(author) : (mine?.time ?? ''),
    fields,
  }
  const rest = others.map((one) => ({ ...one, fields: difference(one.fields, lost) }))
  return [entry, ...rest].filter((one) => one.fields.size > 0)
}

/** Status belongs to its subresource, everything else to the object; identity to nobody. */
export function ownable({ resource, subresource }: Author, set: FieldSet): FieldSet {
  const hasStatus = resource.subresources.some(({ name }) => name === 'status')
  const isOwnable = (path: string) => {
    if (NOT_OWNED.has(path)) return false
    if (!hasStatus) return true
    return isBelow(path, 'f:status') === (subresource === 'status')
  }
  return new Set([...set].filter(isOwnable))
}

export function isBy(one: Manager, author: Author, operation: Manager['operation']): boolean {
  return (
    one.manager === author.manager &&
    one.operation === operation &&
    one.subresource === author.subresource
  )
}

/** The owners that a write starts from. */
export function managersOf(
  old: KubeObject | undefined,
  submitted?: KubeObject,
): readonly Manager[] {
  if (isReset(submitted)) return []
  const given = readManagers(submitted)
  return given.length > 0 ? given : readManagers(old)
}

/** An empty list, or one empty entry, forgets all owners. */
function isReset(submitted: KubeObject | undefined): boolean {
  const list = submitted?.metadata.managedFields
  return (
    list !== undefined &&
    (list.length === 0 || (list.length === 1 && Object.keys(list[0]!).length === 0))
  )
}

function readManagers(object: KubeObject | undefined): readonly Manager[] {
  return (object?.metadata.managedFields ?? []).map((entry) => ({
    manager: textAt(entry, 'manager'),
    operation: entry.operation === 'Apply' ? ('Apply' as const) : ('Update' as const),
    apiVersion: textAt(entry, 'apiVersion'),
    subresource: textAt(entry, 'subresource'),
    time: textAt(entry, 'time'),
    fields: fromFieldsV1(entry.fieldsV1),
  }))
}

export function withManagers(object: KubeObject, managers: readonly Manager[]): KubeObject {
  const key = (one: Manager) =>
    [one.operation, one.time, one.manager, one.apiVersion, one.subresource].join('\u0000')
  const sorted = [...managers].sort((a, b) => (key(a) < key(b) ? -1 : 1))
  const managedFields = sorted.length > 0 ? sorted.map(writeManager) : undefined
  return withMetadata(object, { managedFields })
}

function writeManager(one: Manager): JsonObject {
  return {
    manager: one.manager,
    operation: one.operation,
    apiVersion: one.apiVersion,
    ...(one.time && { time: one.time }),
    fieldsType: 'FieldsV1',
    fieldsV1: toFieldsV1(one.fields),
    ...(one.subresource && { subresource: one.subresource }),
  }
}

/** An object without its list of owners, for comparison. */
export function unowned(object: KubeObject): Json {
  return withMetadata(object, { managedFields: undefined })
}

function timeFor({ world, subresource }: Author): string {
  return subresource === 'scale' ? '' : `${world.now().toISOString().slice(0, 19)}Z`
}
