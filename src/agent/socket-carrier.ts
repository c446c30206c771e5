import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'

/**
 * A TCP connection as a plain stream, which is what streams of a tunnel are: handed to TLS as a socket it would be
 * read from underneath, past what the inner server counts of a handshake. Backpressure and half-close pass
 * both ways; an error of the socket is the end of the stream, and no event.
 */
export function carrierOf(socket: Socket): Duplex {
  return new SocketCarrier(socket)
}

class SocketCarrier extends Duplex {
  readonly #socket: Socket

  constructor(socket: Socket) {
    super({ allowHalfOpen: true })
    this.#socket = socket
    this.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause()
    })
    socket.pause()
    socket.once('end', () => this.push(null))
    socket.on('error', () => this.destroy())
    socket.once('close', () => this.#onClose())
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#socket.cork()
    for (const [index, { chunk }] of chunks.entries())
      this.#socket.write(chunk, index === chunks.length - 1 ? done : undefined)
    this.#socket.uncork()
  }

  override _final(done: () => void): void {
    this.#socket.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy()
    done(error)
  }

  /** What has arrived whole is still read. */
  #onClose(): void {
    if (this.#socket.readableEnded && !this.readableEnded) this.once('end', () => this.destroy())
    else this.destroy()
  }
}
