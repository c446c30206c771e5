import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { buffer, text as textOf } from 'node:stream/consumers'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { AccessDeniedError, IdentityError } from '../../src/errors.ts'
import { createAuthority } from '../../src/pki/authority.ts'
import { connectLocally, get, messageOf, openHttp2, request2, sendRaw } from './local-client.ts'
import type { AgentResponse, Stage } from './stage.ts'
import { CLUSTER_ID, startStage, TestWorld, unreachable } from './stage.ts'

let stage: Stage
let otherCaPem: string
beforeAll(async () => {
  otherCaPem = (await createAuthority(new TestWorld(), { commonName: 'server' })).certificatePem
})
beforeEach(async () => {
  stage = await startStage()
})
afterEach(() => stage.stop())

const PODS = `/${CLUSTER_ID}/api/v1/pods`
const HOUR_MS = 3_600_000

function post(path = PODS, body = '{}'): Promise<string> {
  const host = `127.0.0.1:${stage.proxy.address.port}`
  const head = `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${body.length}`
  return sendRaw(stage, `${head}\r\nConnection: close\r\n\r\n${body}`)
}

describe('certificates', () => {
  it('a hundred waiting requests make one renewal', async () => {
    const gate = Promise.withResolvers<void>()
    stage.ways.gate = gate.promise
    const waiting = Array.from({ length: 100 }, () => get(stage, PODS))
    await expect.poll(() => stage.ways.asked.length).toBe(1)
    gate.resolve()
    const answers = await Promise.all(waiting)
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    expect(stage.ways.asked).toHaveLength(1)
  })

  it('one that has expired is replaced before the next request is sent', async () => {
    await get(stage, PODS)
    stage.world.forward(13 * HOUR_MS)
    expect((await get(stage, PODS)).status).toBe(200)
    expect(stage.ways.asked).toHaveLength(2)
    expect(stage.ways.connections).toHaveLength(2)
  })

  it('a new one takes over without cutting what runs on the old', async () => {
    const answers: AgentResponse[] = []
    stage.agent.answer = (request, response) => {
      if (!request.url?.includes('watch')) return void response.end('ok')
      answers.push(response)
      response.write('first ')
    }
    const session = await openHttp2(stage)
    const watch = session.request({ ':path': `${PODS}?watch=1` })
    await once(watch, 'data')
    stage.world.forward(13 * HOUR_MS)
    stage.ways.user = 'bob-again'
    expect((await get(stage, PODS)).status).toBe(200)
    expect(stage.agent.seen.at(-1)?.certificateUser).toBe('bob-again')
    answers[0]!.end('last')
    expect(await textOf(watch)).toBe('last')
    session.destroy()
  })

  it('one the agent no longer accepts is replaced, and the GET that found out is sent again once', async () => {
    let refusals = 1
    stage.agent.answer = (_request, response) => {
      response.statusCode = refusals-- > 0 ? 401 : 200
      response.end('ok')
    }
    expect((await get(stage, PODS)).status).toBe(200)
    expect(stage.ways.asked).toEqual([undefined, expect.stringContaining('CERTIFICATE')])
    expect(stage.agent.seen).toHaveLength(2)
  })

  it('a 401 that stays is passed on, after one repetition', async () => {
    stage.agent.answer = (_request, response) => {
      response.statusCode = 401
      response.end('{}')
    }
    expect((await get(stage, PODS)).status).toBe(401)
    expect(stage.agent.seen).toHaveLength(2)
  })

  it('a POST is not sent again on 401, but the next request has another certificate', async () => {
    stage.agent.answer = (_request, response) => {
      response.statusCode = stage.agent.seen.length === 1 ? 401 : 200
      response.end('ok')
    }
    expect(await post()).toMatch(/^HTTP\/1\.1 401 /)
    expect(await post()).toMatch(/^HTTP\/1\.1 200 /)
    expect(stage.agent.seen).toHaveLength(2)
    expect(stage.ways.asked).toHaveLength(2)
  })
})

