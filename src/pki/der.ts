/**
 * DER (X.690) as strict as X.509 wants it: definite lengths in their shortest form, single-byte tags,
 * nothing left over. Reading certificates ourselves, byte by byte, is what keeps a name from meaning
 * one thing to us and another to a library's printed string (CVE-2021-44531 and its family).
 */

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

/** The bytes are not the DER they should be. Doors turn it into an error of a family. */
export class DerError extends Error {}

/** One value: its tag byte, its content, and the whole encoding including tag and length. */
export interface DerValue {
  readonly tag: number
  readonly content: Buffer
  readonly raw: Buffer
}

/** Walks the values inside one constructed value, in order; every method throws DerError. */
export class DerReader {
  #rest: Buffer

  constructor(content: Uint8Array) {
    this.#rest = Buffer.from(content.buffer, content.byteOffset, content.byteLength)
  }

  /** Whether nothing is left. */
  get isEmpty(): boolean {
    return this.#rest.length === 0
  }

  /** The next value, whatever its tag. */
  next(): DerValue {
    const value = firstValue(this.#rest)
    this.#rest = this.#rest.subarray(value.raw.length)
    return value
  }

  /** The next value, which must have this tag. */
  take(tag: number): DerValue {
    const value = this.next()
    if (value.tag !== tag) throw new DerError(`tag ${hex(value.tag)} where ${hex(tag)} must be`)
    return value
  }

  /** The next value when it has this tag, else undefined and nothing is consumed. */
  takeIf(tag: number): DerValue | undefined {
    return this.#rest[0] === tag ? this.next() : undefined
  }

  /** A reader of the next value's content; the value must have this tag. */
  enter(tag: number): DerReader {
    return new DerReader(this.take(tag).content)
  }

  /** Nothing may follow. */
  end(): void {
    if (!this.isEmpty) throw new DerError(`${this.#rest.length} bytes too many`)
  }
}

/** The one value these bytes are. @throws DerError also when bytes follow it */
export function readDer(bytes: Uint8Array, tag: number): DerValue {
  const reader = new DerReader(bytes)
  const value = reader.take(tag)
  reader.end()
  return value
}

function firstValue(bytes: Buffer): DerValue {
  const tag = bytes[0]
  if (tag === undefined) throw new DerError('it ends too early')
  if ((tag & 0x1f) === 0x1f) throw new DerError('a tag of several bytes')
  const { length, headerBytes } = readLength(bytes)
  const end = headerBytes + length
  if (end > bytes.length) throw new DerError('a value is longer than its container')
  return { tag, content: bytes.subarray(headerBytes, end), raw: bytes.subarray(0, end) }
}

function readLength(bytes: Buffer): { length: number; headerBytes: number } {
  const first = bytes[1]
  if (first === undefined) throw new DerError('it ends too early')
  if (first < 0x80) return { length: first, headerBytes: 2 }
  const lengthBytes = first & 0x7f
  if (lengthBytes < 1 || lengthBytes > 3 || bytes.length < 2 + lengthBytes)
    throw new DerError('a length that is indefinite or too large')
  const length = bytes.readUIntBE(2, lengthBytes)
  if (length < 0x80 || length < 2 ** (8 * (lengthBytes - 1)))
    throw new DerError('a length that is not in its shortest form')
  return { length, headerBytes: 2 + lengthBytes }
}

/** An OBJECT IDENTIFIER's content as dotted numbers. */
export function readObjectIdentifier(content: Buffer): string {
  const arcs: number[] = []
  let arc = 0
  let isInside = false
  for (const byte of content) {
    if (!isInside && byte === 0x80) throw new DerError('an object identifier with padding')
    arc = arc * 128 + (byte & 0x7f)
    if (arc > 2 ** 32) throw new DerError('an object identifier that is too large')
    isInside = byte >= 0x80
    if (isInside) continue
    arcs.push(arc)
    arc = 0
  }
  const [first, ...rest] = arcs
  if (isInside || first === undefined) throw new DerError('an unfinished object identifier')
  const root = Math.min(2, Math.floor(first / 40))
  return [root, first - root * 40, ...rest].join('.')
}

/** A BOOLEAN's content. DER knows 00 and FF only. */
export function readBoolean(content: Buffer): boolean {
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff))
    throw new DerError('a boolean that is neither 00 nor FF')
  return content[0] === 0xff
}

/** A BIT STRING's content, which must be whole bytes. */
export function readWholeBytes(content: Buffer): Buffer {
  if (content[0] !== 0) throw new DerError('a bit string that is not whole bytes')
  return content.subarray(1)
}

/** UTCTime or GeneralizedTime in the forms of RFC 5280 §4.1.2.5: seconds, and Z. */
export function readTime(value: DerValue): Date {
  const text = value.content.toString('latin1')
  const full =
    value.tag === TAG.utcTime ? `${Number(text.slice(0, 2)) < 50 ? 20 : 19}${text}` : text
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(full)
  const isTime = value.tag === TAG.utcTime || value.tag === TAG.generalizedTime
  if (!isTime || !match) throw new DerError(`a time that is none: ${JSON.stringify(text)}`)
  const [, year, month, day, hour, minute, second] = match
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`
  const time = new Date(iso)
  if (Number.isNaN(time.getTime()) || time.toISOString() !== iso)
    throw new DerError(`a time that does not exist: ${text}`)
  return time
}

/** One encoded value: tag, shortest length, contents. Contents up to 64 KiB. */
export function derValue(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents)
  const { length } = content
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), content])
  if (length < 0x100) return Buffer.concat([Buffer.of(tag, 0x81, length), content])
  if (length < 0x10000)
    return Buffer.concat([Buffer.of(tag, 0x82, length >> 8, length & 0xff), content])
  throw new DerError('a value too large to write')
}

function hex(tag: number): string {
  return tag.toString(16).padStart(2, '0')
}
