import { once } from 'node:events'
import { duplexPair } from 'node:stream'
import { createSecureContext, TLSSocket } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { openInner } from '../../src/client/inner.ts'
import { agentIdentity } from './certificates.ts'

const HOST = 'c-aaaaaaaaaa.clusters.mcm.internal'

/** An inner TLS server on one end of a pair; the other end is the client's. */
function serve(identity: Awaited<ReturnType<typeof agentIdentity>>) {
  const [client, server] = duplexPair()
  const socket = new TLSSocket(server, {
    isServer: true,
    secureContext: createSecureContext({
      cert: identity.certPem,
      key: identity.keyPem.reveal(),
      minVersion: 'TLSv1.3',
    }),
    ALPNProtocols: ['h2', 'http/1.1'],
  })
  socket.on('error', () => {})
  return { client, socket }
}

describe('the inner layer', () => {
  it('speaks to an agent whose certificate is of the cluster', async () => {
    const identity = await agentIdentity(HOST)
    const { client, socket: server } = serve(identity)
    const secure = once(server, 'secure')
    const socket = await openInner(client, {
      host: HOST,
      serverCaPem: identity.serverCa.certificatePem,
      alpn: ['h2'],
    })
    await secure
    expect(socket.alpnProtocol).toBe('h2')
    expect(server.servername).toBe(HOST)
    expect(socket.isSessionReused()).toBe(false)
    const [ours, theirs] = [socket, server].map((end) =>
      end.exportKeyingMaterial(32, 'EXPORTER-mcm-enrol-v1', Buffer.alloc(0)),
    )
    expect(ours!.equals(theirs!)).toBe(true)
  })

  it('refuses a certificate of another cluster’s CA, naming it a matter of trust', async () => {
    const [theirs, ours] = await Promise.all([agentIdentity(HOST), agentIdentity(HOST)])
    const { client } = serve(theirs)
    await expect(
      openInner(client, {
        host: HOST,
        serverCaPem: ours.serverCa.certificatePem,
        alpn: ['h2'],
      }),
    ).rejects.toMatchObject({ code: 'MCM_CERTIFICATE_UNTRUSTED', exitCode: 7 })
  })

  it('refuses the right CA’s certificate for another host', async () => {
    const identity = await agentIdentity(`enrol.${HOST}`)
    const { client } = serve(identity)
    await expect(
      openInner(client, {
        host: HOST,
        serverCaPem: identity.serverCa.certificatePem,
        alpn: ['h2'],
      }),
    ).rejects.toMatchObject({ code: 'MCM_CERTIFICATE_UNTRUSTED' })
  })

  it('gives up a stream on which nobody shakes hands', async () => {
    const { serverCa } = await agentIdentity(HOST)
    const [client] = duplexPair()
    await expect(
      openInner(client, {
        host: HOST,
        serverCaPem: serverCa.certificatePem,
        alpn: ['h2'],
        timeoutMs: 30,
      }),
    ).rejects.toMatchObject({ code: 'MCM_AGENT_UNREACHABLE' })
    expect(client.destroyed).toBe(true)
  })

  it('reports a stream that breaks off', async () => {
    const { serverCa } = await agentIdentity(HOST)
    const [client, server] = duplexPair()
    const opening = openInner(client, {
      host: HOST,
      serverCaPem: serverCa.certificatePem,
      alpn: ['h2'],
    })
    server.end('this is no TLS at all, not even close to a record')
    await expect(opening).rejects.toMatchObject({ code: 'MCM_AGENT_UNREACHABLE' })
  })
})
