import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { connect as connectTls } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectLocally, get, messageOf, openHttp2, request2, sendRaw } from './local-client.ts'
import { CLUSTER_ID, localTls, type Stage, startStage, TestWorld } from './stage.ts'

let stage: Stage
beforeEach(async () => {
  stage = await startStage()
})
afterEach(() => stage.stop())

const PODS = `/${CLUSTER_ID}/api/v1/pods?limit=1`

/** Everything until the end, however it comes about. */
function received(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.on('error', () => {})
    socket.once('close', () => resolve(text))
  })
}

function namesAtAgent(): string[] {
  return stage.agent.seen.flatMap(({ headers }) => headers.map(([name]) => name))
}

function valuesAtAgent(name: string): string[] {
  const [seen] = stage.agent.seen.slice(-1)
  return seen!.headers.filter(([key]) => key === name).map(([, value]) => value)
}

describe('a request', () => {
  it('reaches the cluster’s agent without the prefix, as the person of the certificate', async () => {
    const answer = await get(stage, PODS, 'Accept: application/json')
    expect(answer).toMatchObject({ status: 200, text: 'ok' })
    expect(stage.agent.seen).toMatchObject([
      { httpVersion: '2.0', method: 'GET', url: '/api/v1/pods?limit=1', certificateUser: 'bob' },
    ])
    expect(valuesAtAgent('impersonate-user')).toEqual(['bob'])
    expect(valuesAtAgent('impersonate-group')).toEqual(['dev', 'ops'])
    expect(valuesAtAgent('accept')).toEqual(['application/json'])
  })

  it('may name the cluster by its display name', async () => {
    expect((await get(stage, '/idc-k8s/version')).status).toBe(200)
    expect(stage.agent.seen[0]?.url).toBe('/version')
  })

  it('works over HTTP/2 as well, with its body', async () => {
    stage.agent.answer = (request, response) => request.pipe(response as never)
    const session = await openHttp2(stage)
    const pseudo = { ':method': 'POST', ':path': `/${CLUSTER_ID}/api/v1/pods` }
    expect(await request2(session, pseudo, [], 'a body')).toMatchObject({
      status: 200,
      text: 'a body',
    })
    session.close()
  })

  it('pays for one inner session only, however many follow', async () => {
    await Promise.all(Array.from({ length: 20 }, () => get(stage, PODS)))
    expect(stage.ways.connections).toHaveLength(1)
    expect(stage.ways.asked).toHaveLength(1)
    expect(stage.agent.seen).toHaveLength(20)
  })

  it('carries the bytes of the target unchanged', async () => {
    const path = `/api/v1/namespaces/a%2Fb/pods/x%20y;z?fieldSelector=metadata.name%3Dq&a=%zz`
    await get(stage, `/${CLUSTER_ID}${path}`)
    expect(stage.agent.seen[0]?.url).toBe(path)
  })

  it.each([
    ['no path', '', '/'],
    ['a query alone', '?a=b', '/?a=b'],
    ['a bare slash', '/', '/'],
  ])('with %s behind the cluster asks for the root', async (_, rest, expected) => {
    await get(stage, `/${CLUSTER_ID}${rest}`)
    expect(stage.agent.seen[0]?.url).toBe(expected)
  })

  it.each([
    'https://elsewhere/api',
    `/${CLUSTER_ID}//elsewhere/api`,
    `//${CLUSTER_ID}/api`,
    `/${CLUSTER_ID}/\\elsewhere`,
    `/${CLUSTER_ID}/../c-bbbbbbbbbb/api`,
    `/${CLUSTER_ID}/api/./v1`,
    `/${CLUSTER_ID}/..`,
    '*',
  ])('for %s is refused', async (target) => {
    expect((await get(stage, target)).status).toBe(400)
    expect(stage.agent.seen).toEqual([])
  })

  it('for an unknown cluster is answered with a Status that says so', async () => {
    const answer = await get(stage, '/c-bbbbbbbbbb/api')
    expect(answer.status).toBe(404)
    expect(messageOf(answer)).toContain('no cluster "c-bbbbbbbbbb" is known to you')
    for (const path of ['/', '/api/v1/pods', '/__proto__/api', '/constructor'])
      expect((await get(stage, path)).status).toBe(404)
  })

  it('finds a cluster that was registered a moment ago, and no longer one that went', async () => {
    const [first] = stage.clusters
    expect((await get(stage, '/new-name/api')).status).toBe(404)
    stage.clusters.push({ ...first!, id: 'c-cccccccccc', name: 'new-name' })
    expect((await get(stage, '/new-name/api')).status).toBe(200)
    stage.clusters.pop()
    stage.world.forward(6_000)
    await get(stage, '/new-name/api')
    expect((await get(stage, '/new-name/api')).status).toBe(404)
  })

  it('by a name that two clusters have is refused, naming their ids', async () => {
    stage.clusters.push({ ...stage.clusters[0]!, id: 'c-cccccccccc' })
    const answer = await get(stage, '/idc-k8s/api')
    expect(answer.status).toBe(404)
    expect(messageOf(answer)).toContain('c-aaaaaaaaaa, c-cccccccccc')
  })

  it('goes to the cluster of that id even if another is called by it', async () => {
    stage.clusters.unshift({ ...stage.clusters[0]!, id: 'c-cccccccccc', name: CLUSTER_ID })
    await get(stage, PODS)
    expect(stage.log.join('\n')).toContain(`session opened {"cluster":"${CLUSTER_ID}"}`)
  })
})

