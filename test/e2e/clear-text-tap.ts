/** Somebody between a client and the hub, who keeps every byte that the client sends. */
import { readFile, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'

export class ClearTextTap {
  readonly port: number
  readonly #server: Server
  readonly #hubPort: number
  readonly #chunks: Buffer[]
  readonly #sockets: Set<Socket>

  private constructor(server: Server, hubPort: number, chunks: Buffer[], sockets: Set<Socket>) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
    this.#hubPort = hubPort
    this.#chunks = chunks
    this.#sockets = sockets
  }

  /** Listens on loopback, where the certificate of the hub is as good on this port as on its own. */
  static async before(hubPort: number): Promise<ClearTextTap> {
    const [chunks, sockets] = [[] as Buffer[], new Set<Socket>()]
    const server = createServer((client) => {
      const hub = connect(hubPort, '127.0.0.1')
      for (const [one, other] of [
        [client, hub],
        [hub, client],
      ] as const) {
        sockets.add(one)
        one.on('error', () => other.destroy())
        one.once('close', () => other.destroy())
      }
      client.on('data', (chunk) => chunks.push(chunk))
      client.pipe(hub).pipe(client)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new ClearTextTap(server, hubPort, chunks, sockets)
  }

  /** Everything so far, each byte one character. */
  get heard(): string {
    return Buffer.concat(this.#chunks).toString('latin1')
  }

  /** A copy of a kubeconfig that dials here. @throws Error when it does not name the hub */
  async moved(kubeconfig: string, directory: string): Promise<string> {
    const text = await readFile(kubeconfig, 'utf8')
    const [from, to] = [`127.0.0.1:${this.#hubPort}`, `127.0.0.1:${this.port}`]
    if (!text.includes(from)) throw new Error(`${kubeconfig} does not name ${from}`)
    const path = join(directory, `tapped-${this.port}`)
    await writeFile(path, text.replaceAll(from, to), { mode: 0o600 })
    return path
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}
