/**
 * Server-side apply: a configuration is laid over the object, its fields become the applier's, what it no
 * longer names goes, and a field that somebody else owns with another value is a conflict
 * (structured-merge-diff `merge/update.go` Apply, apimachinery `pkg/util/managedfields/internal/`).
 */
import { failureStatus } from '../../kube/status.ts'
import {
  isJsonList,
  isJsonObject,
  isSameJson,
  type Json,
  type KubeObject,
  withMetadata,
} from '../json.ts'
import { quote, Refusal } from '../refusals.ts'
import {
  type Author,
  isBy,
  type Manager,
  managersOf,
  ownable,
  settle,
  shapeOfResource,
  unowned,
  withManagers,
} from './field-managers.ts'
import { compare, fieldsOf, merge, remove } from './field-operations.ts'
import {
  difference,
  type FieldSet,
  intersection,
  shownPath,
  union,
  withNamedAncestors,
} from './field-set.ts'
import type { Shape } from './typed.ts'

const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration'

export interface Applied {
  /** Merged and pruned; defaults are still to be filled in. */
  readonly object: KubeObject
  /** Notes the owners in the finished object. */
  owned(finished: KubeObject): KubeObject
}

/** @throws Refusal 409 with one cause per field that is owned by others */
export function applyConfiguration(
  author: Author,
  live: KubeObject,
  config: KubeObject,
  isForced: boolean,
): Applied {
  const shape = shapeOfResource(author.resource)
  const known = knownManagers(author, live)
  const mine = known.find((one) => isBy(one, author, 'Apply'))
  const others = known.filter((one) => one !== mine)
  const applied = ownable(author, fieldsOf(shape, config))
  const merged = merge(shape, unowned(live), config)
  const object = prune(
    shape,
    merged,
    mine?.fields,
    union(applied, ...others.map(({ fields }) => fields)),
  )
  const changes = compare(shape, unowned(live), object)
  const taken = ownable(author, union(changes.added, changes.modified))
  const conflicts = conflictsWith(others, taken)
  if (!isForced && !areAllowed(author, shape, live, conflicts)) throw applyConflict(conflicts)
  const isChange = !isSameJson(unowned(live), object)
  const managers = settle(author, 'Apply', known, applied, union(taken, changes.removed), isChange)
  return {
    object: withLastApplied(author, object as KubeObject, config),
    owned: (finished) => withManagers(finished, managers),
  }
}

/** What nobody claims but the object has belongs to whoever was here before apply was used. */
function knownManagers(author: Author, live: KubeObject): readonly Manager[] {
  const known = managersOf(live)
  if (known.length > 0 || live.metadata.uid === undefined) return known
  const apiVersion = live.apiVersion
  const fields = ownable(
    { ...author, subresource: '' },
    fieldsOf(shapeOfResource(author.resource), unowned(live)),
  )
  const time = live.metadata.creationTimestamp ?? ''
  const before = {
    manager: 'before-first-apply',
    operation: 'Update' as const,
    apiVersion,
    subresource: '',
    time,
  }
  return [{ ...before, fields }]
}

/** Takes away what was applied before and nobody owns any more. */
function prune(shape: Shape, merged: Json, last: FieldSet | undefined, owned: FieldSet): Json {
  if (!last || last.size === 0) return merged
  const present = withNamedAncestors(fieldsOf(shape, merged))
  const gone = difference(
    intersection(present, withNamedAncestors(last)),
    withNamedAncestors(owned),
  )
  return remove(shape, merged, gone)
}

/** kubectl's annotation is kept true, where kubectl has left one (`lastappliedupdater.go`). */
function withLastApplied(author: Author, object: KubeObject, config: KubeObject): KubeObject {
  const { annotations } = object.metadata
  if (author.manager !== 'kubectl' || !annotations?.[LAST_APPLIED]) return object
  const { [LAST_APPLIED]: _, ...others } = config.metadata.annotations ?? {}
  const kept = Object.keys(others).length > 0 ? others : undefined
  const text = `${JSON.stringify(sorted(withMetadata(config, { annotations: kept })))}\n`
  return withMetadata(object, { annotations: { ...annotations, [LAST_APPLIED]: text } })
}

/** Members in the order of their names, as Go writes maps. */
function sorted(value: Json): Json {
  if (isJsonList(value)) return value.map(sorted)
  if (!isJsonObject(value)) return value
  const keys = Object.keys(value).sort()
  return Object.fromEntries(keys.map((key) => [key, sorted(value[key] ?? null)]))
}

interface Conflict {
  readonly with: Manager
  readonly path: string
}

function conflictsWith(others: readonly Manager[], taken: FieldSet): readonly Conflict[] {
  return others.flatMap((one) =>
    [...intersection(one.fields, taken)].sort().map((path) => ({ with: one, path })),
  )
}

/**
 * kubectl may take over what it applied itself before it was server-side: the fields named by its
 * annotation that still hold the same values (`lastappliedmanager.go`).
 */
function areAllowed(
  author: Author,
  shape: Shape,
  live: KubeObject,
  conflicts: readonly Conflict[],
): boolean {
  if (conflicts.length === 0) return true
  const text = live.metadata.annotations?.[LAST_APPLIED]
  if (author.manager !== 'kubectl' || text === undefined) return false
  const last = JSON.parse(text) as KubeObject
  const { modified, added } = compare(shape, unowned(live), last)
  const allowed = difference(fieldsOf(shape, last), union(modified, added))
  return conflicts.every(({ path }) => allowed.has(path))
}

function applyConflict(conflicts: readonly Conflict[]): Refusal {
  const causes = conflicts.map((one) => ({
    reason: 'FieldManagerConflict',
    message: `conflict with ${shownManager(one.with)}`,
    field: shownPath(one.path),
  }))
  const [first] = conflicts
  const message =
    conflicts.length === 1
      ? `Apply failed with 1 conflict: conflict with ${shownManager(first!.with)}: ${shownPath(first!.path)}`
      : `Apply failed with ${conflicts.length} conflicts: ${listed(conflicts)}`
  return new Refusal(failureStatus(409, 'Conflict', message, { causes }))
}

function listed(conflicts: readonly Conflict[]): string {
  const names = [...new Set(conflicts.map((one) => shownManager(one.with)))].sort()
  const lines = names.flatMap((name) => [
    `conflicts with ${name}:`,
    ...conflicts
      .filter((one) => shownManager(one.with) === name)
      .map(({ path }) => `- ${shownPath(path)}`),
  ])
  return lines.join('\n')
}

function shownManager(one: Manager): string {
  const place = one.subresource ? ` with subresource ${quote(one.subresource)}` : ''
  const version = one.operation === 'Update' ? ` using ${one.apiVersion}` : ''
  return `${quote(one.manager)}${place}${version}`
}
