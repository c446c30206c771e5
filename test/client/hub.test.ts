import { once } from 'node:events'
import type { ServerHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import { afterEach, describe, expect, it } from 'vitest'
import { type HubApi, openHub } from '../../src/client/hub.ts'
import { UnreachableError } from '../../src/errors.ts'
import { json, readAll, startHttp2 } from './http2-server.ts'

type Handler = Parameters<typeof startHttp2>[0]
const stops: (() => void)[] = []

afterEach(() => {
  for (const stop of stops.splice(0)) stop()
})

async function hubThat(handler: Handler) {
  const started = await startHttp2(handler)
  stops.push(started.stop)
  return { ...started, hub: openHub(started.socket) }
}

const hash = 'a'.repeat(43)

describe('the hub’s API', () => {
  it('sends each call to its route and checks the answer', async () => {
    const calls: string[] = []
    const { hub } = await hubThat(async (request, response) => {
      const body = await readAll(request)
      calls.push(`${request.method} ${request.url} ${body}`)
      if (request.url === '/v1/hub')
        return json(response, 200, { version: '1', time: '2026-01-02T03:04:05Z' })
      if (request.url.startsWith('/v1/directory?'))
        return json(response, 200, { head: null, statements: [], details: [] })
      if (request.url === '/v1/clusters' && request.method === 'GET')
        return json(response, 200, [{ id: 'c-aaaaaaaaaa', agents: [] }])
      if (request.url === '/v1/clusters')
        return json(response, 200, { id: 'c', joinToken: 't', expires: '2026-01-02T03:04:05Z' })
      if (request.url.endsWith('/join')) return json(response, 200, {})
      json(response, 200, { seq: 3, hash })
    })
    expect((await hub.info()).version).toBe('1')
    await hub.directory({ after: -1, details: 'all', invite: hash })
    expect(await hub.append({ statements: ['s'], details: [] })).toEqual({ seq: 3, hash })
    await hub.newCluster('idc')
    await hub.join('c-aaaaaaaaaa', { joinToken: 't', publication: 'p' })
    expect(await hub.presence()).toEqual([{ id: 'c-aaaaaaaaaa', agents: [] }])
    expect(calls).toEqual([
      'GET /v1/hub ',
      `GET /v1/directory?after=-1&details=all&invite=${hash} `,
      'POST /v1/directory {"statements":["s"],"details":[]}',
      'POST /v1/clusters {"name":"idc"}',
      'POST /v1/clusters/c-aaaaaaaaaa/join {"joinToken":"t","publication":"p"}',
      'GET /v1/clusters ',
    ])
  })

  it('throws what the hub threw', async () => {
    const { hub } = await hubThat((_request, response) =>
      json(response, 409, { message: 'another was faster', mcm: { code: 'MCM_CONFLICT' } }),
    )
    await expect(hub.append({ statements: [], details: [] })).rejects.toMatchObject({
      name: UnreachableError.name,
      code: 'MCM_CONFLICT',
      message: 'another was faster',
    })
  })

  it('does not believe an answer of another shape', async () => {
    const { hub } = await hubThat((_request, response) => json(response, 200, { head: 'x' }))
    await expect(hub.directory({ after: -1, details: 'new' })).rejects.toMatchObject({
      code: 'MCM_HUB_UNREACHABLE',
      message: expect.stringContaining('is not understood'),
    })
  })

  it('waits for a publication, and says when there is none yet', async () => {
    let answers = 0
    const { hub } = await hubThat((_request, response) => {
      answers += 1
      if (answers === 1) json(response, 204)
      else json(response, 200, { publication: 'jws' })
    })
    expect(await hub.publication('c-aaaaaaaaaa', 0)).toBeUndefined()
    expect(await hub.publication('c-aaaaaaaaaa', 0)).toBe('jws')
  })

  it('reports a connection that ends in the middle of a call', async () => {
    const { hub, sessions } = await hubThat(() => sessions[0]!.destroy())
    await expect(hub.info()).rejects.toMatchObject({ code: 'MCM_HUB_UNREACHABLE' })
    await hub.closed
    await expect(hub.info()).rejects.toMatchObject({ code: 'MCM_HUB_UNREACHABLE' })
    expect(await hub.ping(100)).toBe(false)
  })

  it('reports a body that breaks off', async () => {
    const { hub } = await hubThat((_request, response) => {
      response.writeHead(200)
      response.write('{"version":')
      setImmediate(() => response.stream.close(2))
    })
    await expect(hub.info()).rejects.toMatchObject({ code: 'MCM_HUB_UNREACHABLE' })
  })
})

describe('a byte stream through the hub', () => {
  async function hubWithConnect(onConnect: (stream: ServerHttp2Stream) => void) {
    const started = await hubThat(() => {})
    started.server.on('connect', (request) => onConnect(request.stream))
    return started
  }

  it('carries bytes both ways, many and at once, without locking up', async () => {
    const { hub } = await hubWithConnect((stream) => {
      stream.respond({ ':status': 200 })
      stream.end(Buffer.alloc(24 << 20))
      stream.resume()
    })
    const both = async (api: HubApi) => {
      const stream: Duplex = await api.connect('c-aaaaaaaaaa.clusters.mcm.internal:443')
      stream.end(Buffer.alloc(24 << 20))
      let size = 0
      stream.on('data', (chunk: Buffer) => {
        size += chunk.length
      })
      await once(stream, 'end')
      return size
    }
    const sizes = await Promise.all(Array.from({ length: 4 }, () => both(hub)))
    expect(sizes).toEqual(Array.from({ length: 4 }, () => 24 << 20))
  })

  it('throws the hub’s refusal', async () => {
    const { hub } = await hubWithConnect((stream) => {
      stream.respond({ ':status': 503, 'content-type': 'application/json' })
      stream.end(JSON.stringify({ message: 'no agent', mcm: { code: 'MCM_AGENT_UNREACHABLE' } }))
    })
    await expect(hub.connect('c:443')).rejects.toMatchObject({
      code: 'MCM_AGENT_UNREACHABLE',
      message: 'no agent',
    })
  })
})
