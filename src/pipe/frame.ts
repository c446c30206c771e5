/** Frames of a pipe on a carrier (docs/PROTOCOL.md §9.1): a fixed head and a payload, nothing else. */

export const FRAME = {
  data: 0,
  ack: 1,
  fin: 2,
  reset: 3,
  closed: 4,
  ping: 5,
  pong: 6,
  open: 16,
  opened: 17,
  resume: 18,
  challenge: 19,
  proof: 20,
  refused: 21,
} as const

export const PIPE_VERSION = 1
export const HEAD_BYTES = 9
export const OFFSET_BYTES = 6
/** Of DATA. */
export const MAX_PAYLOAD_BYTES = 65_535
/** Of everything else; the longest is a replica's name. */
const MAX_CONTROL_BYTES = 253
const TYPES: ReadonlySet<number> = new Set(Object.values(FRAME))

/** A frame that is not DATA, whole. */
export interface ControlFrame {
  readonly type: number
  readonly offset: number
  readonly payload: Buffer
}

/** What a carrier brought cannot be: the carrier is of no more use, the pipe may be. */
export class CarrierFault extends Error {
  override readonly name = 'CarrierFault'
}

/** The head of a frame. `offset` below 2^48, `length` of the payload that follows. */
export function frameHead(type: number, offset: number, length: number): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES)
  writeHead(head, type, offset, length)
  return head
}

/** A whole frame in one piece. */
export function frame(type: number, offset = 0, payload: Uint8Array = EMPTY): Buffer {
  const whole = Buffer.allocUnsafe(HEAD_BYTES + payload.length)
  writeHead(whole, type, offset, payload.length)
  whole.set(payload, HEAD_BYTES)
  return whole
}

const EMPTY = new Uint8Array(0)

function writeHead(target: Buffer, type: number, offset: number, length: number): void {
  target[0] = type
  target.writeUIntBE(offset, 1, OFFSET_BYTES)
  target.writeUInt16BE(length, 1 + OFFSET_BYTES)
}

export function offsetBytes(offset: number): Buffer {
  const bytes = Buffer.allocUnsafe(OFFSET_BYTES)
  bytes.writeUIntBE(offset, 0, OFFSET_BYTES)
  return bytes
}

/** Where the reader's finds go. Either may throw a `CarrierFault`. */
export interface FrameSink {
  /** A piece of a DATA frame and the offset of its first byte, as soon as it is there. */
  onData(offset: number, piece: Buffer): void
  onFrame(frame: ControlFrame): void
}

/** Takes frames out of a byte stream. DATA is passed on in the pieces it came in, uncopied. */
export class FrameReader {
  readonly #head = Buffer.allocUnsafe(HEAD_BYTES)
  #headLength = 0
  #type: number = FRAME.data
  #offset = 0
  /** Bytes of the payload still to come. */
  #left = 0
  #control: Buffer[] = []
  #isStopped = false

  /** @throws CarrierFault what came is no frame, and whatever the sink throws */
  push(chunk: Buffer, sink: FrameSink): void {
    let at = 0
    while (at < chunk.length && !this.#isStopped) {
      at = this.#headLength < HEAD_BYTES ? this.#readHead(chunk, at) : at
      if (this.#headLength < HEAD_BYTES) return
      at = this.#readPayload(chunk, at, sink)
    }
  }

  /** What is left is not looked at any more. */
  stop(): void {
    this.#isStopped = true
  }

  #readHead(chunk: Buffer, at: number): number {
    const count = Math.min(HEAD_BYTES - this.#headLength, chunk.length - at)
    chunk.copy(this.#head, this.#headLength, at, at + count)
    this.#headLength += count
    if (this.#headLength === HEAD_BYTES) this.#begin()
    return at + count
  }

  #begin(): void {
    this.#type = this.#head[0]!
    this.#offset = this.#head.readUIntBE(1, OFFSET_BYTES)
    this.#left = this.#head.readUInt16BE(1 + OFFSET_BYTES)
    if (!TYPES.has(this.#type)) throw new CarrierFault(`a frame of type ${this.#type}`)
    if (this.#type === FRAME.data && this.#left === 0) throw new CarrierFault('DATA without data')
    if (this.#type !== FRAME.data && this.#left > MAX_CONTROL_BYTES)
      throw new CarrierFault(`a frame of type ${this.#type} with ${this.#left} bytes`)
  }

  #readPayload(chunk: Buffer, at: number, sink: FrameSink): number {
    const count = Math.min(this.#left, chunk.length - at)
    const piece = chunk.subarray(at, at + count)
    const { type, offset } = { type: this.#type, offset: this.#offset }
    this.#left -= count
    if (this.#left === 0) this.#headLength = 0
    if (type === FRAME.data) {
      this.#offset += count
      if (count > 0) sink.onData(offset, piece)
      return at + count
    }
    this.#control.push(piece)
    if (this.#left > 0) return at + count
    const payload = Buffer.concat(this.#control)
    this.#control = []
    sink.onFrame({ type, offset, payload })
    return at + count
  }
}
