import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openHub } from '../../src/client/hub.ts'
import { generateSigningKey } from '../../src/directory/signing-key.ts'
import { clientHello, inRecords } from './client-hello.ts'
import { closed, readText, Stage, until } from './stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open({ limits: { handshakeMs: 150, requestHeadMs: 150, idleMs: 150 } })
})

afterEach(() => stage.stop())

/** What comes back until the hub ends the connection. */
async function endOf(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await Promise.race([once(socket, 'end'), closed(socket)])
  return Buffer.concat(chunks)
}

async function connected(localAddress?: string): Promise<Socket> {
  const socket = stage.tcp(localAddress)
  await once(socket, 'connect')
  return socket
}

describe('the handshake', () => {
  it.each([
    [['h2', 'http/1.1'], 'http/1.1'],
    [['http/1.1', 'h2'], 'http/1.1'],
    [['h2'], 'h2'],
    [['h2', 'http/1.1', 'mcm-tunnel/1'], 'mcm-tunnel/1'],
    [[], false],
  ])('of a client that offers %j chooses %j', async (offered, chosen) => {
    const socket = await stage.tls(undefined, offered)
    expect(socket.alpnProtocol).toBe(chosen)
  })

  it('refuses a client that offers only what the hub does not speak', async () => {
    await expect(stage.tls(undefined, ['spdy/3'])).rejects.toThrow(
      /no application protocol|closed/i,
    )
  })

  it('shows exactly the hub’s own certificate, in TLS 1.3', async () => {
    const socket = await stage.tls(await stage.keyIdentity(generateSigningKey()))
    expect(socket.getProtocol()).toBe('TLSv1.3')
    expect(socket.getPeerX509Certificate()!.raw.equals(stage.identity.der)).toBe(true)
  })

  it('resumes no session, so that nobody comes in without showing a certificate', async () => {
    const socket = await stage.tls(await stage.keyIdentity(generateSigningKey()), ['http/1.1'])
    const sessions: Buffer[] = []
    socket.on('session', (session: Buffer) => sessions.push(session))
    socket.write('GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n')
    await endOf(socket)
    for (const session of [...sessions, socket.getSession()!]) {
      const again = await stage.tls(undefined, ['http/1.1'], undefined, session)
      expect(again.isSessionReused()).toBe(false)
    }
  })

  it('names no authority and no cluster to a stranger, even with 2 000 clusters', async () => {
    // With the limits of a real hub: a busy machine may leave a connection idle for a while.
    await stage.stop()
    stage = await Stage.founded()
    const ids = await stage.clusters(2_000)
    const script = join(import.meta.dirname, 'trace-handshake.ts')
    const port = String(stage.hub.address.port)
    const { stderr } = await promisify(execFile)(process.execPath, [script, port])
    expect(stderr).toContain('CertificateRequest')
    expect(stderr).toContain('Finished')
    expect(stderr).not.toContain('certificate_authorities')
    for (const id of ids) expect(stderr).not.toContain(id)
  })
})