describe('who may come in', () => {
  it('only whoever shows a certificate of the local CA: another user of this machine does not', async () => {
    const other = await localTls(new TestWorld())
    const { port } = stage.proxy.address
    const { local } = stage
    const clients = [
      {},
      { cert: other.certPem, key: other.keyPem },
      // The proxy's own certificate serves; it does not ask.
      { cert: local.tls.certPem, key: local.tls.keyPem.reveal() },
    ]
    for (const client of clients) {
      const socket = connectTls({ host: '127.0.0.1', port, ca: local.tls.caPem, ...client })
      socket.write(`GET ${PODS} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`)
      expect(await received(socket)).toBe('')
    }
    expect(stage.agent.seen).toEqual([])
  })

  it('nobody by resuming the session of somebody who may', async () => {
    const { port } = stage.proxy.address
    const { tls, certPem, keyPem } = stage.local
    const base = { host: '127.0.0.1', port, ca: tls.caPem }
    const first = connectTls({ ...base, cert: certPem, key: keyPem })
    const [ticket] = await once(first, 'session')
    first.destroy()
    const stranger = connectTls({ ...base, session: ticket })
    stranger.write(`GET ${PODS} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`)
    expect(await received(stranger)).toBe('')
    const again = connectTls({ ...base, session: ticket, cert: certPem, key: keyPem })
    await once(again, 'secureConnect')
    expect(again.isSessionReused()).toBe(false)
    again.destroy()
    expect(stage.agent.seen).toEqual([])
  })

  it('nobody in plain HTTP', async () => {
    const socket = connectTcp(stage.proxy.address.port, '127.0.0.1')
    socket.write(`GET ${PODS} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`)
    expect(await received(socket)).not.toContain('HTTP/')
  })

  it('only from this machine: no other address of it answers', async () => {
    const own = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
    // A link-local address (fe80::/10) is none without its device.
    const others = own.filter(({ address, internal }) => !internal && !/^fe[89ab]/i.test(address))
    // What listens everywhere would answer here too, on a machine without any network.
    const everywhere = process.platform === 'linux' ? ['127.0.0.2'] : []
    for (const address of [...others.map((each) => each.address), ...everywhere]) {
      const socket = connectTcp(stage.proxy.address.port, address)
      const [error] = await once(socket, 'error')
      expect({ address, code: error.code }).toEqual({ address, code: 'ECONNREFUSED' })
    }
  })

  it('also by ::1, on the same port, where this machine has it', async () => {
    const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
      list?.some(({ address }) => address === '::1'),
    )
    const socket = connectTcp(stage.proxy.address.port, '::1')
    const outcome = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ])
    expect(outcome).toBe(hasIpv6)
    socket.destroy()
  })

  it.each([
    'Origin: https://evil.example',
    'origin: null',
    'ORIGIN:',
    'Sec-Fetch-Site: none',
    'Sec-Fetch-Mode: navigate',
    'Sec_Fetch_Site: none',
    'Access-Control-Request-Method: POST',
    'Access-Control-Request-Headers: x',
    'Access-Control-Request-Private-Network: true',
  ])('no browser: %s', async (line) => {
    const answer = await get(stage, PODS, line)
    expect(answer.status).toBe(403)
    expect(messageOf(answer)).toContain('a browser sent it')
    expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual(
      [],
    )
    expect(stage.agent.seen).toEqual([])
    expect(stage.ways.asked).toEqual([])
  })

  it('no browser on HTTP/2 and no WebSocket of one', async () => {
    const session = await openHttp2(stage)
    const pseudo = { ':method': 'GET', ':path': PODS }
    const answer = await request2(session, pseudo, ['origin', 'https://evil.example'])
    expect(answer.status).toBe(403)
    session.destroy()
    const socket = await get(
      stage,
      PODS,
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      'Origin: http://127.0.0.1',
    )
    expect(socket.status).toBe(403)
    expect(stage.agent.seen).toEqual([])
  })

  it('asks for the browser before it asks for anything else', async () => {
    const answer = await get(stage, '/c-bbbbbbbbbb/api', 'Origin: x', 'Host: evil.example')
    expect(answer.status).toBe(403)
  })

  it.each([
    'evil.example',
    '127.0.0.1',
    '127.0.0.1:1',
    'localhost',
    '0.0.0.0:PORT',
    '127.0.0.1:PORT.evil.example',
    '127.0.0.2:PORT',
    '[::]:PORT',
    'LOCALHOST.:PORT',
  ])('nobody under the name %s (DNS rebinding)', async (host) => {
    const name = host.replace('PORT', String(stage.proxy.address.port))
    const answer = await get(stage, PODS, `Host: ${name}`)
    expect(answer.status).toBe(421)
    expect(stage.agent.seen).toEqual([])
  })

  it.each(['localhost:PORT', '[::1]:PORT', '127.0.0.1:PORT'])('under the name %s', async (host) => {
    const name = host.replace('PORT', String(stage.proxy.address.port))
    expect((await get(stage, PODS, `Host: ${name}`)).status).toBe(200)
  })

  it('no request with two hosts, none, or of HTTP/1.0', async () => {
    const host = `Host: 127.0.0.1:${stage.proxy.address.port}`
    const texts = [
      `GET ${PODS} HTTP/1.1\r\n${host}\r\n${host}\r\n\r\n`,
      `GET ${PODS} HTTP/1.1\r\nConnection: close\r\n\r\n`,
      `GET ${PODS} HTTP/1.0\r\n${host}\r\n\r\n`,
    ]
    for (const text of texts) expect(await sendRaw(stage, text)).toMatch(/^HTTP\/1\.1 400 /)
    expect(stage.agent.seen).toEqual([])
  })

  it('no HTTP/2 request for another authority, nor one that names two', async () => {
    const session = await openHttp2(stage)
    const pseudo = { ':method': 'GET', ':path': PODS, ':scheme': 'https' }
    const evil = await request2(session, { ...pseudo, ':authority': 'evil.example' })
    expect(evil.status).toBe(421)
    const next = await openHttp2(stage)
    const own = `127.0.0.1:${stage.proxy.address.port}`
    const both = await request2(next, { ...pseudo, ':authority': own }, ['host', 'evil.example'])
    expect(both.status).toBe(400)
    for (const open of [session, next]) open.destroy()
  })
})

