import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { UpstreamEvents } from '../../src/forward/upstream.ts'
import { PipeBudget } from '../../src/pipe/budget.ts'
import { type ClusterUpstream, clusterUpstream } from '../../src/proxy/cluster-upstream.ts'
import type { AgentResponse, Stage } from './stage.ts'
import { startStage } from './stage.ts'

let stage: Stage
let upstream: ClusterUpstream
beforeEach(async () => {
  stage = await startStage()
  const silent = { info: () => {}, warn: () => {}, error: () => {} }
  const budget = new PipeBudget(64 << 20)
  const deps = { world: stage.world, log: silent, ways: stage.ways, budget }
  upstream = clusterUpstream(deps, stage.clusters[0]!)
})
afterEach(async () => {
  await upstream.close()
  await stage.stop()
})

/** What came back for one GET so far. */
interface Got {
  status: number
  text: string
  outcome: 'open' | 'end' | 'error'
  pause: boolean
}

function get(target: string) {
  const got: Got = { status: 0, text: '', outcome: 'open', pause: false }
  const events: UpstreamEvents = {
    onResponse: (status) => {
      got.status = status
    },
    onData: (chunk) => {
      got.text += Buffer.from(chunk).toString()
      return !got.pause
    },
    onEnd: () => {
      got.outcome = 'end'
    },
    onError: () => {
      got.outcome = 'error'
    },
  }
  const request = { method: 'GET', target, headers: [], body: undefined, answerTimeoutMs: 0 }
  return { got, call: upstream.send(request, events) }
}

function hold(): AgentResponse[] {
  const held: AgentResponse[] = []
  stage.agent.answer = (_request, response) => {
    held.push(response)
    response.write('begun')
  }
  return held
}

describe('a beat', () => {
  it('finds a silent session out: the third without an answer ends it, and what waits on it', async () => {
    hold()
    const { got } = get('/watch')
    await expect.poll(() => got.text).toBe('begun')
    stage.ways.connections[0]!.freeze()
    upstream.beat()
    upstream.beat()
    expect(got.outcome).toBe('open')
    upstream.beat()
    await expect.poll(() => got.outcome).toBe('error')
  })

  it('leaves a session alone that answers', async () => {
    hold()
    const { got } = get('/watch')
    await expect.poll(() => got.text).toBe('begun')
    for (let beat = 0; beat < 6; beat += 1) {
      upstream.beat()
      await get('/ping').call.resume()
      await expect.poll(() => stage.agent.seen.length).toBe(beat + 2)
    }
    expect(got.outcome).toBe('open')
    expect(stage.ways.connections).toHaveLength(1)
  })

  it('retires a session that nobody used for a quarter of an hour', async () => {
    const { got } = get('/version')
    await expect.poll(() => got.outcome).toBe('end')
    stage.world.forward(16 * 60_000)
    upstream.beat()
    const { got: next } = get('/version')
    await expect.poll(() => next.outcome).toBe('end')
    expect(stage.ways.connections).toHaveLength(2)
  })

  it('renews the certificate of a session in use before it expires', async () => {
    hold()
    const { got } = get('/watch')
    await expect.poll(() => got.text).toBe('begun')
    stage.world.forward(11 * 3_600_000)
    upstream.beat()
    await expect.poll(() => stage.ways.asked.length).toBe(2)
    expect(got.outcome).toBe('open')
  })
})

describe('many streams', () => {
  it('beyond what one session takes go to a second one', async () => {
    const held = hold()
    const watches = Array.from({ length: 200 }, () => get('/watch'))
    await expect.poll(() => held.length).toBe(200)
    const { got } = get('/one-more')
    await expect.poll(() => got.text).toBe('begun')
    expect(stage.ways.connections).toHaveLength(2)
    for (const { call } of watches) call.abort()
    const { got: last } = get('/again')
    await expect.poll(() => last.text).toBe('begun')
    expect(stage.ways.connections).toHaveLength(2)
  })

  it('of which one is not read do not stop the others', async () => {
    const megabyte = 'x'.repeat(1 << 20)
    stage.agent.answer = (request, response) => {
      for (let count = 0; count < 16; count += 1) response.write(megabyte)
      response.end(request.url)
    }
    const slow = get('/slow')
    slow.got.pause = true
    await expect.poll(() => slow.got.text.length).toBeGreaterThan(0)
    const { got } = get('/fast')
    await expect.poll(() => got.outcome, { timeout: 5_000 }).toBe('end')
    expect(got.text.endsWith('/fast')).toBe(true)
    expect(slow.got.outcome).toBe('open')
  })
})

it('closing ends what is under way', async () => {
  hold()
  const { got } = get('/watch')
  await expect.poll(() => got.text).toBe('begun')
  await upstream.close()
  await expect.poll(() => got.outcome).toBe('error')
})