describe('when something is missing', () => {
  afterEach(() => vi.useRealTimers())

  /** By a clock that is moved once all wait: what needs a second deadline behind the first is never answered. */
  async function withinThreeSeconds<T>(
    ask: () => Promise<T>,
    isWaiting: () => boolean,
  ): Promise<T> {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const answer = ask()
    while (!isWaiting()) await turn()
    vi.advanceTimersByTime(3_000)
    return answer
  }

  it('a needed login is a 401 Status that says what to do, at once', async () => {
    stage.ways.credentialFailure = new IdentityError(
      'MCM_NOT_LOGGED_IN',
      'this device is not logged in',
      { hint: "mcm login 'mcm://…'" },
    )
    const answer = await get(stage, PODS)
    expect(answer.status).toBe(401)
    expect(messageOf(answer)).toBe("mcm: this device is not logged in; mcm login 'mcm://…'")
    expect(JSON.parse(answer.text)).toMatchObject({ kind: 'Status', reason: 'Unauthorized' })
  })

  it('a hub that is down is a 503 Status, and the next request finds it up again', async () => {
    stage.ways.hubFailure = unreachable('no hub answers')
    const answer = await get(stage, PODS)
    expect(answer.status).toBe(503)
    expect(messageOf(answer)).toBe('mcm: no hub answers; check the network')
    stage.ways.hubFailure = undefined
    expect((await get(stage, PODS)).status).toBe(200)
  })

  it('a hub that says nothing is a 503 Status within three seconds', async () => {
    stage.ways.hubIsSilent = true
    const ask = () => Promise.all([get(stage, PODS), get(stage, PODS, ...WEBSOCKET)])
    for (const each of await withinThreeSeconds(ask, () => stage.ways.unanswered === 2)) {
      expect(each.status).toBe(503)
      expect(messageOf(each)).toContain('the agent of idc-k8s did not answer within')
    }
  })

  it('a list of clusters that hangs is a 503 Status within three seconds', async () => {
    await stage.stop()
    let asked = 0
    stage = await startStage(() => ({
      clusters: () => {
        asked += 1
        return new Promise(() => {})
      },
    }))
    const answer = await withinThreeSeconds(
      () => get(stage, PODS),
      () => asked > 0,
    )
    expect([answer.status, messageOf(answer)]).toEqual([
      503,
      'mcm: the hub did not answer within 2.8 s; try again; mcm clusters shows which agents are connected',
    ])
  })

  it('a list that cannot be read again does not close what is open', async () => {
    let fails = false
    await stage.stop()
    stage = await startStage(({ clusters }) => ({
      clusters: async () => {
        if (fails) throw unreachable('no hub answers')
        return clusters
      },
    }))
    await get(stage, PODS)
    fails = true
    stage.world.forward(6_000)
    for (let count = 0; count < 3; count += 1) expect((await get(stage, PODS)).status).toBe(200)
    expect(stage.ways.connections).toHaveLength(1)
  })

  it('a credential that hangs is a 503 Status within three seconds', async () => {
    stage.ways.gate = new Promise(() => {})
    const isAsked = () => stage.ways.asked.length > 0
    const answer = await withinThreeSeconds(() => get(stage, PODS), isAsked)
    expect(answer.status).toBe(503)
  })

  it('being refused is a 403 Status with its reason', async () => {
    stage.ways.hubFailure = new AccessDeniedError('MCM_REVOKED', 'this device was revoked')
    const answer = await get(stage, PODS)
    expect([answer.status, messageOf(answer)]).toEqual([403, 'mcm: this device was revoked'])
  })

  it('a bug of ours shows nothing of itself', async () => {
    stage.ways.hubFailure = new Error('secret detail')
    const answer = await get(stage, PODS)
    expect([answer.status, messageOf(answer)]).toEqual([500, 'mcm: internal error'])
  })
})