describe('what is no handshake', () => {
  it.each([
    ['an HTTP request in plain text', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['an SSH banner', 'SSH-2.0-OpenSSH_9.9\r\n'],
    ['an SSLv2 hello', Buffer.from('802e0100020015000000100100800700c0', 'hex')],
    ['a TLS alert', Buffer.from('15030300020228', 'hex')],
    ['a Postgres SSLRequest', Buffer.from('0000000804d2162f', 'hex')],
  ])('%s is closed in bounded time and answered with no HTTP', async (_what, bytes) => {
    const socket = await connected()
    socket.write(bytes)
    expect((await endOf(socket)).toString('latin1')).not.toContain('HTTP')
    expect(stage.log.lines.filter(({ event }) => event !== 'hub_started')).toEqual([])
  })

  it('nothing at all is closed in bounded time', async () => {
    await endOf(await connected())
  })

  it('nothing, or half a ClientHello, and an end is closed at once', async () => {
    await stage.stop()
    stage = await Stage.open({ limits: { handshakeMs: 60_000 } })
    const [nothing, half] = [await connected(), await connected()]
    nothing.end()
    half.end((await clientHello()).subarray(0, 100))
    const started = performance.now()
    await Promise.all([endOf(nothing), endOf(half)])
    expect(performance.now() - started).toBeLessThan(1_000)
  })

  it('a handshake that stalls half way is closed in bounded time', async () => {
    const socket = await connected()
    const hello = await clientHello()
    socket.write(hello.subarray(0, hello.length - 1))
    await endOf(socket)
  })

  it('TLS 1.2 is refused with an alert', async () => {
    const socket = await connected()
    // ClientHello of TLS 1.2 without supported_versions.
    const body = Buffer.concat([
      Buffer.from([3, 3]),
      Buffer.alloc(32, 7),
      Buffer.from('00', 'hex'),
      Buffer.from('0004c02fc030', 'hex'),
      Buffer.from('0100', 'hex'),
    ])
    const message = Buffer.concat([Buffer.from([1, 0, 0, body.length]), body])
    socket.write(Buffer.concat([Buffer.from([0x16, 3, 1, 0, message.length]), message]))
    const answer = await endOf(socket)
    expect(answer[0]).toBe(0x15)
    expect(answer.at(-1)).toBe(70)
  })
})

describe('an unusual but honest handshake', () => {
  const SERVER_HELLO = 0x16

  it('of a ClientHello in segments of one byte goes on', async () => {
    await stage.stop()
    stage = await Stage.open()
    const socket = await connected()
    socket.setNoDelay(true)
    const answered = once(socket, 'data')
    for (const byte of await clientHello()) {
      socket.write(Buffer.of(byte))
      await turn()
    }
    expect((await answered)[0][0]).toBe(SERVER_HELLO)
  })

  it('of a ClientHello in three records goes on', async () => {
    const socket = await connected()
    socket.write(inRecords(await clientHello(), 3))
    expect((await once(socket, 'data'))[0][0]).toBe(SERVER_HELLO)
  })
})

describe('a crowd that only knocks', () => {
  it('from one address is capped, and somebody from another comes in', async () => {
    await stage.stop()
    stage = await Stage.open({ limits: { handshakesPerAddress: 8, handshakeMs: 60_000 } })
    const crowd = Array.from({ length: 50 }, () => knock('127.0.0.2'))
    await until(() => crowd.filter(({ isRefused }) => isRefused).length === 42, 'the rest refused')
    expect((await stage.tls()).getProtocol()).toBe('TLSv1.3')
    for (const { socket } of crowd) socket.destroy()
    const hello = await clientHello()
    let isAnswered = false
    await until(() => {
      const { socket } = knock('127.0.0.2')
      socket.once('data', () => {
        isAnswered = true
      })
      socket.write(hello)
      return isAnswered
    }, 'its address is free again')
  })

  it('is capped in all as well', async () => {
    await stage.stop()
    stage = await Stage.open({ limits: { handshakes: 4, handshakeMs: 60_000 } })
    const crowd = Array.from({ length: 10 }, (_, index) => knock(`127.0.0.${index + 2}`))
    await until(() => crowd.filter(({ isRefused }) => isRefused).length === 6, 'six of ten refused')
  })

  it('after its handshake gets a few places, while devices and other addresses come in', async () => {
    await stage.stop()
    stage = await Stage.founded({ limits: { strangersPerAddress: 3, idleMs: 60_000 } })
    const held = await Promise.all([1, 2, 3].map(() => stage.api(generateSigningKey())))
    for (const api of held) await api.info()
    await endOf(await stage.tls(undefined, ['h2']))
    expect((await (await stage.api(stage.alice)).info()).fleet).toBeDefined()
    const elsewhere = await stage.tls(undefined, ['h2'], stage.tcp('127.0.0.2'))
    expect((await openHub(elsewhere).info()).fleet).toBeDefined()
    held[0]!.close()
    await held[0]!.closed
    let isIn = false
    await until(() => {
      const asking = stage.api().then((api) => api.info())
      asking.then(
        () => {
          isIn = true
        },
        () => {},
      )
      return isIn
    }, 'there is room again')
  })

  it('by vanishing in the middle does not end the hub', async () => {
    const hello = await clientHello()
    for (let count = 0; count < 50; count += 1) {
      const socket = await connected()
      socket.write(hello.subarray(0, 10 * count))
      socket.resetAndDestroy()
    }
    expect((await stage.tls()).getProtocol()).toBe('TLSv1.3')
  })
})

/** A connection that says nothing; refused when the hub ends it. */
function knock(localAddress: string): { socket: Socket; isRefused: boolean } {
  const knocking = { socket: stage.tcp(localAddress), isRefused: false }
  knocking.socket.resume().once('end', () => {
    knocking.isRefused = true
  })
  return knocking
}

describe('connections on which nothing happens', () => {
  it.each([
    ['HTTP/1.1 without a request', ['http/1.1'], ''],
    ['HTTP/1.1 with half a request', ['http/1.1'], 'CONNECT c-aaaaaaaaaa.clusters'],
    ['no ALPN and no request', [], ''],
    ['HTTP/2 without a preface', ['h2'], ''],
    [
      'HTTP/2 of a stranger without a stream',
      ['h2'],
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0',
    ],
  ])('%s is closed in bounded time', async (_what, protocols, bytes) => {
    const socket = await stage.tls(undefined, protocols)
    if (bytes) socket.write(Buffer.from(bytes, 'latin1'))
    await endOf(socket)
  })

  it('HTTP/2 that was ended and does not end itself is cut', async () => {
    const transport = stage.tcp()
    const socket = await stage.tls(undefined, ['h2'], transport)
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 'latin1')
    await endOf(socket)
    const timer = setInterval(() => socket.write('x'), 50)
    await closed(socket)
    clearInterval(timer)
  })

  it('one that sends a request byte by byte is closed in bounded time', async () => {
    const socket = await stage.tls(undefined, ['http/1.1'])
    const timer = setInterval(() => socket.write('x'), 20)
    socket.write('GET /healthz HTTP/1.1\r\nX: ')
    // A byte that crosses the end of the connection makes a reset of it.
    const answer = await endOf(socket).catch(() => '')
    clearInterval(timer)
    expect(answer.toString()).not.toContain('200')
  })
})

