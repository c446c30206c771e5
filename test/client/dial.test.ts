import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { type DialOptions, dialHub } from '../../src/client/dial.ts'
import { TrustError } from '../../src/errors.ts'
import { peerKeyId } from '../../src/pki/peer.ts'
import { hubIdentity, keyIdentity } from './certificates.ts'

const servers: Server[] = []
const sockets = new Set<Socket>()

afterEach(() => {
  for (const server of servers.splice(0)) server.close()
  for (const socket of sockets) socket.destroy()
  sockets.clear()
})

async function listen(server: Server): Promise<number> {
  servers.push(server)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as { port: number }).port
}

async function startTls(options: TlsOptions = {}) {
  const identity = await hubIdentity()
  const accepted: TLSSocket[] = []
  const written: Buffer[] = []
  const server = createTlsServer(
    {
      key: identity.keyPem.reveal(),
      cert: identity.certPem,
      ALPNProtocols: ['h2'],
      requestCert: true,
      rejectUnauthorized: false,
      ...options,
    },
    (socket) => {
      accepted.push(socket)
      socket.on('error', () => {})
      socket.on('data', (chunk: Buffer) => written.push(chunk))
    },
  )
  server.on('tlsClientError', () => {})
  return { port: await listen(server), identity, accepted, written }
}

function options(port: number, pin: string, more: Partial<DialOptions> = {}): DialOptions {
  return { endpoint: `127.0.0.1:${port}`, alpn: 'h2', pin, check: () => {}, ...more }
}

describe('dialling a hub', () => {
  it('gives a socket with the pinned certificate, presenting our key', async () => {
    const { port, identity, accepted } = await startTls()
    const ours = await keyIdentity()
    const socket = await dialHub(options(port, identity.pin, ours))
    expect(socket.alpnProtocol).toBe('h2')
    expect(socket.getProtocol()).toBe('TLSv1.3')
    await expect.poll(() => accepted.length).toBe(1)
    const seen = accepted[0]!.getPeerX509Certificate()!.raw
    expect(peerKeyId(seen)).toMatch(/^[\w-]{43}$/)
    socket.destroy()
  })

  it('gives a socket that outlives the time it had to connect', async () => {
    const { port, identity } = await startTls()
    const socket = await dialHub(options(port, identity.pin, { timeoutMs: 200 }))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(socket.destroyed).toBe(false)
    socket.destroy()
  })

  it('refuses another certificate than the pinned one and writes nothing', async () => {
    const { port, written } = await startTls()
    const other = await hubIdentity()
    await expect(dialHub(options(port, other.pin))).rejects.toMatchObject({
      code: 'MCM_PIN_MISMATCH',
      message: expect.stringContaining('showed another certificate'),
    })
    expect(Buffer.concat(written).length).toBe(0)
  })

  it('refuses a pinned certificate that a hub must not have', async () => {
    const { port, identity } = await startTls()
    const refusal = new TrustError('MCM_CERTIFICATE_UNTRUSTED', 'it is a CA')
    const check = (der: Buffer) => {
      expect(der.equals(identity.der)).toBe(true)
      throw refusal
    }
    await expect(dialHub(options(port, identity.pin, { check }))).rejects.toBe(refusal)
  })

  it('refuses TLS 1.2', async () => {
    const { port, identity } = await startTls({ maxVersion: 'TLSv1.2' })
    await expect(dialHub(options(port, identity.pin))).rejects.toMatchObject({
      code: 'MCM_HUB_UNREACHABLE',
      message: expect.stringContaining('no TLS 1.3 with it'),
    })
  })

  it('refuses a server that chose no protocol of ours', async () => {
    const { port, identity } = await startTls({ ALPNProtocols: [] })
    await expect(dialHub(options(port, identity.pin))).rejects.toThrow('it does not speak h2')
  })

  it('says why nobody answers', async () => {
    const closed = createServer()
    const port = await listen(closed)
    closed.close()
    await expect(dialHub(options(port, 'x'))).rejects.toMatchObject({
      code: 'MCM_HUB_UNREACHABLE',
      message: `hub 127.0.0.1:${port} cannot be reached: connection refused`,
    })
    const nowhere = { ...options(1, 'x'), endpoint: 'no-such-host.invalid:8443' }
    await expect(dialHub(nowhere)).rejects.toMatchObject({ code: 'MCM_HUB_UNREACHABLE' })
  })

  it('gives up a peer that accepts and says nothing', async () => {
    const port = await listen(createServer())
    await expect(dialHub(options(port, 'x', { timeoutMs: 50 }))).rejects.toThrow(
      'no answer within 0.05 s',
    )
  })

  it('gives up a peer that ends the handshake', async () => {
    const port = await listen(createServer((socket) => socket.end()))
    await expect(dialHub(options(port, 'x'))).rejects.toMatchObject({ code: 'MCM_HUB_UNREACHABLE' })
  })

  it('ends with its signal, and says nothing of the hub then', async () => {
    const port = await listen(createServer())
    const abort = new AbortController()
    const dialling = dialHub(options(port, 'x', { signal: abort.signal }))
    abort.abort(new Error('interrupted'))
    await expect(dialling).rejects.toThrow('interrupted')
  })
})