describe('another agent', () => {
  it('with a certificate of anyone else is a 502 Status: no request is sent to it', async () => {
    await stage.stop()
    stage = await startStage(({ clusters, ways }) => ({
      clusters: async () => clusters.map((cluster) => ({ ...cluster, serverCaPem: otherCaPem })),
      connect: ways.connect,
    }))
    const answer = await get(stage, PODS)
    expect(answer.status).toBe(502)
    expect(messageOf(answer)).toContain('has no certificate of that cluster')
    expect(stage.agent.seen).toEqual([])
  })
})

describe('ways', () => {
  it('the direct address is tried when no hub answers, with the same two certificates', async () => {
    await stage.stop()
    stage = await startStage(({ ways }) => {
      const direct = ways.connect
      return {
        connect: async () => {
          throw unreachable('no hub answers')
        },
        connectDirect: direct,
      }
    })
    expect((await get(stage, PODS)).status).toBe(200)
    expect(stage.log.join('\n')).toContain('trying the direct address')
  })

  it('the direct address answers in time when the hub takes the connection and then says nothing', async () => {
    await stage.stop()
    stage = await startStage(({ ways }) => ({
      connect: () => new Promise(() => {}),
      connectDirect: ways.connect,
    }))
    const began = performance.now()
    expect((await get(stage, PODS)).status).toBe(200)
    expect(performance.now() - began).toBeLessThan(2_800)
  })

  it('a hub whose cluster has no direct address is waited for, and its failure is what is said', async () => {
    await stage.stop()
    stage = await startStage(() => ({
      connect: async () => {
        throw unreachable('no hub answers')
      },
      connectDirect: async () => undefined,
    }))
    const answer = await get(stage, PODS)
    expect(answer.status).toBe(503)
    expect(messageOf(answer)).toContain('no hub answers')
  })

  it('the direct address is no way around a hub that refuses', async () => {
    await stage.stop()
    stage = await startStage(({ ways }) => ({
      connect: async () => {
        throw new AccessDeniedError('MCM_REVOKED', 'this device was revoked')
      },
      connectDirect: ways.connect,
    }))
    expect((await get(stage, PODS)).status).toBe(403)
    expect(stage.agent.seen).toEqual([])
  })
})

describe('a session that dies', () => {
  it('while idle is replaced without anybody noticing', async () => {
    await get(stage, PODS)
    stage.ways.connections[0]!.cut()
    await expect.poll(async () => (await get(stage, PODS)).status).toBe(200)
    expect(await post()).toMatch(/^HTTP\/1\.1 200 /)
  })

  it('under a GET without an answer lets it be sent again, once', async () => {
    stage.agent.answer = (_request, response) => {
      if (stage.agent.seen.length > 1) return void response.end('second')
      stage.ways.connections[0]!.cut()
    }
    expect(await get(stage, PODS)).toMatchObject({ status: 200, text: 'second' })
    expect(stage.agent.seen).toHaveLength(2)
  })

  it('under the repeated GET too ends it with 503', async () => {
    stage.agent.answer = () => stage.ways.connections.at(-1)!.cut()
    expect((await get(stage, PODS)).status).toBe(503)
    expect(stage.agent.seen).toHaveLength(2)
  })

  it.each(['POST', 'PUT', 'PATCH', 'DELETE'])(
    'under a %s never lets it be sent a second time',
    async (method) => {
      stage.agent.answer = () => stage.ways.connections[0]!.cut()
      const session = await openHttp2(stage)
      const body = method === 'DELETE' ? undefined : '{}'
      const answer = await request2(session, { ':method': method, ':path': PODS }, [], body)
      expect(answer.status).toBe(503)
      expect(stage.agent.seen).toHaveLength(1)
      session.destroy()
    },
  )

  it('in the middle of an answer cuts the answer: nobody takes a part for the whole', async () => {
    stage.agent.answer = (_request, response) => void response.write('half')
    const session = await openHttp2(stage)
    const stream = session.request({ ':path': PODS })
    expect(String((await once(stream, 'data'))[0])).toBe('half')
    const cut = once(stream.resume(), 'end')
    stage.ways.connections[0]!.cut()
    await expect(cut).rejects.toThrow()
    expect(stage.agent.seen).toHaveLength(1)
    session.destroy()
  })

  it('without a word, while the lid was closed, is found out by a probe and replaced', async () => {
    await get(stage, PODS)
    stage.ways.connections[0]!.freeze()
    stage.world.forward(60_000)
    expect((await get(stage, PODS)).status).toBe(200)
    expect(stage.ways.connections).toHaveLength(2)
  })

  it('is not suspected while it answers the probe', async () => {
    await get(stage, PODS)
    stage.world.forward(60_000)
    expect((await get(stage, PODS)).status).toBe(200)
    expect(stage.ways.connections).toHaveLength(1)
  })
})