describe('HTTP/1.1 for probes and tools', () => {
  async function ask(request: string): Promise<string> {
    const socket = await stage.tls(undefined, ['http/1.1'])
    socket.write(request)
    return (await endOf(socket)).toString().split('\r\n')[0]!
  }

  it.each([
    ['GET /healthz HTTP/1.1', '200 OK'],
    ['GET /readyz HTTP/1.1', '200 OK'],
    ['GET /metrics HTTP/1.1', '404 Not Found'],
    ['GET /v1/hub HTTP/1.1', '404 Not Found'],
    ['GET https://hub/healthz HTTP/1.1', '404 Not Found'],
    ['POST /healthz HTTP/1.1', '404 Not Found'],
    ['OPTIONS * HTTP/1.1', '404 Not Found'],
    ['GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade', '400 no upgrades here'],
    ['GET /a b HTTP/1.1', '400 bad request'],
    ['GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3', '400 bad request'],
  ])('answers %j with %j', async (request, status) => {
    expect(await ask(`${request}\r\nHost: hub\r\nConnection: close\r\n\r\n`)).toBe(
      `HTTP/1.1 ${status}`,
    )
  })

  it('refuses a request head of 20 KB', async () => {
    expect(await ask(`GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`)).toBe(
      'HTTP/1.1 400 bad request',
    )
  })

  it('reads no second request behind a malformed one', async () => {
    const socket = await stage.tls(undefined, ['http/1.1'])
    socket.write('BAD\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
    expect((await endOf(socket)).toString()).not.toContain('200')
  })

  it('accepts what tools add to a CONNECT and does not need', async () => {
    await stage.found()
    const cluster = await stage.cluster('alice')
    await stage.agent(cluster)
    const socket = await stage.tls(await stage.keyIdentity(stage.alice), [])
    socket.write(
      `CONNECT ${cluster.authority} HTTP/1.0\r\nHost: ${cluster.authority}\r\nConnection: keep-alive\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\n\r\nearly bytes`,
    )
    const text = readText(socket)
    socket.end()
    expect(await text).toBe('HTTP/1.1 200 Connection established\r\n\r\nearly bytes')
  })
})

describe('a port that is taken', () => {
  it('is named, with what to do', async () => {
    const other = Stage.open({ port: stage.hub.address.port })
    await expect(other).rejects.toMatchObject({
      code: 'MCM_PORT_TAKEN',
      message: `cannot listen on 127.0.0.1:${stage.hub.address.port}: another program listens there`,
    })
  })
})

describe('metrics', () => {
  it('are on their own listener, plain, and never on the public one', async () => {
    await stage.stop()
    stage = await Stage.open({ metricsPort: 0 })
    await stage.tls()
    const port = stage.hub.address.metricsPort!
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`)
    const text = await answer.text()
    expect(answer.status).toBe(200)
    expect(text).toContain('mcm_hub_tunnels 0')
    expect(text).toContain('mcm_hub_connections_total{protocol="http/1.1"} 1')
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(404)
    const outside = connectTcp({ port, host: '127.0.0.2' })
    outside.on('error', () => {})
    await closed(outside)
    expect(outside.connecting).toBe(false)
  })
})
