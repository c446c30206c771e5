/**
 * The network of one person, as a forward proxy: everything they dial goes through here, and here it can be
 * cut, or stand still without a word as behind a firewall that drops, for old and new connections alike.
 */
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'

export class Way {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #isFrozen = false
  #isDown = false

  private constructor(server: Server) {
    this.#server = server
  }

  static async open(): Promise<Way> {
    const server = createServer()
    const way = new Way(server)
    server.on('connect', (request, socket) => way.#accept(request.url ?? '', socket))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return way
  }

  /** For `HTTPS_PROXY`. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Every connection there is breaks; new ones work, unless it is down. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  /** No network: what there was breaks, what is new is refused. */
  down(): void {
    this.#isDown = true
    this.cut()
  }

  up(): void {
    this.#isDown = false
  }

  /** From now on nothing passes, nobody is told, and new connections get no answer. */
  freeze(): void {
    this.#isFrozen = true
    for (const socket of this.#sockets) socket.pause()
  }

  thaw(): void {
    this.#isFrozen = false
    for (const socket of this.#sockets) socket.resume()
  }

  close(): void {
    this.cut()
    this.#server.close()
    this.#server.closeAllConnections()
  }

  #accept(target: string, near: Duplex): void {
    const socket = near as Socket
    if (this.#isDown) return void socket.resetAndDestroy()
    this.#follow(socket)
    const [host, port] = target.split(':')
    const far = connect({ host: host!, port: Number(port), allowHalfOpen: true })
    this.#follow(far)
    for (const [from, to] of [
      [socket, far],
      [far, socket],
    ] as const) {
      from.on('error', () => to.destroy())
      from.once('close', () => to.destroy())
    }
    far.once('connect', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      join(socket, far)
      join(far, socket)
      if (this.#isFrozen) for (const each of [socket, far]) each.pause()
    })
  }

  #follow(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }
}

function join(from: Socket, to: Socket): void {
  from.on('data', (chunk: Buffer) => void to.write(chunk))
  from.once('end', () => to.end())
}
