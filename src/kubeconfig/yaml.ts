import {
  Document,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  stringify,
} from 'yaml'
import { messageOf, UsageError } from '../errors.ts'

/** YAML text and back, in the looks kubectl gives it. */

/** Objects as one YAML stream, each behind its own `---`: a manifest `kubectl apply -f` takes. */
export function toYaml(objects: readonly unknown[]): string {
  return objects.map((object) => `---\n${stringify(object, LOOKS)}`).join('')
}

const LOOKS = { lineWidth: 0, indentSeq: false, aliasDuplicateObjects: false } as const

/** Reads one document, keeping comments, order and quotes. `name` is for the error. @throws UsageError MCM_BAD_FILE */
export function readDocument(text: string, name: string): Document {
  const document = parseDocument(text, { keepSourceTokens: false })
  const [problem] = document.errors
  if (problem) {
    throw new UsageError('MCM_BAD_FILE', `${name} is not YAML: ${firstLine(problem.message)}`, {
      hint: `correct ${name}, or name another file`,
      cause: problem,
    })
  }
  return document as Document
}

/** The parser adds the source below, after a colon. */
function firstLine(message: string): string {
  return message.split('\n')[0]!.replace(/:$/, '')
}

/** An empty kubeconfig, its members in kubectl's order. */
export function emptyKubeconfig(): Document {
  const lists = { clusters: [], contexts: [] }
  return new Document({ apiVersion: 'v1', ...lists, kind: 'Config', preferences: {}, users: [] })
}

/** A document as text in the manner of the text it came from: list indent, indent width, line ends, JSON. */
export function writeDocument(document: Document, original: string): string {
  if (isJson(original)) return `${JSON.stringify(document.toJS(), null, 2)}\n`
  const text = document.toString({
    lineWidth: 0,
    indent: indentOf(original),
    indentSeq: INDENTED_LIST.test(original),
    flowCollectionPadding: !/\{\S/.test(original),
  })
  return original.includes('\r\n') ? text.replaceAll('\n', '\r\n') : text
}

/** A top-level key, perhaps comments, then a list item further in. */
const INDENTED_LIST = /^[A-Za-z-]+:[ \t]*\r?\n(?:[ \t]*#[^\n]*\n)*[ \t]+- /m

/** The first key inside a map, counted from its parent key, also where that stands behind a dash. */
const NESTED_KEY = /^( *)(- )?[A-Za-z-]+:[ \t]*\r?\n( +)[A-Za-z]/m

function indentOf(original: string): number {
  const match = NESTED_KEY.exec(original)
  if (!match) return 2
  const width = match[3]!.length - match[1]!.length - (match[2]?.length ?? 0)
  return Math.min(Math.max(width, 2), 8)
}

function isJson(text: string): boolean {
  if (!text.trimStart().startsWith('{')) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** A value read from YAML, and where in the text each part of it stands. */
export interface PositionedValue {
  readonly value: unknown
  /** Of what a path of keys and indexes leads to, or of the last part there is. Both count from 1. */
  positionOf(path: readonly (string | number)[]): { readonly line: number; readonly column: number }
}

/** Reads one document. `name` is for the error, which says line and column. @throws UsageError MCM_BAD_FILE */
export function readPositioned(text: string, name: string): PositionedValue {
  const counter = new LineCounter()
  const document = parseDocument(text, { lineCounter: counter })
  const at = (offset: number) => {
    const { line, col } = counter.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const [problem] = document.errors
  if (problem) throw notYaml(name, at(problem.pos[0]), problem)
  try {
    // Aliases that multiply are refused by the library.
    const value: unknown = document.toJS()
    return { value, positionOf: (path) => at(offsetOf(document.contents, path)) }
  } catch (cause) {
    throw notYaml(name, at(0), cause)
  }
}

function notYaml(name: string, { line, column }: { line: number; column: number }, cause: unknown) {
  const problem = `${name}:${line}:${column}: this is not YAML: ${firstLine(messageOf(cause))}`
  return new UsageError('MCM_BAD_FILE', problem, { hint: `correct ${name}`, cause })
}

/** Of a member that is there the value counts, unless it is empty; of one that is not, what should hold it. */
function offsetOf(contents: unknown, path: readonly (string | number)[]): number {
  let [node, offset] = [contents, 0]
  for (const part of path) {
    const next = memberOf(node, part)
    if (!next) break
    ;({ node, offset } = next)
  }
  return path.length === 0 ? startOf(contents, 0) : offset
}

function memberOf(
  node: unknown,
  part: string | number,
): { node: unknown; offset: number } | undefined {
  if (isSeq(node) && typeof part === 'number') {
    const item = node.items[part]
    return item === undefined ? undefined : { node: item, offset: startOf(item, 0) }
  }
  if (!isMap(node)) return undefined
  const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(part))
  return pair && { node: pair.value, offset: startOf(pair.value, startOf(pair.key, 0)) }
}

function startOf(node: unknown, otherwise: number): number {
  return isNode(node) && node.range ? node.range[0] : otherwise
}
