/**
 * The types of every kind served, read from one table. A header line names a type (`atomic`: it is
 * owned as a whole); each line below it is a field: protobuf number, JSON name (`-`: its fields stand
 * in its owner), type, and flags: `patch= key=` strategic merge, `list= keys= map=` server-side apply,
 * `required`, `omit` (left out when it holds its zero value), `zero` (there even when
 * nobody set it), `default=`. A type is a scalar word, a type name, `[]` of one or `{}` (string keys) of one.
 */
import { TYPES_TABLE } from './types-table.ts'

export interface Field {
  readonly number: number
  readonly name: string
  readonly type: FieldType
  readonly isRequired: boolean
  readonly isOmittedWhenEmpty: boolean
  readonly isAlwaysThere: boolean
  /** Strategic merge: `merge` or `retainKeys`, and the key that tells list items apart. */
  readonly patch: readonly string[]
  readonly mergeKey: string | undefined
  /** Server-side apply: how a list is owned, and by which keys its items are told apart. */
  readonly list: 'map' | 'set' | 'atomic' | undefined
  readonly keys: readonly string[]
  readonly isAtomicMap: boolean
  readonly defaultText: string | undefined
}

export type FieldType =
  | { readonly form: 'scalar'; readonly name: string }
  | { readonly form: 'struct'; readonly name: string }
  | { readonly form: 'list'; readonly of: FieldType }
  | { readonly form: 'map'; readonly of: FieldType }

export interface StructType {
  readonly name: string
  readonly isAtomic: boolean
  /** As in the table: an inlined field is one entry named `-`. */
  readonly ownFields: readonly Field[]
  /** As in JSON: inlined fields stand here themselves. */
  readonly fields: ReadonlyMap<string, Field>
}

const SCALARS = new Set(
  'string bool int32 int64 float64 bytes strings time microtime duration fields quantity intorstring raw'.split(
    ' ',
  ),
)
const ownTypes = readTable(TYPES_TABLE)
const structs = new Map<string, StructType>()

/** The struct of a kind, undefined for one the table does not hold. */
export function kindType(group: string, version: string, kind: string): StructType | undefined {
  const room = group === '' ? 'core' : group.split('.')[0]!
  const name = kind === 'DeleteOptions' ? 'meta.v1.DeleteOptions' : `${room}.${version}.${kind}`
  return ownTypes.has(name) ? structType(name) : undefined
}

/** @throws Error (a bug) when the table refers to a type it does not hold */
export function structType(name: string): StructType {
  const known = structs.get(name)
  if (known) return known
  const own = ownTypes.get(name)
  if (!own) throw new Error(`no type ${name} in the table`)
  const fields = new Map<string, Field>()
  for (const field of own.ownFields)
    for (const [key, inner] of visible(field)) fields.set(key, inner)
  const struct = { ...own, fields }
  structs.set(name, struct)
  return struct
}

export function structNames(): string[] {
  return [...ownTypes.keys()]
}

function visible(field: Field): Iterable<[string, Field]> {
  const isInlined = field.name === '-' && field.type.form === 'struct'
  return isInlined ? structType(field.type.name).fields : [[field.name, field]]
}

function readTable(table: string): Map<string, Omit<StructType, 'fields'>> {
  const found = new Map<string, Omit<StructType, 'fields'>>()
  for (const block of table.trim().split(/\n(?! )/)) {
    const [header = '', ...lines] = block.split('\n')
    const [name = '', flag] = header.split(' ')
    found.set(name, { name, isAtomic: flag === 'atomic', ownFields: lines.map(readField) })
  }
  return found
}

function readField(line: string): Field {
  const [number = '', name = '', type = '', ...flags] = line.trim().split(' ')
  const flag = (key: string) =>
    flags.find((one) => one.startsWith(`${key}=`))?.slice(key.length + 1)
  return {
    number: Number(number),
    name,
    type: readType(type),
    isRequired: flags.includes('required'),
    isOmittedWhenEmpty: flags.includes('omit'),
    isAlwaysThere: flags.includes('zero'),
    patch: flag('patch')?.split(',') ?? [],
    mergeKey: flag('key'),
    list: flag('list') as Field['list'],
    keys: flag('keys')?.split(',') ?? [],
    isAtomicMap: flag('map') === 'atomic',
    defaultText: flag('default'),
  }
}

function readType(text: string): FieldType {
  if (text.startsWith('[]')) return { form: 'list', of: readType(text.slice(2)) }
  if (text.startsWith('{}')) return { form: 'map', of: readType(text.slice(2)) }
  return { form: SCALARS.has(text) ? 'scalar' : 'struct', name: text }
}
