/**
 * Distance between two parts: a relay that holds bytes back for as long as a path takes, and lets no
 * more of them through than a line does. It is toxiproxy, built once from Go modules that `go/` pins,
 * into a folder outside the work tree.
 *
 * What it is not: its rate is each connection's own, not one that they share, and half-close is lost.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises'
import { homedir, setPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../cluster/free-port.ts'
import type { Possibility } from '../cluster/possibility.ts'
import { startProcess, waitUntil } from '../cluster/running-process.ts'

const MODULE = join(import.meta.dirname, 'go')
const PROGRAM = 'github.com/Shopify/toxiproxy/v2/cmd/server'
const START_TIMEOUT_MS = 15_000
const NICENESS = 15

export interface Distance {
  /** There and back together. */
  readonly roundTripMs: number
  /** Each way, for each connection. */
  readonly megabitsPerSecond?: number
}

export interface Relay {
  /** `HOST:PORT`: connections to it go to the part behind. */
  readonly endpoint: string
  readonly port: number
  /** For connections that there are and those that will be. */
  setDistance(distance: Distance | undefined): Promise<void>
}

export interface Toxiproxy {
  /** A relay to `upstream` (HOST:PORT), on 127.0.0.1 or another address of this machine. */
  relay(upstream: string, host?: string): Promise<Relay>
  stop(): Promise<void>
}

/** Whether there can be distance here; builds the program, seconds the first time. */
export async function distanceIsPossible(): Promise<Possibility> {
  try {
    await toxiproxyPath()
    return { possible: true }
  } catch (error) {
    return { possible: false, reason: `no toxiproxy: ${(error as Error).message}` }
  }
}

/** @throws Error when the program cannot be had or does not come up */
export async function startToxiproxy(): Promise<Toxiproxy> {
  const command = await toxiproxyPath()
  const directory = await mkdtemp(join(tmpdir(), 'mcm-test-distance-'))
  const apiPort = await freePort()
  const args = ['-host', '127.0.0.1', '-port', String(apiPort)]
  const logPath = join(directory, 'toxiproxy.log')
  const program = startProcess({ name: 'toxiproxy', command, args, logPath })
  const api = `http://127.0.0.1:${apiPort}`
  const stop = async () => {
    await program.stop(0)
    await rm(directory, { recursive: true, force: true })
  }
  try {
    const isUp = () =>
      fetch(`${api}/version`).then(
        ({ ok }) => ok,
        () => false,
      )
    const limits = { timeoutMs: START_TIMEOUT_MS, processes: [program] }
    await waitUntil('toxiproxy answers', isUp, limits)
  } catch (error) {
    await stop()
    throw error
  }
  return { relay: (upstream, host) => openRelay(api, upstream, host), stop }
}

async function openRelay(api: string, upstream: string, host = '127.0.0.1'): Promise<Relay> {
  const name = upstream.replaceAll(/[^a-z0-9]/gi, '-')
  const port = await freePort()
  const listen = `${host}:${port}`
  await call(`${api}/proxies`, 'POST', { name, listen, upstream, enabled: true })
  const toxics = `${api}/proxies/${name}/toxics`
  return {
    endpoint: listen,
    port,
    async setDistance(distance) {
      const present = (await call(toxics, 'GET')) as readonly { readonly name: string }[]
      for (const toxic of present) await call(`${toxics}/${toxic.name}`, 'DELETE')
      for (const toxic of distance ? toxicsOf(distance) : []) await call(toxics, 'POST', toxic)
    },
  }
}

/** The line's rate comes before its length: bytes wait at the near end, where the sender notices. */
function toxicsOf({ roundTripMs, megabitsPerSecond }: Distance): object[] {
  const both = ['upstream', 'downstream']
  const rate = megabitsPerSecond === undefined ? undefined : (megabitsPerSecond * 1_000) / 8
  return both.flatMap((stream) => [
    ...(rate === undefined ? [] : [{ type: 'bandwidth', stream, attributes: { rate } }]),
    { type: 'latency', stream, attributes: { latency: roundTripMs / 2 } },
  ])
}

async function call(url: string, method: string, body?: object): Promise<unknown> {
  const response = await fetch(url, {
    method,
    ...(body ? { body: JSON.stringify(body) } : {}),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`toxiproxy: ${method} ${url}: ${response.status} ${text}`)
  return text === '' ? undefined : JSON.parse(text)
}

/** Its path in the cache. @throws Error with Go's last words, or because there is no Go */
async function toxiproxyPath(): Promise<string> {
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'mcm-test')
  const path = join(cache, `toxiproxy-${await pinsHash()}`)
  if (await stat(path).catch(() => undefined)) return path
  await mkdir(cache, { recursive: true })
  const staging = await mkdtemp(join(cache, 'toxiproxy.new-'))
  try {
    await build(join(staging, 'server'))
    await rename(join(staging, 'server'), path)
    return path
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

async function pinsHash(): Promise<string> {
  const hash = createHash('sha256')
  for (const name of ['go.mod', 'go.sum']) hash.update(await readFile(join(MODULE, name)))
  return hash.digest('hex').slice(0, 16)
}

function build(path: string): Promise<void> {
  const args = ['build', '-trimpath', '-ldflags', '-s -w', '-o', path, PROGRAM]
  const env = { ...process.env, CGO_ENABLED: '0', GOWORK: 'off' }
  const child = spawn('go', args, { cwd: MODULE, env, stdio: ['ignore', 'ignore', 'pipe'] })
  if (child.pid !== undefined) setPriority(child.pid, NICENESS)
  let words = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-600)
  })
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`go did not start: ${error.message}`)))
    child.once('close', (code) => {
      if (code === 0) resolve()
      else reject(new Error(`go build ended with ${code}: ${words.trim()}`))
    })
  })
}
