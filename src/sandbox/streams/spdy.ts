/**
 * One SPDY/3.1 connection as Kubernetes speaks it (moby/spdystream): streams in both directions over one byte
 * stream, either end of it. There is no flow control but that of the transport: the other side never sends
 * WINDOW_UPDATE, so a stream that is not read holds up the whole connection, as with the real one.
 */
import { Duplex } from 'node:stream'
import {
  type ControlFrame,
  controlFrame,
  type DataFrame,
  dataHead,
  FLAG_FIN,
  FRAME,
  FrameReader,
  STATUS,
} from '../../forward/spdy-frames.ts'
import { HeaderPacker, HeaderUnpacker, type SpdyHeaders } from '../../forward/spdy-headers.ts'

const BUFFERED_BYTES = 256 * 1024
const MAX_STREAMS = 10_000
const MAX_DATA_BYTES = 0xff_ffff

export interface SpdyOptions {
  /** The client's streams are odd, the server's even. */
  readonly role: 'client' | 'server'
  /** Called for a stream the other side opens, before it is replied to; a sentence refuses it. */
  readonly accept?: (stream: SpdyStream) => string | undefined
  /** Called for every accepted stream, after its reply. */
  readonly onStream?: (stream: SpdyStream) => void
}

export class SpdyConnection {
  /** Resolves when the transport is closed. */
  readonly closed: Promise<void>
  readonly #transport: Duplex
  readonly #options: SpdyOptions
  readonly #reader = new FrameReader()
  readonly #packer = new HeaderPacker()
  readonly #unpacker = new HeaderUnpacker()
  readonly #streams = new Map<number, SpdyStream>()
  readonly #stalled = new Set<SpdyStream>()
  readonly #pings = new Map<number, PromiseWithResolvers<void>>()
  #waiting: (() => void)[] = []
  #nextId: number
  #nextPing: number
  #lastReceivedId = 0
  #isClosing = false

