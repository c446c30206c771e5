/**
 * One WebSocket (RFC 6455) after its handshake, either end of it. By hand, because the messages of Kubernetes
 * want backpressure both ways and a subprotocol with a slash in its name, which libraries refuse.
 */
import { createHash } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { ByteQueue } from '../../forward/byte-queue.ts'
import type { World } from '../../world.ts'

/** §1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
/** golang.org/x/net/websocket `DefaultMaxPayloadBytes`. */
const MAX_MESSAGE_BYTES = 32 * 1024 * 1024
const OPCODE = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const
const NORMAL = 1000
const PROTOCOL_ERROR = 1002

export interface WebSocketOptions {
  /** A client masks what it sends, with bytes of `random`; a server is sent masked frames only. */
  readonly role: { readonly client: World['random'] } | 'server'
  /** Bytes that came behind the handshake. */
  readonly head?: Buffer
  readonly onMessage: (message: Buffer, isText: boolean) => void
}

/** The `Sec-WebSocket-Accept` for a key (§4.2.2). */
export function acceptOf(key: string): string {
  return createHash('sha1')
    .update(key + GUID)
    .digest('base64')
}

export class WebSocketConnection {
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>
  readonly #socket: Duplex
  readonly #options: WebSocketOptions
  readonly #bytes = new ByteQueue()
  #parts: Buffer[] = []
  #length = 0
  #opcode = 0
  #isClosing = false

  constructor(socket: Duplex, options: WebSocketOptions) {
    this.#socket = socket
    this.#options = options
    this.closed = new Promise((resolve) => socket.once('close', resolve))
    socket.on('error', () => socket.destroy())
    socket.once('end', () => socket.end())
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    if (options.head?.length) socket.unshift(options.head)
    socket.resume()
  }

  /** @returns whether more may be written at once; otherwise wait for `drained` */
  send(message: Buffer | string): boolean {
    if (this.#isClosing) return true
    const isText = typeof message === 'string'
    return this.#write(isText ? OPCODE.TEXT : OPCODE.BINARY, Buffer.from(message))
  }

  /** Resolves when more may be sent, or the socket is closed. */
  async drained(): Promise<void> {
    const socket = this.#socket
    if (!socket.writableNeedDrain || socket.destroyed) return
    await new Promise<void>((resolve) => {
      const go = () => {
        socket.removeListener('drain', go)
        socket.removeListener('close', go)
        resolve()
      }
      socket.on('drain', go)
      socket.on('close', go)
    })
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Says CLOSE and ends the socket. */
  close(code = NORMAL): void {
    if (this.#isClosing) return
    this.#isClosing = true
    const payload = Buffer.alloc(2)
    payload.writeUInt16BE(code)
    this.#write(OPCODE.CLOSE, payload)
    this.#socket.end()
    this.#socket.resume()
  }

  #write(opcode: number, payload: Buffer): boolean {
    if (this.#socket.destroyed || !this.#socket.writable) return true
    const { role } = this.#options
    const mask = role === 'server' ? undefined : Buffer.from(role.client(4))
    this.#socket.cork()
    this.#socket.write(headOf(opcode, payload.length, mask))
    const isOpen = this.#socket.write(mask ? masked(payload, mask) : payload)
    process.nextTick(() => this.#socket.uncork())
    return isOpen
  }

  #receive(chunk: Buffer): void {
    this.#bytes.push(chunk)
    while (!this.#isClosing) {
      const frame = readFrame(this.#bytes)
      if (frame === 'incomplete') return
      if (frame === 'damaged' || frame.isMasked !== (this.#options.role === 'server'))
        this.close(PROTOCOL_ERROR)
      else this.#receiveFrame(frame)
    }
  }

  #receiveFrame({ opcode, isFinal, payload }: Frame): void {
    if (opcode === OPCODE.PING) this.#write(OPCODE.PONG, payload)
    else if (opcode === OPCODE.CLOSE) this.close()
    else if (opcode !== OPCODE.PONG) this.#receivePart(opcode, isFinal, payload)
  }

  #receivePart(opcode: number, isFinal: boolean, payload: Buffer): void {
    const isContinued = this.#parts.length > 0
    if (!isContinued) this.#opcode = opcode
    this.#parts.push(payload)
    this.#length += payload.length
    const isMisplaced = isContinued !== (opcode === OPCODE.CONTINUATION)
    if (isMisplaced || this.#length > MAX_MESSAGE_BYTES) this.close(PROTOCOL_ERROR)
    else if (isFinal) this.#deliver()
  }

  #deliver(): void {
    const message = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)
    this.#parts = []
    this.#length = 0
    this.#options.onMessage(message, this.#opcode === OPCODE.TEXT)
  }
}

interface Frame {
  readonly opcode: number
  readonly isFinal: boolean
  readonly isMasked: boolean
  readonly payload: Buffer
}

const KNOWN = new Set<number>(Object.values(OPCODE))

/** §5.2. */
function readFrame(bytes: ByteQueue): Frame | 'incomplete' | 'damaged' {
  if (bytes.length < 2) return 'incomplete'
  const [first, second] = bytes.peek(2) as unknown as [number, number]
  const opcode = first & 0x0f
  const short = second & 0x7f
  const isFinal = (first & 0x80) !== 0
  if (first & 0x70 || !KNOWN.has(opcode)) return 'damaged'
  if (opcode >= OPCODE.CLOSE && (short > 125 || !isFinal)) return 'damaged'
  const extended = short === 126 ? 2 : short === 127 ? 8 : 0
  const isMasked = (second & 0x80) !== 0
  const start = 2 + extended + (isMasked ? 4 : 0)
  if (bytes.length < start) return 'incomplete'
  const head = bytes.peek(start)
  const size = extended === 0 ? short : Number(`0x${head.toString('hex', 2, 2 + extended)}`)
  if (size > MAX_MESSAGE_BYTES) return 'damaged'
  if (bytes.length < start + size) return 'incomplete'
  bytes.take(start)
  const payload = bytes.take(size)
  const plain = isMasked ? masked(payload, head.subarray(start - 4)) : payload
  return { opcode, isFinal, isMasked, payload: plain }
}

function headOf(opcode: number, length: number, mask: Buffer | undefined): Buffer {
  const extended = length < 126 ? 0 : length < 0x1_0000 ? 2 : 8
  const head = Buffer.alloc(2 + extended)
  head[0] = 0x80 | opcode
  head[1] = (mask ? 0x80 : 0) | (extended === 0 ? length : extended === 2 ? 126 : 127)
  if (extended === 2) head.writeUInt16BE(length, 2)
  if (extended === 8) head.writeBigUInt64BE(BigInt(length), 2)
  return mask ? Buffer.concat([head, mask]) : head
}

/** §5.3; its own inverse. Four bytes at once, which bulk data needs. */
function masked(payload: Buffer, mask: Buffer): Buffer {
  const words = new Uint32Array(Math.ceil(payload.length / 4))
  const result = Buffer.from(words.buffer, 0, payload.length)
  payload.copy(result)
  const word = new Uint32Array(Uint8Array.from(mask).buffer)[0]!
  for (let index = 0; index < words.length; index += 1) words[index]! ^= word
  return result
}
