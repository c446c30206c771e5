/**
 * What the pipe below the inner TLS costs beside the plain stream (docs/PROTOCOL.md §9): bytes, CPU, time of a small
 * round trip, and memory. Both ends and what is between them are in this one process: only the difference means
 * anything. `node bench/pipe.ts`
 */
import { once } from 'node:events'
import { connect as connectTcp, createServer, type Socket } from 'node:net'
import { type Duplex, duplexPair } from 'node:stream'
import { createSecureContext, TLSSocket } from 'node:tls'
import { openInner } from '../src/client/inner.ts'
import { pipeAcceptor } from '../src/pipe/acceptor.ts'
import type { AcceptedPipe } from '../src/pipe/agent-pipe.ts'
import { PipeBudget } from '../src/pipe/budget.ts'
import { openPipe } from '../src/pipe/initiator.ts'
import { PIPE_EXPORTER_BYTES, PIPE_EXPORTER_LABEL } from '../src/pipe/proof.ts'
import { createAuthority } from '../src/pki/authority.ts'
import { generateKeyPair } from '../src/pki/key-pair.ts'
import { issueServerCertificate } from '../src/pki/profiles.ts'
import { realWorld } from '../src/runtime.ts'
import { serveTunnel } from '../src/tunnel/agent-end.ts'
import { openTunnel } from '../src/tunnel/hub-end.ts'
import { collectBuffersYoung } from '../src/young-space.ts'
import { median, round, time } from './timing.ts'

const HOST = 'c-aaaaaaaaaa.clusters.mcm.internal'
const BULK_BYTES = 100 << 20
const CHUNK = Buffer.alloc(64 << 10, 'x')
const ROUNDS = 15
const SESSIONS = 300
const quiet = { info: () => {}, warn: () => {}, error: () => {} }
const world = realWorld()

/** Both ends of one inner TLS connection. */
interface Joined {
  readonly client: TLSSocket
  readonly agent: TLSSocket
}

/** A path that is `oneWayMs` long and as wide as anybody likes. */
function distant(near: Duplex, oneWayMs: number): Duplex {
  const [end, there] = duplexPair({ highWaterMark: 64 << 20 })
  const carry = (from: Duplex, to: Duplex) => {
    from.on('data', (chunk: Buffer) => setTimeout(() => to.write(chunk), oneWayMs))
    from.on('error', () => {})
  }
  carry(near, there)
  carry(there, near)
  return end
}

interface Stage {
  /** The one TCP connection under everything. */
  readonly tcp: Socket
  join(kind: 'plain' | 'pipe', oneWayMs?: number): Promise<Joined>
}

async function openStage(): Promise<Stage> {
  const { near, far } = await tcpPair()
  const serverCa = await createAuthority(world, { commonName: 'server CA' })
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const { pem } = await issueServerCertificate(world, serverCa, { publicKeyDer, host: HOST }, 3600)
  const secureContext = createSecureContext({ cert: pem, key: privateKeyPem.reveal() })
  const waiting: ((socket: TLSSocket) => void)[] = []
  const serve = (stream: Duplex, armed: (socket: TLSSocket) => void) => {
    const socket = new TLSSocket(stream, { isServer: true, secureContext })
    socket.on('error', () => {})
    socket.once('secure', () => {
      armed(socket)
      waiting.shift()?.(socket)
    })
  }
  const acceptor = pipeAcceptor({
    world,
    log: quiet,
    budget: new PipeBudget(1 << 30),
    replica: 'a',
    takePlace: () => () => {},
    onPipe: (pipe: AcceptedPipe) =>
      serve(pipe.stream, (socket) => pipe.arm(exporterOf(socket), 'bench')),
  })
  serveTunnel(
    far,
    {
      request: async () => ({ status: 404, body: {} }),
      connect: (authority, _headers, stream) => {
        if (authority === 'pipe:443') acceptor.accept(stream, undefined)
        else serve(stream, () => {})
      },
    },
    { log: quiet },
  )
  const hub = openTunnel(near, { log: quiet })
  const budget = new PipeBudget(1 << 30)
  const options = { host: HOST, serverCaPem: serverCa.certificatePem, alpn: [] }
  return {
    tcp: near,
    async join(kind, oneWayMs = 0) {
      const agent = new Promise<TLSSocket>((resolve) => waiting.push(resolve))
      if (kind === 'plain') {
        const client = await openInner(await hub.connect('plain:443'), options)
        return { client, agent: await agent }
      }
      const dial = async () => {
        const carrier = await hub.connect('pipe:443')
        return oneWayMs === 0 ? carrier : distant(carrier, oneWayMs)
      }
      const pipe = await openPipe({ world, log: quiet, budget, peerName: 'the agent', dial })
      const client = await openInner(pipe.stream, options)
      pipe.arm(exporterOf(client))
      return { client, agent: await agent }
    },
  }
}

