/** The frames of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00 §2.2, §2.6), as bytes and back. */

import { ByteQueue } from './byte-queue.ts'

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