describe('dialling a hub through a corporate proxy', () => {
  async function startProxy(answer?: string) {
    const seen: (string | undefined)[] = []
    const server = createHttpServer().on('connect', (request, socket: Socket) => {
      seen.push(request.url, request.headers['proxy-authorization'])
      if (answer) {
        socket.end(answer)
        return
      }
      const [host, port] = request.url!.split(':')
      const upstream = connect(Number(port), host)
      upstream.on('error', () => socket.destroy())
      socket.on('error', () => upstream.destroy())
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      upstream.pipe(socket).pipe(upstream)
    })
    return { port: await listen(server), seen }
  }

  it('asks it for the endpoint, with its credentials, and pins the hub behind it', async () => {
    const { port, identity } = await startTls()
    const proxy = await startProxy()
    const proxyUrl = `http://me:p%40ss@127.0.0.1:${proxy.port}`
    const socket = await dialHub(options(port, identity.pin, { proxyUrl }))
    expect(proxy.seen).toEqual([
      `127.0.0.1:${port}`,
      `Basic ${Buffer.from('me:p@ss').toString('base64')}`,
    ])
    socket.destroy()
  })

  it('keeps the connection for longer than it took to get', async () => {
    const { port, identity } = await startTls()
    const proxy = await startProxy()
    const proxyUrl = `http://127.0.0.1:${proxy.port}`
    const socket = await dialHub(options(port, identity.pin, { proxyUrl, timeoutMs: 200 }))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(socket.destroyed).toBe(false)
    socket.destroy()
  })

  it('gives up a proxy that does not answer', async () => {
    const port = await listen(createServer())
    const proxyUrl = `http://127.0.0.1:${port}`
    await expect(dialHub(options(1, 'x', { proxyUrl, timeoutMs: 50 }))).rejects.toThrow(
      'no answer within 0.05 s',
    )
  })

  it('shows a proxy’s refusal and never its password', async () => {
    const proxy = await startProxy('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
    const proxyUrl = `http://me:hunter2@127.0.0.1:${proxy.port}`
    const error: Error = await dialHub(options(1, 'x', { proxyUrl })).catch((reason) => reason)
    expect(error.message).toBe(
      `hub 127.0.0.1:1 cannot be reached: proxy 127.0.0.1:${proxy.port}: it answered 407 Proxy Authentication Required`,
    )
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('hunter2')
  })

  it('notices a proxy that ends TLS itself', async () => {
    const { port } = await startTls()
    const proxy = await startProxy()
    const proxyUrl = `http://127.0.0.1:${proxy.port}`
    const hub = await hubIdentity()
    await expect(dialHub(options(port, hub.pin, { proxyUrl }))).rejects.toMatchObject({
      code: 'MCM_PIN_MISMATCH',
    })
  })
})