describe('clients that leave', () => {
  it('end the request at the agent within a second', async () => {
    const { promise: ended, resolve } = Promise.withResolvers<void>()
    stage.agent.answer = (request, response) => {
      request.on('close', resolve)
      response.write('an event')
    }
    const session = await openHttp2(stage)
    const watch = session.request({ ':path': `${PODS}?watch=1` })
    await once(watch, 'data')
    const began = Date.now()
    session.destroy()
    await ended
    expect(Date.now() - began).toBeLessThan(1_000)
  })

  it('before the session is there leave no request behind', async () => {
    const gate = Promise.withResolvers<void>()
    stage.ways.gate = gate.promise
    const socket = await connectLocally(stage, ['http/1.1'])
    const host = `127.0.0.1:${stage.proxy.address.port}`
    socket.write(`GET ${PODS} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    await expect.poll(() => stage.ways.asked.length).toBe(1)
    socket.destroy()
    await once(socket, 'close')
    await get(stage, '/nothing')
    gate.resolve()
    expect((await get(stage, '/idc-k8s/version')).status).toBe(200)
    expect(stage.agent.seen.map(({ url }) => url)).toEqual(['/version'])
  })
})

const WEBSOCKET = [
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]
const ACCEPT = createHash('sha1')
  .update('dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11')
  .digest('base64')

describe('upgrades', () => {
  const EXEC = `${PODS}/p/exec?command=sh`

  it('get a connection of their own, as HTTP/1.1, with the identity of the certificate', async () => {
    stage.agent.upgrade = (_request, socket, head) => {
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`,
      )
      if (head.length > 0) socket.write(head)
      socket.pipe(socket)
    }
    await get(stage, PODS)
    const socket = await connectLocally(stage, [])
    const host = `Host: 127.0.0.1:${stage.proxy.address.port}`
    socket.write(`${[`GET ${EXEC} HTTP/1.1`, host, ...WEBSOCKET].join('\r\n')}\r\n\r\nearly `)
    await expect.poll(() => stage.agent.seen.length).toBe(2)
    socket.end('late')
    expect((await buffer(socket)).toString()).toMatch(/^HTTP\/1\.1 101 [\s\S]*\r\n\r\nearly late$/)
    expect(stage.ways.connections).toHaveLength(2)
    const seen = stage.agent.seen[1]!
    expect(seen).toMatchObject({ httpVersion: '1.1', url: '/api/v1/pods/p/exec?command=sh' })
    expect(seen.headers).toContainEqual(['host', `${CLUSTER_ID}.clusters.mcm.internal`])
    expect(seen.headers).toContainEqual(['impersonate-user', 'bob'])
    expect(seen.headers.filter(([name]) => name === 'impersonate-group')).toHaveLength(2)
  })

  it('keep every X-Stream-Protocol-Version line of SPDY', async () => {
    stage.agent.upgrade = (_request, socket) => {
      socket.end(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nbytes',
      )
    }
    const host = `Host: 127.0.0.1:${stage.proxy.address.port}`
    const lines = ['v5.channel.k8s.io', 'v4.channel.k8s.io'].map(
      (version) => `X-Stream-Protocol-Version: ${version}`,
    )
    const socket = await connectLocally(stage, [])
    const head = [`POST ${EXEC} HTTP/1.1`, host, 'Connection: Upgrade', 'Upgrade: SPDY/3.1']
    socket.end(`${[...head, 'Content-Length: 0', ...lines].join('\r\n')}\r\n\r\n`)
    expect((await buffer(socket)).toString()).toMatch(/^HTTP\/1\.1 101 [\s\S]*bytes$/)
    const versions = stage.agent.seen[0]!.headers.filter(([name]) => name.startsWith('x-stream'))
    expect(versions.map(([, value]) => value)).toEqual(['v5.channel.k8s.io', 'v4.channel.k8s.io'])
  })

  it('that the agent refuses get its very answer, and nothing more passes', async () => {
    stage.agent.upgrade = (_request, socket) => {
      socket.on('data', () => stage.agent.seen.push({ ...stage.agent.seen[0]!, url: 'smuggled' }))
      socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno')
    }
    const answer = await get(stage, EXEC, ...WEBSOCKET)
    expect([answer.status, answer.text]).toEqual([403, 'no'])
    expect(stage.agent.seen).toHaveLength(1)
  })

  it.each([
    ['h2c', ['Upgrade: h2c', 'Connection: Upgrade, HTTP2-Settings', 'HTTP2-Settings: AAMAAABk']],
    ['two protocols', [...WEBSOCKET.slice(1), 'Upgrade: h2c, websocket']],
    ['a body', [...WEBSOCKET, 'Content-Length: 4']],
    [
      'a token as subprotocol',
      [...WEBSOCKET, 'Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.YQ, v5.k8s.io'],
    ],
  ])('with %s are refused here', async (_, lines) => {
    expect((await get(stage, EXEC, ...lines)).status).toBe(400)
    expect(stage.agent.seen).toEqual([])
    expect(stage.log.join()).not.toContain('YQ')
  })

  it('whose client leaves take their inner connection with them', async () => {
    const { promise: ended, resolve } = Promise.withResolvers<void>()
    stage.agent.upgrade = (_request, socket) => {
      socket.on('error', () => {})
      socket.once('close', resolve)
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`,
      )
    }
    const socket = await connectLocally(stage, [])
    const host = `Host: 127.0.0.1:${stage.proxy.address.port}`
    socket.write(`${[`GET ${EXEC} HTTP/1.1`, host, ...WEBSOCKET].join('\r\n')}\r\n\r\n`)
    await once(socket, 'data')
    socket.destroy()
    await ended
  })
})

describe('bytes', () => {
  it('go both ways at once, more than every window holds, and arrive whole', async () => {
    stage.agent.answer = (request, response) => request.pipe(response as never)
    const session = await openHttp2(stage)
    const body = randomBytes(24 << 20)
    const stream = session.request({ ':method': 'POST', ':path': PODS })
    stream.end(body)
    const echoed = await buffer(stream)
    expect(echoed.equals(body)).toBe(true)
    session.destroy()
  })

  it('of an upload that is cut off are never taken for the whole', async () => {
    const { promise: ended, resolve } = Promise.withResolvers<boolean>()
    stage.agent.answer = (request) => {
      request.resume()
      request.once('end', () => resolve(true))
      request.once('close', () => resolve(false))
    }
    const socket = await connectLocally(stage, ['http/1.1'])
    const host = `127.0.0.1:${stage.proxy.address.port}`
    const head = `POST ${PODS} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1000000\r\n\r\n`
    socket.write(`${head}${'x'.repeat(500_000)}`)
    await expect.poll(() => stage.agent.seen.length).toBe(1)
    socket.destroy()
    expect(await ended).toBe(false)
  })
})

it('nothing of a key is ever logged', async () => {
  await get(stage, PODS)
  stage.ways.hubFailure = new Error('odd')
  stage.ways.connections[0]!.cut()
  await post()
  expect(stage.log.length).toBeGreaterThan(1)
  expect(stage.log.join('\n')).not.toMatch(/PRIVATE|BEGIN|CERTIFICATE/)
})
