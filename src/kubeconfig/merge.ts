import { isDeepStrictEqual } from 'node:util'
import { type Document, isMap, isSeq, type YAMLMap, type YAMLSeq } from 'yaml'
import { UsageError } from '../errors.ts'
import { EXTENSION, type Kubeconfig, type KubeconfigEntries, kubeconfigSchema } from './model.ts'
import { emptyKubeconfig, readDocument, writeDocument } from './yaml.ts'

/** Puts entries of mcm into somebody's kubeconfig text and takes them out again; the rest stays as it is. */

export interface MergeOptions {
  /** The file's name, for errors. */
  readonly file: string
  /** Make this context the current one. Without it that is done only where none is current. */
  readonly current?: string
}

/**
 * The text with these entries in it. Entries of ours with the same name are replaced where they stand,
 * new ones are appended; the same call again changes nothing.
 * @throws UsageError MCM_BAD_FILE, and MCM_USAGE when an entry of that name is somebody else's
 */
export function mergeEntries(
  text: string | undefined,
  entries: readonly KubeconfigEntries[],
  options: MergeOptions,
): string {
  const document = openKubeconfig(text, options.file)
  for (const entry of entries) {
    put(document, 'clusters', entry, { cluster: entry.cluster }, options.file)
    put(document, 'users', entry, { user: entry.user }, options.file)
    put(document, 'contexts', entry, { context: entry.context }, options.file)
  }
  setCurrent(document, options.current, entries[0]?.name)
  return unchangedOr(text, document)
}

/** The text without mcm's entries: those of one cluster, or all of them. Also says which contexts went. */
export function removeEntries(
  text: string,
  file: string,
  clusterId?: string,
): { text: string; removed: string[] } {
  const document = openKubeconfig(text, file)
  const removed: string[] = []
  for (const list of ['clusters', 'users', 'contexts'] as const) {
    const sequence = listOf(document, list, file)
    for (const item of ownItems(sequence, clusterId)) {
      if (list === 'contexts') removed.push(String(item.get('name')))
      sequence.items.splice(sequence.items.indexOf(item), 1)
    }
  }
  const current = document.get('current-context')
  if (removed.includes(String(current))) document.set('current-context', '')
  return { text: removed.length > 0 ? unchangedOr(text, document) : text, removed }
}

/** A kubeconfig as data. @throws UsageError MCM_BAD_FILE */
export function parseKubeconfig(text: string, file: string): Kubeconfig {
  return checked(readDocument(text, file), file)
}

type List = 'clusters' | 'users' | 'contexts'

function openKubeconfig(text: string | undefined, file: string): Document {
  if (text === undefined || text.trim() === '') return emptyKubeconfig()
  const document = readDocument(text, file)
  if (document.contents === null) return emptyKubeconfig()
  checked(document, file)
  return document
}

function checked(document: Document, file: string): Kubeconfig {
  const result = kubeconfigSchema.safeParse(document.toJS() ?? {})
  if (result.success) return result.data
  const [issue] = result.error.issues
  const where = issue?.path.join('.') || 'the file'
  throw badFile(file, `${where}: ${issue?.message ?? 'not understood'}`)
}

function put(
  document: Document,
  list: List,
  entry: KubeconfigEntries,
  value: Readonly<Record<string, unknown>>,
  file: string,
): void {
  const sequence = listOf(document, list, file)
  const found = maps(sequence).find((item) => item.get('name') === entry.name)
  if (found && !isOurs(found)) throw foreign(list, entry.name, file)
  const wanted = { name: entry.name, ...value }
  if (!found) sequence.items.push(document.createNode(wanted))
  else if (!isSame(found.toJS(document), wanted)) replace(document, found, wanted)
}

/** In place, so that comments before the entry stay where they are. */
function replace(document: Document, item: YAMLMap, wanted: object): void {
  const fresh = document.createNode(wanted) as unknown as YAMLMap
  item.items = fresh.items
}

function listOf(document: Document, list: List, file: string): YAMLSeq {
  const found = document.get(list)
  if (isSeq(found)) {
    // kubectl writes an empty list as `[]`; entries put into that would become one line.
    if (found.items.length === 0) found.flow = false
    return found
  }
  if (found !== undefined && found !== null) throw badFile(file, `${list} is not a list`)
  document.set(list, document.createNode([]))
  return document.get(list) as YAMLSeq
}

function maps(sequence: YAMLSeq): YAMLMap[] {
  return sequence.items.filter((item) => isMap(item))
}

function ownItems(sequence: YAMLSeq, clusterId: string | undefined): YAMLMap[] {
  return maps(sequence).filter((item) => {
    const owner = ownerOf(item)
    return owner !== undefined && (clusterId === undefined || owner === clusterId)
  })
}

function isOurs(item: YAMLMap): boolean {
  return ownerOf(item) !== undefined
}

/** The cluster id our extension names, or undefined when the entry is not ours. */
function ownerOf(item: YAMLMap): string | undefined {
  for (const key of ['cluster', 'user', 'context']) {
    const extensions = item.getIn([key, 'extensions'])
    if (!isSeq(extensions)) continue
    const ours = maps(extensions).find((extension) => extension.get('name') === EXTENSION)
    const cluster = ours?.getIn(['extension', 'cluster'])
    if (typeof cluster === 'string') return cluster
  }
  return undefined
}

function setCurrent(document: Document, wanted: string | undefined, first?: string): void {
  const current = document.get('current-context')
  const name =
    wanted ?? (current === undefined || current === '' || current === null ? first : undefined)
  if (name !== undefined && name !== current) document.set('current-context', name)
}

/** A document nobody changed must come back byte for byte, whatever its style. */
function unchangedOr(text: string | undefined, document: Document): string {
  const before = text === undefined ? undefined : readDocument(text, '').toJS()
  return text !== undefined && isSame(before, document.toJS())
    ? text
    : writeDocument(document, text ?? '')
}

/** Whatever the order of members: kubectl sorts them when it writes. */
function isSame(left: unknown, right: unknown): boolean {
  return isDeepStrictEqual(left, right)
}

function foreign(list: List, name: string, file: string): UsageError {
  return new UsageError(
    'MCM_USAGE',
    `${file} has an entry ${name} under ${list} that mcm did not make`,
    {
      hint: `rename it (kubectl config rename-context), or write to another file with --kubeconfig`,
    },
  )
}

function badFile(file: string, why: string): UsageError {
  return new UsageError('MCM_BAD_FILE', `${file} is not a kubeconfig: ${why}`, {
    hint: `correct ${file}, or write to another file with --kubeconfig`,
  })
}
