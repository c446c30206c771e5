import { duplexPair } from 'node:stream'
import { createSecureContext, TLSSocket } from 'node:tls'
import { afterEach, expect, it } from 'vitest'
import { openInner } from '../../src/client/inner.ts'
import { agentIdentity } from './certificates.ts'

/** Whoever relays the stream answers it himself, on a machine whose environment tells Node to believe everybody. */

const HOST = 'c-aaaaaaaaaa.clusters.mcm.internal'
const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED']

afterEach(() => {
  if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
  else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before
})

/** A client of the cluster's CA, answered by whoever has `identity`. What the server decrypted is in `read`. */
async function answeredBy(
  identity: Awaited<ReturnType<typeof agentIdentity>>,
  serverCaPem: string,
) {
  const [client, server] = duplexPair()
  const secureContext = createSecureContext({
    cert: identity.certPem,
    key: identity.keyPem.reveal(),
  })
  const read: Buffer[] = []
  const answering = new TLSSocket(server, { isServer: true, secureContext })
  answering.on('error', () => {}).on('data', (chunk: Buffer) => read.push(chunk))
  const opened = openInner(client, { host: HOST, serverCaPem, alpn: [] }).then((socket) =>
    socket.write('GET /api HTTP/1.1\r\n\r\n'),
  )
  return { opened, read }
}

it.each([undefined, '1', '0'])(
  'a foreign certificate is refused with NODE_TLS_REJECT_UNAUTHORIZED=%s, and nothing is said to it',
  async (setting) => {
    if (setting === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = setting
    const [hub, cluster] = await Promise.all([agentIdentity(HOST), agentIdentity(HOST)])
    const { opened, read } = await answeredBy(hub, cluster.serverCa.certificatePem)
    await expect(opened).rejects.toMatchObject({ code: 'MCM_CERTIFICATE_UNTRUSTED' })
    expect(Buffer.concat(read).toString()).toBe('')
  },
)

it('the cluster’s own certificate is believed, whatever the environment says', async () => {
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
  const cluster = await agentIdentity(HOST)
  const { opened } = await answeredBy(cluster, cluster.serverCa.certificatePem)
  expect(await opened).toBe(true)
})
