import type { Duplex } from 'node:stream'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { UnreachableError } from '../../src/errors.ts'
import { Refusal } from '../../src/forward/refusal.ts'
import type { UpstreamRequest } from '../../src/forward/upstream.ts'
import { type PipeAcceptor, pipeAcceptor } from '../../src/pipe/acceptor.ts'
import { PipeBudget } from '../../src/pipe/budget.ts'
import type { CarrierWish } from '../../src/pipe/initiator.ts'
import type { Ways } from '../../src/proxy/cluster.ts'
import { type ClusterUpstream, clusterUpstream } from '../../src/proxy/cluster-upstream.ts'
import { Secret } from '../../src/secret.ts'
import { CLUSTER, HOST, openStage, type TrafficStage } from '../agent/traffic-stage.ts'
import { cleanup, world } from '../forward/stage.ts'
import { type Wire, wire } from '../pipe/wire.ts'

/** The proxy's way to an agent on pipes, whose carriers are in the test's hands. */

const ends = cleanup()
const silent = { info: () => {}, warn: () => {}, error: () => {} }
let agent: TrafficStage
let acceptor: PipeAcceptor
let wires: Wire[]
/** Whether a pipe there is finds its replica. */
let isThere: boolean
let upstream: ClusterUpstream

beforeEach(async () => {
  agent = await openStage(ends)
  wires = []
  isThere = true
  acceptor = pipeAcceptor({
    world,
    log: silent,
    budget: new PipeBudget(64 << 20),
    replica: 'agent-a',
    takePlace: () => () => {},
    onPipe: (pipe, from) => agent.servers.acceptPipe(pipe, from),
    limits: { lookMs: 20 },
  })
  ends.add(() => acceptor.stop())
  upstream = await openUpstream({ connectPipe })
})
afterEach(() => ends.run())

async function connectPipe(_cluster: string, { replica }: CarrierWish): Promise<Duplex> {
  if (replica !== undefined && !isThere) throw unreachable('MCM_HUB_UNREACHABLE')
  const made = wire()
  wires.push(made)
  acceptor.accept(made.agent, '192.0.2.9')
  return made.client
}

function unreachable(code: 'MCM_AGENT_UNREACHABLE' | 'MCM_HUB_UNREACHABLE'): UnreachableError {
  return new UnreachableError(code, 'no agent of this cluster is connected to the hub')
}

async function openUpstream(ways: Partial<Ways>): Promise<ClusterUpstream> {
  const bob = await agent.person('bob', { groups: ['dev'] })
  const { certPem, keyPem, notAfter, user, groups } = bob
  const credential = { certPem, keyPem: new Secret(keyPem), notAfter, user, groups }
  const opened = clusterUpstream(
    {
      world,
      log: silent,
      budget: new PipeBudget(64 << 20),
      ways: {
        credential: async () => credential,
        connect: () => Promise.reject(unreachable('MCM_AGENT_UNREACHABLE')),
        ...ways,
      },
    },
    { id: CLUSTER, name: 'idc-k8s', host: HOST, serverCaPem: agent.serverCaPem },
  )
  ends.add(() => opened.close())
  return opened
}

interface Got {
  status: number
  text: string
  outcome: 'open' | 'end' | 'error'
  error: Error | undefined
}

function send(method: string, target: string, body?: Buffer): Got {
  const got: Got = { status: 0, text: '', outcome: 'open', error: undefined }
  const length = body ? ['content-length', String(body.length)] : []
  const request: UpstreamRequest = { method, target, headers: length, body, answerTimeoutMs: 0 }
  upstream.send(request, {
    onResponse: (status) => {
      got.status = status
    },
    onData: (chunk) => {
      got.text += Buffer.from(chunk).toString()
      return true
    },
    onEnd: () => {
      got.outcome = 'end'
    },
    onError: (error) => {
      got.outcome = 'error'
      got.error = error
    },
  })
  return got
}

/** Counts an answer; whoever asks says after each piece whether to go on. */
function take(target: string, mayGoOn: () => boolean) {
  const request: UpstreamRequest = {
    method: 'GET',
    target,
    headers: [],
    body: undefined,
    answerTimeoutMs: 0,
  }
  const taken = { pieces: 0, bytes: 0, isWhole: false }
  const call = upstream.send(request, {
    onResponse: () => {},
    onData: (chunk) => {
      taken.pieces += 1
      taken.bytes += chunk.length
      return mayGoOn()
    },
    onEnd: () => {
      taken.isWhole = true
    },
    onError: () => {},
  })
  return Object.assign(taken, { call })
}

async function warmUp(): Promise<void> {
  const got = send('GET', '/api/v1/pods')
  await expect.poll(() => got.outcome).toBe('end')
}

const cutAll = () => {
  for (const each of wires) each.cut()
}

