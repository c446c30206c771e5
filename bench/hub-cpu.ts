/**
 * CPU time of a real hub process for each megabyte it carries. The bytes are an inner TLS session's, as
 * they would be: records of 16 KB that the hub cannot read.
 */
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { openHub } from '../src/client/hub.ts'
import { ALPN_HTTP1, ALPN_HTTP2 } from '../src/protocol/names.ts'
import { readHead } from '../test/hub/stage.ts'
import { type BenchCluster, BenchHub } from './hub-process.ts'
import { cpuMs, hasProcessFacts } from './process-facts.ts'
import { type Report, runAlone } from './report.ts'
import { median, round } from './timing.ts'

const MEGABYTES = 100
const CHUNK = Buffer.alloc(64 << 10, 'x')
const BYTES = MEGABYTES * 1_000_000
const RUNS = 7
const AIM_MS = 2.4

type Direction = 'down' | 'up'
type Protocol = typeof ALPN_HTTP1 | typeof ALPN_HTTP2

export async function hubCpu(report: Report): Promise<void> {
  report.section(`CPU of the hub, median of ${RUNS} runs of ${MEGABYTES} MB`)
  if (!hasProcessFacts()) return report.missing('CPU of the hub', 'there is no /proc')
  const carriage = await Carriage.open()
  try {
    for (const direction of ['down', 'up'] as const) {
      const hub = await carriage.msPerMegabyte(ALPN_HTTP1, direction)
      const proxy = await carriage.msPerMegabyte(ALPN_HTTP2, direction)
      report.add({
        what: direction === 'down' ? 'from the cluster' : 'to the cluster',
        hub: `${round(hub)} ms/MB`,
        proxy: `${round(proxy)} ms/MB`,
        aim: `≤ ${AIM_MS} ms/MB`,
        isMet: Math.max(hub, proxy) <= AIM_MS,
      })
    }
  } finally {
    await carriage.close()
  }
}

/** A hub with one agent, which gives or takes so many bytes on every connection. */
class Carriage {
  readonly #hub: BenchHub
  readonly #cluster: BenchCluster
  #direction: Direction = 'down'

  private constructor(hub: BenchHub, cluster: BenchCluster) {
    this.#hub = hub
    this.#cluster = cluster
  }

  static async open(): Promise<Carriage> {
    const hub = await BenchHub.start()
    const [cluster] = await hub.addClusters(1)
    const carriage = new Carriage(hub, cluster!)
    const certificate = await hub.identity()
    await hub.tunnel(cluster!, (stream) => {
      const server = createServer({
        minVersion: 'TLSv1.3',
        cert: certificate.certPem,
        key: certificate.keyPem.reveal(),
      })
      server.once('secureConnection', (socket) => void carriage.#serve(socket))
      server.emit('connection', stream)
    })
    await hub.hasLogged('tunnel_opened', 1)
    return carriage
  }

  close(): Promise<void> {
    return this.#hub.stop()
  }

  async msPerMegabyte(protocol: Protocol, direction: Direction): Promise<number> {
    this.#direction = direction
    const results: number[] = []
    // The first one is for the compiler.
    for (let run = 0; run <= RUNS; run++) results.push(await this.#run(protocol))
    return median(results.slice(1))
  }

  async #run(protocol: Protocol): Promise<number> {
    const stream = await this.#connect(protocol)
    const inner = connect({ socket: stream, rejectUnauthorized: false })
    await once(inner, 'secureConnect')
    const { pid } = this.#hub
    const before = await cpuMs(pid)
    if (this.#direction === 'down') await drink(inner)
    else await Promise.all([pour(inner), once(inner, 'data')])
    const used = (await cpuMs(pid)) - before
    inner.destroy()
    return used / MEGABYTES
  }

  async #connect(protocol: Protocol): Promise<Duplex> {
    const socket = await this.#hub.person(protocol)
    const { authority } = this.#cluster
    if (protocol === ALPN_HTTP2) return openHub(socket).connect(authority)
    socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
    const head = await readHead(socket)
    if (!head.startsWith('HTTP/1.1 200 ')) throw new Error(`the hub answered ${head}`)
    return socket
  }

  async #serve(socket: TLSSocket): Promise<void> {
    socket.on('error', () => {})
    if (this.#direction === 'down') return pour(socket)
    await drink(socket)
    socket.write('thanks')
  }
}

async function pour(socket: TLSSocket): Promise<void> {
  for (let left = BYTES; left > 0; left -= CHUNK.length)
    if (!socket.write(CHUNK)) await once(socket, 'drain')
}

function drink(socket: TLSSocket): Promise<void> {
  let left = BYTES
  return new Promise((resolve, reject) => {
    socket.on('data', (chunk: Buffer) => {
      left -= chunk.length
      if (left <= 0) resolve()
    })
    socket.once('close', () => reject(new Error(`it closed with ${left} bytes to come`)))
  })
}

await runAlone(import.meta, hubCpu)