describe('headers', () => {
  it('that are meant for this hop or name credentials of this machine stay here', async () => {
    await get(
      stage,
      PODS,
      'Authorization: Bearer local-secret',
      'Cookie: session=local-secret',
      'Proxy-Authorization: Basic local-secret',
      'X-Forwarded-For: 10.0.0.1',
      'Forwarded: for=10.0.0.1',
      'Via: 1.1 x',
      'Keep-Alive: 5',
      'TE: trailers',
      'Connection: X-Own, keep-alive',
      'X-Own: 1',
      'X-Other: 2',
    )
    expect(namesAtAgent().sort()).toEqual(
      ['host', 'impersonate-group', 'impersonate-group', 'impersonate-user', 'x-other'].filter(
        (name) => name !== 'host' || namesAtAgent().includes('host'),
      ),
    )
    expect(JSON.stringify(stage.agent.seen)).not.toContain('local-secret')
  })

  it('of Node’s own fetch stay here', async () => {
    expect(await get(stage, PODS, 'Sec-Fetch-Mode: cors')).toMatchObject({ status: 200 })
    expect(namesAtAgent()).not.toContain('sec-fetch-mode')
  })

  it('of kubectl --as pass untouched, and ours are not mixed into them', async () => {
    await get(
      stage,
      PODS,
      'Impersonate-User: alice',
      'Impersonate-Group: a',
      'Impersonate-Group: b',
    )
    expect(valuesAtAgent('impersonate-user')).toEqual(['alice'])
    expect(valuesAtAgent('impersonate-group')).toEqual(['a', 'b'])
  })

  it('of --as cannot be dropped by Connection: that would give more power than was asked for', async () => {
    await get(stage, PODS, 'Connection: Impersonate-User', 'Impersonate-User: alice')
    expect(valuesAtAgent('impersonate-user')).toEqual(['alice'])
    await get(stage, PODS, 'Connection: Impersonate-User, Impersonate-Group')
    expect(valuesAtAgent('impersonate-user')).toEqual(['bob'])
    expect(valuesAtAgent('impersonate-group')).toEqual(['dev', 'ops'])
  })

  it.each(['Impersonate-Group: system:masters', 'impersonate_user: alice', 'Impersonate-Uid: 1'])(
    'such as %s are the agent’s to judge: nothing is put beside them',
    async (line) => {
      await get(stage, PODS, line)
      expect(valuesAtAgent('impersonate-user')).toEqual([])
      expect(namesAtAgent()).toContain(line.split(':')[0]!.toLowerCase())
    },
  )

  it('name a person in UTF-8', async () => {
    stage.ways.user = 'Łukasz'
    await get(stage, PODS)
    const [name] = valuesAtAgent('impersonate-user')
    expect(Buffer.from(name!, 'latin1').toString('utf8')).toBe('Łukasz')
  })

  it('of an answer lose cookies and CORS, and keep what Kubernetes says', async () => {
    stage.agent.answer = (_request, response) => {
      response.setHeader('set-cookie', 'a=b')
      response.setHeader('access-control-allow-origin', '*')
      response.setHeader('warning', '299 - "deprecated"')
      response.end()
    }
    const { headers } = await get(stage, PODS)
    expect(headers).toMatchObject({ warning: '299 - "deprecated"' })
    expect(headers).not.toHaveProperty('set-cookie')
    expect(headers).not.toHaveProperty('access-control-allow-origin')
  })
})

describe('stopping', () => {
  it('ends listeners, clients and sessions', async () => {
    const client = await connectLocally(stage, ['http/1.1'])
    client.resume()
    await get(stage, PODS)
    const gone = once(client, 'close')
    await stage.proxy.stop()
    await stage.proxy.closed
    await gone
    const again = connectTcp(stage.proxy.address.port, '127.0.0.1')
    expect((await once(again, 'error'))[0]).toMatchObject({ code: 'ECONNREFUSED' })
  })
})
