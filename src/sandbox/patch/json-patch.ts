/** JSON Patch (RFC 6902) on JSON Pointers (RFC 6901). */
import { isJsonList, isJsonObject, isSameJson, type Json, type JsonObject } from '../json.ts'

/** An operation cannot be done, or a test failed. */
export class PatchError extends Error {}

const MAX_OPERATIONS = 10_000

/** @throws PatchError */
export function applyJsonPatch(document: Json, patch: Json): Json {
  if (!isJsonList(patch)) throw new PatchError('a JSON patch is a list')
  if (patch.length > MAX_OPERATIONS)
    throw new PatchError(
      `The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${patch.length}`,
    )
  return patch.reduce<Json>((current, operation) => applyOperation(current, operation), document)
}

function applyOperation(document: Json, operation: Json): Json {
  if (!isJsonObject(operation)) throw new PatchError('an operation is an object')
  const path = pointer(operation.path)
  switch (operation.op) {
    case 'add':
      return put(document, path, valueIn(operation), 'add')
    case 'replace':
      find(document, path)
      return put(document, path, valueIn(operation), 'replace')
    case 'remove':
      return take(document, path)
    case 'copy':
      return put(document, path, find(document, pointer(operation.from)), 'add')
    case 'move':
      return move(document, pointer(operation.from), path)
    case 'test':
      if (isSameJson(find(document, path), valueIn(operation))) return document
      throw new PatchError(`testing path ${String(operation.path)} failed`)
    default:
      throw new PatchError(`Unexpected kind: ${String(operation.op)}`)
  }
}

function valueIn(operation: JsonObject): Json {
  if (operation.value === undefined) throw new PatchError('the operation has no value')
  return operation.value
}

function pointer(text: Json | undefined): readonly string[] {
  if (text === '') return []
  if (typeof text !== 'string' || !text.startsWith('/'))
    throw new PatchError(`${JSON.stringify(text)} is no JSON pointer`)
  const tokens = text
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'))
  if (tokens.includes('__proto__')) throw new PatchError('the sandbox has no member "__proto__"')
  return tokens
}

function find(document: Json, path: readonly string[]): Json {
  return path.reduce<Json>((current, token) => childOf(current, token), document)
}

function childOf(value: Json, token: string): Json {
  const child = isJsonList(value)
    ? value[indexIn(value, token, value.length - 1)]
    : isJsonObject(value) && Object.hasOwn(value, token)
      ? value[token]
      : undefined
  if (child === undefined) throw new PatchError(`doc is missing path: ${token}: missing value`)
  return child
}

function indexIn(list: readonly Json[], token: string, last: number): number {
  const index = /^(0|[1-9]\d*)$/.test(token) ? Number(token) : Number.NaN
  if (!(index <= last))
    throw new PatchError(`Unable to access invalid index: ${token} of ${list.length}`)
  return index
}

function put(document: Json, path: readonly string[], value: Json, how: 'add' | 'replace'): Json {
  const [token, ...rest] = path
  if (token === undefined) return value
  if (rest.length > 0)
    return withChild(document, token, put(childOf(document, token), rest, value, how))
  if (!isJsonList(document) || how === 'replace') return withChild(document, token, value)
  const index = token === '-' ? document.length : indexIn(document, token, document.length)
  return document.toSpliced(index, 0, value)
}

function withChild(document: Json, token: string, value: Json): Json {
  if (isJsonList(document))
    return document.with(indexIn(document, token, document.length - 1), value)
  if (!isJsonObject(document)) throw new PatchError(`doc is missing path: ${token}`)
  return { ...document, [token]: value }
}

function take(document: Json, path: readonly string[]): Json {
  const [token, ...rest] = path
  if (token === undefined) return null
  const child = childOf(document, token)
  if (rest.length > 0) return withChild(document, token, take(child, rest))
  if (isJsonList(document)) return document.toSpliced(Number(token), 1)
  const { [token]: _, ...others } = document as JsonObject
  return others
}

function move(document: Json, from: readonly string[], to: readonly string[]): Json {
  const isInside = from.length < to.length && from.every((token, index) => token === to[index])
  if (isInside) throw new PatchError('a value cannot be moved into itself')
  return put(take(document, from), to, find(document, from), 'add')
}
