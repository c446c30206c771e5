/** A real browser without a window, for what only a browser sends, and a door that gives it what a browser never has. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import type { Possibility } from '../cluster/possibility.ts'
import { LongRunning } from './program.ts'
import type { Endpoint } from './streams-client.ts'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
const FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Its path, on PATH. */
function browserPath(): string | undefined {
  const directories = (process.env['PATH'] ?? '').split(':')
  return directories
    .flatMap((directory) => NAMES.map((name) => join(directory, name)))
    .find((path) => existsSync(path))
}

export async function browserIsPossible(): Promise<Possibility> {
  const path = browserPath()
  if (path === undefined) return { possible: false, reason: `there is no ${NAMES.join(', ')} here` }
  return promisify(execFile)(path, ['--version'], { timeout: 60_000 }).then(
    () => ({ possible: true }),
    (error: Error) => ({ possible: false, reason: `${path}: ${error.message}` }),
  )
}

/**
 * Opens a page; no certificate is doubted. `hosts` as `--host-resolver-rules` takes them. `profile`: an empty folder.
 */
export function browse(url: string, hosts: readonly string[], profile: string): LongRunning {
  const own = [`--user-data-dir=${profile}`, `--host-resolver-rules=${hosts.join(',')}`]
  const args = [...FLAGS, '--ignore-certificate-errors', ...own, url]
  return new LongRunning(browserPath()!, args, { HOME: profile })
}

/**
 * Stands in for a browser into which somebody has put the client certificate of `mcm proxy`: what comes in goes there with
 * that certificate, byte for byte.
 */
export class OpenDoor {
  readonly port: number
  readonly close: () => Promise<void>
  readonly #answers: readonly string[]

  private constructor(port: number, answers: readonly string[], close: () => Promise<void>) {
    this.port = port
    this.#answers = answers
    this.close = close
  }

  /** @param tls what it shows to the browser; any certificate does */
  static async to(endpoint: Endpoint, tls: { cert: string; key: string }): Promise<OpenDoor> {
    const [answers, sockets] = [[] as string[], new Set<TLSSocket>()]
    const server = createServer({ ...tls, ALPNProtocols: ['http/1.1'] }, (browser) => {
      const { host, port, ca, cert, key } = endpoint
      const proxy = connect({ host, port, ca, cert, key, ALPNProtocols: ['http/1.1'] })
      for (const socket of [browser, proxy]) {
        sockets.add(socket)
        socket.on('error', () => {})
        socket.once('close', () => [browser, proxy].map((one) => one.destroy()))
      }
      proxy.on('data', (chunk: Buffer) => answers.push(chunk.toString('latin1')))
      browser.pipe(proxy).pipe(browser)
    })
    server.on('tlsClientError', (_error, socket) => socket.destroy())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const close = async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of sockets) socket.destroy()
      await closed
    }
    return new OpenDoor((server.address() as AddressInfo).port, answers, close)
  }

  /** The statuses that `mcm proxy` answered with, in their order. */
  get statuses(): readonly number[] {
    const heads = this.#answers.join('').matchAll(/HTTP\/1\.1 (\d{3}) /g)
    return Array.from(heads, ([, status]) => Number(status))
  }

  get text(): string {
    return this.#answers.join('')
  }
}