it('an answer under way goes on where it was when the connection is another', async () => {
  await warmUp()
  let finish = () => {}
  agent.answer = (_request, response) => {
    response.writeHead(200)
    response.write('before')
    finish = () => response.end(' and after')
  }
  const got = send('GET', '/api/v1/pods?watch=1')
  await expect.poll(() => got.text).toBe('before')
  cutAll()
  finish()
  await expect.poll(() => got.outcome).toBe('end')
  expect(got.text).toBe('before and after')
})

it('what is new takes another session while one is suspended, and that one is kept', async () => {
  await warmUp()
  let finish = () => {}
  agent.answer = (request, response) => {
    if (request.url.includes('slow')) finish = () => response.end('slow')
    else response.end('quick')
  }
  const slow = send('POST', '/api/v1/namespaces?slow', Buffer.from('{}'))
  await expect.poll(() => agent.seen.length).toBe(2)
  isThere = false
  cutAll()
  const quick = send('GET', '/api/v1/pods')
  await expect.poll(() => quick.text).toBe('quick')
  expect(slow.outcome).toBe('open')
  isThere = true
  finish()
  await expect.poll(() => slow.text).toBe('slow')
  expect(agent.seen.filter(({ method }) => method === 'POST').length).toBe(1)
})

it('a GET without an answer is asked once more elsewhere; nothing else is', async () => {
  await warmUp()
  const answers: (() => void)[] = []
  agent.answer = (request, response) => {
    answers.push(() => response.end(request.method))
  }
  const read = send('GET', '/api/v1/pods')
  const write = send('POST', '/api/v1/namespaces', Buffer.from('{}'))
  await expect.poll(() => agent.seen.length).toBe(3)
  isThere = false
  cutAll()
  await expect.poll(() => agent.seen.length).toBe(4)
  expect(agent.seen[3]!.method).toBe('GET')
  for (const answer of answers) answer()
  await expect.poll(() => read.text).toBe('GET')
  expect(write.outcome).toBe('open')
  isThere = true
  await expect.poll(() => write.text).toBe('POST')
  expect(agent.seen.length).toBe(4)
})

it('a hundred answers that nobody takes leave another its whole way, and wait unharmed', async () => {
  await warmUp()
  // Together more than the window of the session that all of them share, each less than its own.
  const stalledBody = Buffer.alloc(400 << 10, 'x')
  const takenBody = Buffer.alloc(4 << 20, 'y')
  agent.answer = ({ url }, response) => {
    response.end(url.includes('stalled') ? stalledBody : takenBody)
  }
  let isTaken = false
  const stalled = Array.from({ length: 100 }, () => take('/api/v1/pods?stalled', () => isTaken))
  await expect.poll(() => stalled.every(({ pieces }) => pieces > 0)).toBe(true)
  // A spare one for upgrades beside it.
  await expect.poll(() => acceptor.size).toBe(2)
  const other = take('/api/v1/pods', () => true)
  await expect.poll(() => other.isWhole, { timeout: 20_000 }).toBe(true)
  expect(other.bytes).toBe(takenBody.length)
  expect(stalled.every(({ pieces, isWhole }) => pieces === 1 && !isWhole)).toBe(true)
  expect(acceptor.size).toBe(2)
  isTaken = true
  for (const { call } of stalled) call.resume()
  await expect.poll(() => stalled.every(({ isWhole }) => isWhole), { timeout: 20_000 }).toBe(true)
  expect(stalled.every(({ bytes }) => bytes === stalledBody.length)).toBe(true)
})

it('why a session ended is what its requests are told', async () => {
  await warmUp()
  agent.answer = () => {}
  const got = send('POST', '/api/v1/namespaces', Buffer.from('{}'))
  await expect.poll(() => agent.seen.length).toBe(2)
  acceptor.stop()
  await expect.poll(() => got.outcome).toBe('error')
  expect(got.error).toBeInstanceOf(Refusal)
  expect((got.error as Refusal).status.message).toContain(
    'the session with the agent of idc-k8s has ended: the agent was stopped',
  )
})

it('a proxy that ends leaves nothing at the agent that waits to be resumed', async () => {
  await warmUp()
  await expect.poll(() => acceptor.size).toBeGreaterThan(0)
  await upstream.close()
  await expect.poll(() => acceptor.size).toBe(0)
  expect(wires.every(({ client }) => client.destroyed || client.writableEnded)).toBe(true)
})

it('a proxy ends in time even where nobody hears it', async () => {
  await warmUp()
  for (const each of wires) each.freeze()
  const began = performance.now()
  await upstream.close()
  expect(performance.now() - began).toBeLessThan(3_000)
})

it('where somebody on the way knows no pipes a plain stream serves', async () => {
  upstream = await openUpstream({
    connectPipe: () => Promise.reject(unreachable('MCM_AGENT_UNREACHABLE')),
    connect: () => agent.stream(),
  })
  await warmUp()
  expect(acceptor.size).toBe(0)
})
