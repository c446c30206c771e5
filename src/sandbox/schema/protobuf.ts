/**
 * Reads Kubernetes' protobuf (apimachinery `pkg/runtime/serializer/protobuf/protobuf.go`): kubectl's
 * typed clients send `auth can-i`, `create token` and their like in it. Answers are always JSON, which
 * those clients accept.
 */
import type { Json, JsonObject } from '../json.ts'
import { type Field, type FieldType, kindType, type StructType, structType } from './types.ts'

const MAGIC = Buffer.from('k8s\0', 'latin1')
const MAX_DEPTH = 64

/** The bytes are not what they claim to be. */
export class ProtobufError extends Error {}

/** An object out of its envelope, undefined when its kind is not in the table. @throws ProtobufError */
export function readProtobuf(body: Buffer): JsonObject | undefined {
  if (!body.subarray(0, 4).equals(MAGIC))
    throw new ProtobufError('provided data does not appear to be a protobuf message')
  const envelope = new Map(
    [...entries(body.subarray(4))].map(({ number, value }) => [number, value]),
  )
  const typeMeta = new Map(
    [...entries(bytesOf(envelope.get(1)))].map(({ number, value }) => [number, text(value)]),
  )
  const [apiVersion = '', kind = ''] = [typeMeta.get(1), typeMeta.get(2)]
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion]
  const type = kindType(group!, version!, kind)
  return type && { apiVersion, kind, ...readStruct(bytesOf(envelope.get(2)), type, 0) }
}

type Wire = bigint | Buffer

interface Entry {
  readonly number: number
  readonly value: Wire
}

function* entries(bytes: Buffer): Generator<Entry> {
  let offset = 0
  while (offset < bytes.length) {
    const [tag, afterTag] = varint(bytes, offset)
    const [value, next] = wireValue(bytes, afterTag, Number(tag & 7n))
    offset = next
    yield { number: Number(tag >> 3n), value }
  }
}

function wireValue(bytes: Buffer, offset: number, wireType: number): [Wire, number] {
  if (wireType === 0) return varint(bytes, offset)
  const [length, start] = lengthOf(bytes, offset, wireType)
  if (start + length > bytes.length) throw new ProtobufError('unexpected EOF')
  return [bytes.subarray(start, start + length), start + length]
}

function lengthOf(bytes: Buffer, offset: number, wireType: number): [number, number] {
  if (wireType === 1) return [8, offset]
  if (wireType === 5) return [4, offset]
  if (wireType !== 2) throw new ProtobufError(`proto: illegal wireType ${wireType}`)
  const [length, start] = varint(bytes, offset)
  if (length > BigInt(bytes.length)) throw new ProtobufError('unexpected EOF')
  return [Number(length), start]
}

function varint(bytes: Buffer, offset: number): [bigint, number] {
  let value = 0n
  for (let index = 0; index < 10; index++) {
    const byte = bytes[offset + index]
    if (byte === undefined) throw new ProtobufError('unexpected EOF')
    value |= BigInt(byte & 127) << BigInt(7 * index)
    if (byte < 128) return [BigInt.asUintN(64, value), offset + index + 1]
  }
  throw new ProtobufError('proto: integer overflow')
}

function readStruct(bytes: Buffer, type: StructType, depth: number): JsonObject {
  if (depth > MAX_DEPTH) throw new ProtobufError('the message is nested too deeply')
  const object: Record<string, Json> = Object.create(null)
  const byNumber = new Map(type.ownFields.map((field) => [field.number, field]))
  for (const { number, value } of entries(bytes)) {
    const field = byNumber.get(number)
    if (field) addField(object, field, value, depth)
  }
  return { ...object }
}

function addField(object: Record<string, Json>, field: Field, wire: Wire, depth: number): void {
  const { name, type } = field
  if (name === '-') Object.assign(object, readValue(type, wire, depth))
  else if (type.form === 'list')
    object[name] = [
      ...((object[name] as Json[] | undefined) ?? []),
      readValue(type.of, wire, depth),
    ]
  else if (type.form === 'map')
    object[name] = {
      ...(object[name] as JsonObject | undefined),
      ...readPair(type.of, wire, depth),
    }
  else object[name] = readValue(type, wire, depth)
}

function readPair(of: FieldType, wire: Wire, depth: number): JsonObject {
  const pair = new Map([...entries(bytesOf(wire))].map(({ number, value }) => [number, value]))
  const key = pair.has(1) ? text(pair.get(1)) : ''
  return { [key]: readValue(of, pair.get(2) ?? Buffer.alloc(0), depth) }
}

function readValue(type: FieldType, wire: Wire, depth: number): Json {
  if (type.form === 'struct') return readStruct(bytesOf(wire), structType(type.name), depth + 1)
  if (type.form === 'scalar') return readScalar(type.name, wire)
  throw new ProtobufError('a list of lists has no protobuf form')
}

function readScalar(name: string, wire: Wire): Json {
  switch (name) {
    case 'string':
      return text(wire)
    case 'bool':
      return wire !== 0n
    case 'int32':
    case 'int64':
      return Number(BigInt.asIntN(64, integer(wire)))
    case 'float64':
      return bytesOf(wire).readDoubleLE()
    case 'bytes':
      return bytesOf(wire).toString('base64')
    case 'strings':
      return [...entries(bytesOf(wire))].map(({ value }) => text(value))
    default:
      return readMessage(name, bytesOf(wire))
  }
}

/** Messages with a JSON form of their own. */
function readMessage(name: string, bytes: Buffer): Json {
  const fields = new Map([...entries(bytes)].map(({ number, value }) => [number, value]))
  const number = (index: number) => Number(BigInt.asIntN(64, integer(fields.get(index) ?? 0n)))
  if (name === 'quantity') return text(fields.get(1))
  if (name === 'raw' || name === 'fields') return parseJson(bytesOf(fields.get(1)))
  if (name === 'intorstring') return number(1) === 0 ? number(2) : text(fields.get(3))
  if (name === 'duration') return `${number(1) / 1e9}s`
  return bytes.length === 0 ? null : timeText(name, number(1), number(2))
}

function timeText(name: string, seconds: number, nanoseconds: number): string {
  const whole = new Date(seconds * 1000).toISOString().slice(0, 19)
  if (name === 'time') return `${whole}Z`
  return `${whole}.${String(Math.floor(nanoseconds / 1000)).padStart(6, '0')}Z`
}

function parseJson(bytes: Buffer): Json {
  if (bytes.length === 0) return null
  try {
    return JSON.parse(bytes.toString('utf8')) as Json
  } catch {
    throw new ProtobufError('an embedded object is not JSON')
  }
}

function integer(wire: Wire | undefined): bigint {
  if (typeof wire !== 'bigint') throw new ProtobufError('proto: a number was expected')
  return wire
}

function bytesOf(wire: Wire | undefined): Buffer {
  if (wire === undefined) return Buffer.alloc(0)
  if (typeof wire === 'bigint') throw new ProtobufError('proto: bytes were expected')
  return wire
}

function text(wire: Wire | undefined): string {
  return bytesOf(wire).toString('utf8')
}