  constructor(transport: Duplex, options: SpdyOptions) {
    this.#transport = transport
    this.#options = options
    this.#nextId = options.role === 'client' ? 1 : 2
    this.#nextPing = this.#nextId
    this.closed = new Promise((resolve) => transport.once('close', resolve))
    transport.on('data', (chunk: Buffer) => this.#receive(chunk))
    transport.on('drain', () => this.#release())
    transport.on('error', () => transport.destroy())
    transport.once('end', () => transport.end())
    transport.once('close', () => this.#forgetAll())
    transport.resume()
  }

  /** Opens a stream and waits for the reply. @throws Error when it is refused, or the connection ends */
  open(headers: SpdyHeaders): Promise<SpdyStream> {
    const stream = new SpdyStream(this, this.#nextId, headers)
    this.#nextId += 2
    this.#streams.set(stream.id, stream)
    this.#send(controlFrame(FRAME.SYN_STREAM, 0, [stream.id, 0], this.#headersFrom(headers, true)))
    return stream.replied.then(() => stream)
  }

  /** Resolves when the other side has answered. @throws Error when the connection ends before */
  ping(): Promise<void> {
    const id = this.#nextPing
    this.#nextPing += 2
    const answer = Promise.withResolvers<void>()
    this.#pings.set(id, answer)
    this.#send(controlFrame(FRAME.PING, 0, [id]))
    return answer.promise
  }

  /** Resets every stream, says GOAWAY and ends the transport once that is on its way. */
  close(): void {
    if (this.#isClosing) return
    this.#isClosing = true
    for (const stream of [...this.#streams.values()]) stream.reset()
    this.#send(controlFrame(FRAME.GOAWAY, 0, [this.#lastReceivedId, 0]))
    this.#transport.end()
    // What still comes must be read, or the end of it is never seen.
    this.#stalled.clear()
    this.#transport.resume()
  }

  /** For streams only. `done` is called when more may be written. */
  sendData(stream: number, bytes: Buffer, flags: number, done: () => void): void {
    let isOpen = true
    this.#transport.cork()
    for (let offset = 0; offset === 0 || offset < bytes.length; offset += MAX_DATA_BYTES) {
      const part = bytes.subarray(offset, offset + MAX_DATA_BYTES)
      isOpen = this.#send(dataHead(stream, part.length, flags))
      if (part.length > 0) isOpen = this.#send(part)
    }
    process.nextTick(() => this.#transport.uncork())
    if (isOpen || this.#transport.destroyed) done()
    else this.#waiting.push(done)
  }

  /** For streams only. */
  sendReset(stream: number, status: number): void {
    this.#send(controlFrame(FRAME.RST_STREAM, 0, [stream, status]))
  }

  /** For streams only: it is read again, or gone. */
  unstall(stream: SpdyStream): void {
    if (this.#stalled.delete(stream) && this.#stalled.size === 0) this.#transport.resume()
  }

  /** For streams only. */
  forget(stream: SpdyStream): void {
    this.#streams.delete(stream.id)
    this.unstall(stream)
  }

  #send(bytes: Buffer): boolean {
    if (this.#transport.destroyed || !this.#transport.writable) return false
    return this.#transport.write(bytes)
  }

  #release(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const done of waiting) done()
  }

  #headersFrom(headers: SpdyHeaders, isSynStream: boolean): Buffer {
    const block = this.#packer.pack(headers)
    // Priority and credential slot, of no use here.
    return isSynStream ? Buffer.concat([Buffer.alloc(2), block]) : block
  }

  #receive(chunk: Buffer): void {
    try {
      this.#reader.push(chunk)
      for (let frame = this.#reader.next(); frame; frame = this.#reader.next()) {
        if (frame.kind === 'data') this.#receiveData(frame)
        else this.#receiveControl(frame)
      }
    } catch {
      // Nothing that follows damage in the framing can be understood.
      this.#transport.destroy()
    }
  }

  #receiveData({ stream: id, payload, flags }: DataFrame): void {
    const stream = this.#streams.get(id)
    if (!stream) return
    if (!stream.receive(payload, (flags & FLAG_FIN) !== 0)) {
      this.#stalled.add(stream)
      this.#transport.pause()
    }
  }

  #receiveControl({ type, payload, flags }: ControlFrame): void {
    const id = payload.length >= 4 ? payload.readUInt32BE(0) & 0x7fff_ffff : 0
    const stream = this.#streams.get(id)
    if (type === FRAME.SYN_STREAM) this.#receiveStream(id, payload.subarray(10), flags)
    else if (type === FRAME.PING) this.#receivePing(id)
    else if (type === FRAME.RST_STREAM) stream?.receiveReset()
    else if (type === FRAME.SYN_REPLY || type === FRAME.HEADERS) {
      // Unread headers would put the other side's compression out of step with ours.
      this.#unpacker.unpack(payload.subarray(4))
      if (type === FRAME.SYN_REPLY) stream?.receiveReply()
      if (flags & FLAG_FIN) stream?.receive(Buffer.alloc(0), true)
    } else if (type === FRAME.GOAWAY) this.#isClosing = true
  }

  #receiveStream(id: number, block: Buffer, flags: number): void {
    const headers = this.#unpacker.unpack(block)
    const isTheirs = id % 2 === (this.#options.role === 'server' ? 1 : 0)
    if (this.#isClosing) return
    if (!isTheirs || id <= this.#lastReceivedId || this.#streams.size >= MAX_STREAMS) {
      this.sendReset(id, STATUS.PROTOCOL_ERROR)
      return
    }
    this.#lastReceivedId = id
    const stream = new SpdyStream(this, id, headers)
    if (!this.#options.onStream || this.#options.accept?.(stream) !== undefined) {
      this.sendReset(id, STATUS.CANCEL)
      return
    }
    this.#streams.set(id, stream)
    this.#send(controlFrame(FRAME.SYN_REPLY, 0, [id], this.#headersFrom({}, false)))
    if (flags & FLAG_FIN) stream.receive(Buffer.alloc(0), true)
    this.#options.onStream(stream)
  }

  #receivePing(id: number): void {
    const isOurs = id % 2 === (this.#options.role === 'client' ? 1 : 0)
    if (!isOurs) return void this.#send(controlFrame(FRAME.PING, 0, [id]))
    this.#pings.get(id)?.resolve()
    this.#pings.delete(id)
  }

  #forgetAll(): void {
    this.#isClosing = true
    for (const stream of [...this.#streams.values()]) stream.receiveReset()
    for (const ping of this.#pings.values()) ping.reject(new Error('the connection has ended'))
    this.#release()
  }
}

/** One stream: a Duplex whose end is a FIN, its destruction a reset. */
export class SpdyStream extends Duplex {
  readonly id: number
  readonly headers: SpdyHeaders
  /** Resolves at the reply. @throws Error when it was reset before */
  readonly replied: Promise<void>
  readonly #connection: SpdyConnection
  readonly #reply = Promise.withResolvers<void>()
  #isOver = false
  #hasFinished = false

  constructor(connection: SpdyConnection, id: number, headers: SpdyHeaders) {
    super({ readableHighWaterMark: BUFFERED_BYTES, writableHighWaterMark: BUFFERED_BYTES })
    this.#connection = connection
    this.id = id
    this.headers = headers
    this.replied = this.#reply.promise
    this.replied.catch(() => {})
    // Who cares for a reset sees the end of the stream; nobody's program may fall for it.
    this.on('error', () => {})
  }

  /** Ends both directions at once; what was not read is lost to the other side. */
  reset(): void {
    this.destroy()
  }

  /** For the connection. @returns whether more is wanted */
  receive(payload: Buffer, isLast: boolean): boolean {
    if (this.destroyed || this.#isOver) return true
    const wantsMore = payload.length === 0 || this.push(payload)
    if (isLast) this.push(null)
    return wantsMore || isLast
  }

  /** For the connection. What came before can still be read. */
  receiveReset(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#reply.reject(new Error('the stream was reset'))
    if (!this.readableEnded && !this.destroyed) this.push(null)
    this.#connection.forget(this)
    this.emit('reset')
    this.end()
  }

  /** For the connection. */
  receiveReply(): void {
    this.#reply.resolve()
  }

  override _read(): void {
    this.#connection.unstall(this)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    if (this.#isOver) done(new Error('the stream was reset'))
    else this.#connection.sendData(this.id, chunk, 0, done)
  }

  override _final(done: () => void): void {
    this.#hasFinished = true
    if (this.#isOver) done()
    else this.#connection.sendData(this.id, Buffer.alloc(0), FLAG_FIN, done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const isComplete = this.#hasFinished && this.readableEnded
    if (!this.#isOver && !isComplete) this.#connection.sendReset(this.id, STATUS.CANCEL)
    this.#isOver = true
    this.#reply.reject(new Error('the stream was reset'))
    this.#connection.forget(this)
    done(error)
  }
}
