/** The frames of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00 §2.2, §2.6), as bytes and back. */

import { ByteQueue } from './byte-queue.ts'
import type { FrameBounds } from './frame-passage.ts'

export const FRAME = {
  SYN_STREAM: 1,
  SYN_REPLY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  HEADERS: 8,
  WINDOW_UPDATE: 9,
} as const
export const FLAG_FIN = 1
/** RST_STREAM. */
export const STATUS = { PROTOCOL_ERROR: 1, REFUSED_STREAM: 3, CANCEL: 5 } as const

export const HEAD_BYTES = 8
const CONTROL_BIT = 0x8000_0000
const VERSION = 3
const MAX_LENGTH = 0xff_ffff
/** Of a control frame; a data frame may have all its 24 bits. */
const MAX_CONTROL_LENGTH = 64 * 1024

export interface DataFrame {
  readonly kind: 'data'
  readonly stream: number
  readonly flags: number
  readonly payload: Buffer
}

export interface ControlFrame {
  readonly kind: 'control'
  readonly type: number
  readonly flags: number
  readonly payload: Buffer
}

/** The head of a data frame; the payload, at most 16 MiB - 1, follows it. */
export function dataHead(stream: number, length: number, flags: number): Buffer {
  return headOf(stream, length, flags)
}

/** A control frame of a type, its payload the numbers, 32 bits each, and then the bytes. */
export function controlFrame(
  type: number,
  flags: number,
  numbers: readonly number[],
  bytes: Buffer = Buffer.alloc(0),
): Buffer {
  const fixed = Buffer.alloc(4 * numbers.length)
  for (const [index, number] of numbers.entries()) fixed.writeUInt32BE(number >>> 0, 4 * index)
  const first = CONTROL_BIT + VERSION * 0x1_0000 + type
  return Buffer.concat([headOf(first, fixed.length + bytes.length, flags), fixed, bytes])
}

function headOf(first: number, length: number, flags: number): Buffer {
  if (length > MAX_LENGTH) throw new RangeError(`a frame of ${length} bytes`)
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt32BE(first, 0)
  head.writeUInt32BE(flags * 0x100_0000 + length, 4)
  return head
}

/**
 * Whether a frame begins at `start` that is a client's PING (§2.6.5), as far as its bytes until `end` say: moby's
 * spdystream writes a head field by field. An answer is the same frame; a client's own have odd numbers.
 */
export function isPing(chunk: Buffer, start: number, end: number): boolean {
  const length = Math.min(end - start, HEAD_BYTES)
  if (PING_HEAD.compare(chunk, start, start + length, 0, length) !== 0) return false
  return end - start < PING_BYTES || chunk[start + PING_BYTES - 1]! % 2 === 1
}

/** Follows one direction: knows heads, and nothing else. */
export class FrameTracker implements FrameBounds {
  readonly #head = Buffer.alloc(HEAD_BYTES)
  #headLength = 0
  /** Bytes of the payload that are still to come. */
  #left = 0

  get isAtBoundary(): boolean {
    return this.#left === 0 && this.#headLength === 0
  }

  /** Bytes of the frame under way, or of the next one's head, that are still to come. */
  get missingBytes(): number {
    return this.#left > 0 ? this.#left : HEAD_BYTES - this.#headLength
  }

  take(chunk: Buffer, start: number): number {
    let at = start
    do {
      const count = Math.min(this.missingBytes, chunk.length - at)
      if (this.#left > 0) this.#left -= count
      else this.#takeHead(chunk.subarray(at, at + count))
      at += count
    } while (at < chunk.length && !this.isAtBoundary)
    return at
  }

  #takeHead(part: Buffer): void {
    part.copy(this.#head, this.#headLength)
    this.#headLength += part.length
    if (this.#headLength < HEAD_BYTES) return
    this.#headLength = 0
    this.#left = this.#head.readUInt32BE(4) & MAX_LENGTH
  }
}

const PING_BYTES = HEAD_BYTES + 4
const PING_HEAD = controlFrame(FRAME.PING, 0, [0]).subarray(0, HEAD_BYTES)

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  readonly #bytes = new ByteQueue()

  push(chunk: Buffer): void {
    this.#bytes.push(chunk)
  }

  /** The next whole frame. @throws Error for another version, or a control frame over 64 KiB */
  next(): DataFrame | ControlFrame | undefined {
    if (this.#bytes.length < HEAD_BYTES) return undefined
    const head = this.#bytes.peek(HEAD_BYTES)
    const [first, second] = [head.readUInt32BE(0), head.readUInt32BE(4)]
    const [flags, length] = [second >>> 24, second & MAX_LENGTH]
    if (first >= CONTROL_BIT) requireControl(first, length)
    if (this.#bytes.length < HEAD_BYTES + length) return undefined
    this.#bytes.take(HEAD_BYTES)
    const payload = this.#bytes.take(length)
    if (first < CONTROL_BIT) return { kind: 'data', stream: first, flags, payload }
    return { kind: 'control', type: first & 0xffff, flags, payload }
  }
}

function requireControl(first: number, length: number): void {
  const version = (first - CONTROL_BIT) >>> 16
  if (version !== VERSION) throw new Error(`SPDY version ${version}`)
  if (length > MAX_CONTROL_LENGTH) throw new Error(`a control frame of ${length} bytes`)
}
