import { Duplex } from 'node:stream'
import { WebSocketConnection, type WebSocketOptions } from './websocket.ts'

/** The binary messages of a WebSocket as one stream of bytes (client-go `tools/portforward/tunneling_connection.go`). */
export function webSocketBytes(
  socket: Duplex,
  options: Omit<WebSocketOptions, 'onMessage'>,
): Duplex {
  return new WebSocketBytes(socket, options)
}

class WebSocketBytes extends Duplex {
  readonly #websocket: WebSocketConnection

  constructor(socket: Duplex, options: Omit<WebSocketOptions, 'onMessage'>) {
    super()
    this.#websocket = new WebSocketConnection(socket, {
      ...options,
      onMessage: (message) => {
        if (!this.push(message)) this.#websocket.pause()
      },
    })
    void this.#websocket.closed.then(() => {
      this.push(null)
      this.destroy()
    })
  }

  override _read(): void {
    this.#websocket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (this.#websocket.send(chunk)) done()
    else void this.#websocket.drained().then(done)
  }

  override _final(done: () => void): void {
    this.#websocket.close()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#websocket.close()
    done(error)
  }
}
