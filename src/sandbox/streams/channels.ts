/**
 * Channels over one WebSocket (k8s.io/streaming `pkg/httpstream/wsstream/conn.go`): the first byte of a message is
 * its channel. Since v5 a message of 255 and a channel closes that channel from the client's side.
 */
import { Duplex } from 'node:stream'
import { WebSocketConnection } from './websocket.ts'

const CLOSE_SIGNAL = 255
const ZERO = 0x30
const BUFFERED_BYTES = 256 * 1024

export interface ChannelOptions {
  /** Text in base64 instead of bytes. */
  readonly isBase64: boolean
  readonly hasCloseSignal: boolean
  /** What each channel is for; data for one that is not read is dropped. */
  readonly channels: readonly { readonly reads: boolean }[]
}

/** The channels of a WebSocket that has just been switched to. */
export class Channels {
  readonly closed: Promise<void>
  readonly all: readonly Channel[]
  readonly #websocket: WebSocketConnection
  readonly #options: ChannelOptions
  readonly #stalled = new Set<Channel>()

  constructor(socket: Duplex, head: Buffer, options: ChannelOptions) {
    this.#options = options
    this.all = options.channels.map(({ reads }, index) => new Channel(this, index, reads))
    const onMessage = (message: Buffer) => this.#receive(message)
    this.#websocket = new WebSocketConnection(socket, { role: 'server', head, onMessage })
    this.closed = this.#websocket.closed
    void this.closed.then(() => {
      for (const channel of this.all) channel.destroy()
    })
  }

  close(): void {
    this.#websocket.close()
  }

  /** For channels. */
  async send(channel: number, bytes: Buffer): Promise<void> {
    const isOpen = this.#options.isBase64
      ? this.#websocket.send(String.fromCharCode(ZERO + channel) + bytes.toString('base64'))
      : this.#websocket.send(Buffer.concat([Buffer.of(channel), bytes]))
    if (!isOpen) await this.#websocket.drained()
  }

  /** For channels: it is read again, or gone. */
  unstall(channel: Channel): void {
    if (this.#stalled.delete(channel) && this.#stalled.size === 0) this.#websocket.resume()
  }

  #receive(message: Buffer): void {
    if (message.length === 0) return
    if (this.#options.hasCloseSignal && message[0] === CLOSE_SIGNAL) this.#receiveClose(message)
    else this.#receiveData(message)
  }

  #receiveClose(message: Buffer): void {
    const channel = message.length === 2 ? this.all[message[1]!] : undefined
    if (channel) channel.receive(undefined)
    else this.close()
  }

  #receiveData(message: Buffer): void {
    const { isBase64 } = this.#options
    const channel = this.all[isBase64 ? message[0]! - ZERO : message[0]!]
    const rest = message.subarray(1)
    const bytes = isBase64 ? Buffer.from(rest.toString('latin1'), 'base64') : rest
    if (!channel || channel.receive(bytes)) return
    this.#stalled.add(channel)
    this.#websocket.pause()
  }
}

/** One channel: what is written to it becomes messages; a close by the client is its end. */
export class Channel extends Duplex {
  readonly #channels: Channels
  readonly #index: number
  #reads: boolean

  constructor(channels: Channels, index: number, reads: boolean) {
    super({ readableHighWaterMark: BUFFERED_BYTES, autoDestroy: false })
    this.#channels = channels
    this.#index = index
    this.#reads = reads
    this.on('error', () => {})
  }

  /** For the channels; undefined is the end. @returns whether more is wanted */
  receive(bytes: Buffer | undefined): boolean {
    if (!this.#reads || this.destroyed) return true
    if (bytes === undefined) this.#reads = false
    return this.push(bytes ?? null) || bytes === undefined
  }

  override _read(): void {
    this.#channels.unstall(this)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    void this.#channels.send(this.#index, chunk).then(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#reads = false
    this.#channels.unstall(this)
    done(error)
  }
}
