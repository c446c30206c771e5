/**
 * Where the frames of a WebSocket begin and end (RFC 6455 §5.2), for whoever has to put one of its own in
 * between. Knows heads, and the payload of control frames; looks at nothing else and changes nothing.
 */

import type { FrameBounds } from './frame-passage.ts'

/** A control frame in whole, its payload unmasked. */
export interface ControlFrameOfSocket {
  readonly opcode: number
  readonly payload: Buffer
}

export const PING = 0x9
const FIN = 0x80
const PONG = 0xa
export const CLOSE = 0x8
const FIRST_CONTROL = 0x8
const BINARY = 0x2
const MASKED = 0x80
const MAX_HEAD_BYTES = 14
const MAX_CONTROL_BYTES = 125
/** Of a close frame (RFC 6455 §7.4.1). */
export const CLOSE_CODE = { normal: 1000, policyViolation: 1008, internalError: 1011 } as const

/** Follows one direction of a WebSocket. */
export class FrameTracker implements FrameBounds {
  readonly #onControl: (frame: ControlFrameOfSocket) => void
  readonly #head = Buffer.alloc(MAX_HEAD_BYTES)
  #headLength = 0
  /** Bytes of the payload that are still to come. */
  #left = 0
  #control: Buffer | undefined
  #isMidMessage = false

  constructor(onControl: (frame: ControlFrameOfSocket) => void = () => {}) {
    this.#onControl = onControl
  }

  /** Whether everything so far is whole frames. */
  get isAtBoundary(): boolean {
    return this.#headLength === 0 && this.#left === 0
  }

  /** Whether everything so far is whole messages: another one may follow. */
  get isBetweenMessages(): boolean {
    return this.isAtBoundary && !this.#isMidMessage
  }

  /** Bytes of the frame under way that are still to come; unknown, at least 1, within its head. */
  get missingBytes(): number {
    return this.#left > 0 ? this.#left : this.#headLength > 0 ? 1 : 0
  }

  /** Takes the next bytes. Gives how many of them, from the start, end with a whole frame. */
  push(chunk: Buffer): number {
    let whole = 0
    for (let at = 0; at < chunk.length; ) {
      at = this.take(chunk, at)
      if (this.isAtBoundary) whole = at
    }
    return whole
  }

  /** Takes the bytes from `start` to the end of the frame under way, or of the chunk. Gives where that is. */
  take(chunk: Buffer, start: number): number {
    let at = start
    do at = this.#left > 0 ? this.#takePayload(chunk, at) : this.#takeHead(chunk, at)
    while (at < chunk.length && !this.isAtBoundary)
    return at
  }

  #takeHead(chunk: Buffer, start: number): number {
    let at = start
    while (at < chunk.length && (this.#headLength < 2 || this.#headLength < this.#wantedHead())) {
      this.#head[this.#headLength++] = chunk[at++]!
    }
    if (this.#headLength < 2 || this.#headLength < this.#wantedHead()) return at
    this.#left = this.#payloadLength()
    const isControl = (this.#head[0]! & 0x8) !== 0
    this.#control = isControl && this.#left <= MAX_CONTROL_BYTES ? Buffer.alloc(0) : undefined
    if (this.#left === 0) this.#endFrame()
    return at
  }

  #takePayload(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#left)
    if (this.#control) this.#control = Buffer.concat([this.#control, chunk.subarray(at, end)])
    this.#left -= end - at
    if (this.#left === 0) this.#endFrame()
    return end
  }

  #endFrame(): void {
    const opcode = this.#head[0]! & 0xf
    if (opcode < FIRST_CONTROL) this.#isMidMessage = (this.#head[0]! & FIN) === 0
    const payload = this.#control
    const headLength = this.#headLength
    this.#headLength = 0
    this.#control = undefined
    if (!payload) return
    if ((this.#head[1]! & MASKED) !== 0) unmask(payload, this.#head.subarray(headLength - 4))
    this.#onControl({ opcode, payload })
  }

  #wantedHead(): number {
    const length = this.#head[1]! & 0x7f
    const extended = length === 126 ? 2 : length === 127 ? 8 : 0
    return 2 + extended + ((this.#head[1]! & MASKED) === 0 ? 0 : 4)
  }

  #payloadLength(): number {
    const length = this.#head[1]! & 0x7f
    if (length === 126) return this.#head.readUInt16BE(2)
    return length === 127 ? Number(this.#head.readBigUInt64BE(2)) : length
  }
}

/** Whether a frame begins at `start` that is a ping, as far as its bytes until `end` say. */
export function isPing(chunk: Buffer, start: number, end: number): boolean {
  if (chunk[start] !== (FIN | PING)) return false
  return end - start < 2 || (chunk[start + 1]! & 0x7f) <= MAX_CONTROL_BYTES
}

/** What a server answers to a whole ping of a client. */
export function pongTo(ping: Buffer): Buffer {
  let payload: Buffer = Buffer.alloc(0)
  new FrameTracker((frame) => {
    payload = frame.payload
  }).push(ping)
  return pongFrame(payload)
}

/** As a server sends it: unmasked. */
export function pongFrame(payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([FIN | PONG, payload.length]), payload])
}

/** As a server sends it. The reason is cut to what fits. */
export function closeFrame(reason: string, code: number = CLOSE_CODE.internalError): Buffer {
  const text = Buffer.from(reason)
  let length = Math.min(text.length, MAX_CONTROL_BYTES - 2)
  // Not in the middle of a character.
  while (length < text.length && (text[length]! & 0xc0) === 0x80) length -= 1
  const head = Buffer.from([FIN | CLOSE, length + 2, code >> 8, code & 0xff])
  return Buffer.concat([head, text.subarray(0, length)])
}

/** A whole binary message as a server sends it. `payload`: at most 65 535 bytes. */
export function binaryFrame(payload: Buffer): Buffer {
  const { length } = payload
  const isShort = length <= MAX_CONTROL_BYTES
  const size = isShort ? [length] : [126, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([FIN | BINARY, ...size]), payload])
}

function unmask(payload: Buffer, key: Buffer): void {
  for (let index = 0; index < payload.length; index++) payload[index]! ^= key[index & 3]!
}