function exporterOf(socket: TLSSocket): Buffer {
  return socket.exportKeyingMaterial(PIPE_EXPORTER_BYTES, PIPE_EXPORTER_LABEL, Buffer.alloc(0))
}

async function tcpPair(): Promise<{ near: Socket; far: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const far = connectTcp(port, '127.0.0.1')
  const [[near]] = (await Promise.all([once(server, 'connection'), once(far, 'connect')])) as [
    [Socket],
    unknown,
  ]
  server.close()
  for (const socket of [near, far]) socket.setNoDelay(true)
  return { near, far }
}

/** Agent to client, as downloads go. */
async function bulk({ client, agent }: Joined, tcp: Socket) {
  const [wireBefore, cpuBefore, began] = [tcp.bytesRead, process.cpuUsage(), performance.now()]
  let received = 0
  const all = new Promise<void>((resolve) => {
    client.on('data', function count(chunk: Buffer) {
      received += chunk.length
      if (received < BULK_BYTES) return
      client.off('data', count)
      resolve()
    })
  })
  for (let sent = 0; sent < BULK_BYTES; sent += CHUNK.length)
    if (!agent.write(CHUNK)) await once(agent, 'drain')
  await all
  const seconds = (performance.now() - began) / 1000
  const { user, system } = process.cpuUsage(cpuBefore)
  const megabytes = BULK_BYTES / 1e6
  return {
    rate: megabytes / seconds,
    cpuMs: (user + system) / 1000 / megabytes,
    overhead: (tcp.bytesRead - wireBefore) / BULK_BYTES - 1,
  }
}

async function keystrokes({ client, agent }: Joined, tcp: Socket) {
  agent.on('data', (chunk: Buffer) => agent.write(chunk))
  const echo = async () => {
    client.write('x')
    await once(client, 'data')
  }
  const before = tcp.bytesRead + tcp.bytesWritten
  const count = 5_000
  const timing = await time(echo, count)
  const bytes = (tcp.bytesRead + tcp.bytesWritten - before) / (count * 1.1)
  return { ...timing, bytes }
}

async function memory(stage: Stage, kind: 'plain' | 'pipe'): Promise<number> {
  const held: Joined[] = []
  const measured = async () => {
    for (let round = 0; round < 3; round++) globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 600))
    globalThis.gc?.()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const before = await measured()
  for (let count = 0; count < SESSIONS; count++) held.push(await stage.join(kind))
  const bytes = ((await measured()) - before) / SESSIONS
  for (const { client } of held) client.destroy()
  await new Promise((resolve) => setTimeout(resolve, 500))
  return bytes
}

collectBuffersYoung()
const stage = await openStage()
const kinds = ['plain', 'pipe'] as const
const bulks = { plain: [], pipe: [] } as Record<string, Awaited<ReturnType<typeof bulk>>[]>
for (let count = 0; count < ROUNDS; count++)
  for (const kind of kinds) {
    const joined = await stage.join(kind)
    bulks[kind]!.push(await bulk(joined, stage.tcp))
    joined.client.destroy()
  }
for (const kind of kinds) {
  const of = (name: 'rate' | 'cpuMs' | 'overhead') => median(bulks[kind]!.map((one) => one[name]))
  const share = round(of('overhead') * 100, 3)
  console.log(
    `${kind.padEnd(6)} bulk ${round(of('rate'), 0)} MB/s  ${round(of('cpuMs'))} ms CPU per MB  ${share} % more bytes than sent`,
  )
}
for (const kind of kinds) {
  const joined = await stage.join(kind)
  const { p50Ms, p99Ms, bytes } = await keystrokes(joined, stage.tcp)
  console.log(
    `${kind.padEnd(6)} one byte and back  p50 ${round(p50Ms * 1000, 0)} µs  p99 ${round(p99Ms * 1000, 0)} µs  ${round(bytes, 0)} bytes on the wire`,
  )
  joined.client.destroy()
}
const far = await stage.join('pipe', 25)
await bulk(far, stage.tcp)
const { rate } = await bulk(far, stage.tcp)
console.log(`pipe   bulk at a round trip of 50 ms ${round(rate * 8, 0)} Mbit/s`)
far.client.destroy()
for (const kind of kinds) {
  const bytes = await memory(stage, kind)
  console.log(`${kind.padEnd(6)} ${round(bytes / 1024, 1)} KiB for an idle session, both ends`)
}
process.exit(0)
