import { once } from 'node:events'
import { connect, createServer } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { openAgentApi } from '../../src/client/agent.ts'
import { openKubernetes } from '../../src/client/kubernetes.ts'
import { agentIdentity } from './certificates.ts'
import { json, readAll, startHttp2 } from './http2-server.ts'

const stops: (() => void)[] = []

afterEach(() => {
  for (const stop of stops.splice(0)) stop()
})

async function agentThat(handler: Parameters<typeof startHttp2>[0]) {
  const started = await startHttp2(handler)
  stops.push(started.stop)
  return { ...started, agent: openAgentApi(started.socket) }
}

const id = 'b'.repeat(43)
const time = '2026-01-02T03:04:05Z'

describe('an agent’s own endpoints', () => {
  it('are called by their routes, with the name of the connection', async () => {
    const calls: string[] = []
    const { agent } = await agentThat(async (request, response) => {
      const body = await readAll(request)
      calls.push(`${request.method} ${request.authority} ${request.url} ${body}`)
      if (request.url === '/.mcm/v1/whoami')
        return json(response, 200, {
          user: 'bob',
          groups: [],
          cluster: 'c',
          device: id,
          certificate: { fingerprint: id, notBefore: time, notAfter: time },
          impersonates: { user: 'mcm:bob', groups: [] },
        })
      if (request.method === 'GET') return json(response, 200, [])
      if (request.url === '/.mcm/v1/revocations') return json(response, 200, {})
      json(response, 200, { certificate: 'PEM' })
    })
    expect((await agent.whoami()).impersonates.user).toBe('mcm:bob')
    expect(await agent.certificates()).toEqual([])
    expect(await agent.enrol({ csr: 'CSR', proof: 'JWS' })).toEqual({ certificate: 'PEM' })
    await agent.revoke({ device: id })
    expect(calls).toEqual([
      'GET localhost /.mcm/v1/whoami ',
      'GET localhost /.mcm/v1/certificates ',
      'POST localhost /.mcm/v1/certificates {"csr":"CSR","proof":"JWS"}',
      `POST localhost /.mcm/v1/revocations {"device":"${id}"}`,
    ])
  })

  it('refuse as the agent refused', async () => {
    const { agent } = await agentThat((_request, response) =>
      json(response, 401, {
        message: 'mcm: the certificate has expired',
        mcm: { code: 'MCM_CERTIFICATE_EXPIRED' },
      }),
    )
    await expect(agent.whoami()).rejects.toMatchObject({
      code: 'MCM_CERTIFICATE_EXPIRED',
      exitCode: 4,
      message: 'the certificate has expired',
    })
  })

  it('tell of a call that got no answer, and of no other', async () => {
    let unanswered = 0
    let isSilent = false
    const started = await startHttp2((_request, response) => {
      if (isSilent) return
      json(response, 503, { message: 'busy', mcm: { code: 'MCM_AGENT_UNREACHABLE' } })
    })
    stops.push(started.stop)
    const agent = openAgentApi(started.socket, () => unanswered++)
    const unreachable = { code: 'MCM_AGENT_UNREACHABLE' }
    await expect(agent.whoami()).rejects.toMatchObject(unreachable)
    expect(unanswered).toBe(0)
    isSilent = true
    const waiting = agent.whoami()
    waiting.catch(() => {})
    started.socket.destroy()
    await expect(waiting).rejects.toMatchObject(unreachable)
    expect(unanswered).toBe(1)
    agent.close()
    await expect(agent.certificates()).rejects.toMatchObject(unreachable)
    expect(unanswered).toBe(1)
  })

  it('say so when the agent takes no certificate of ours in the handshake', async () => {
    const identity = await agentIdentity('localhost')
    const server = createServer({
      key: identity.keyPem.reveal(),
      cert: identity.certPem,
      ca: identity.serverCa.certificatePem,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['h2'],
    })
    server.on('tlsClientError', () => {})
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    stops.push(() => server.close())
    const { port } = server.address() as { port: number }
    const socket = connect({
      port,
      host: '127.0.0.1',
      ca: identity.serverCa.certificatePem,
      servername: 'localhost',
      ALPNProtocols: ['h2'],
    })
    await once(socket, 'secureConnect')
    await expect(openAgentApi(socket).whoami()).rejects.toMatchObject({
      code: 'MCM_CERTIFICATE_UNKNOWN',
      exitCode: 4,
    })
  })
})

describe('the API server behind an agent', () => {
  it('is reached through the session, bodies and statuses as they are', async () => {
    const { agent } = await agentThat(async (request, response) => {
      if (request.method === 'GET') return json(response, 404, { kind: 'Status', message: 'gone' })
      json(response, 201, { sent: JSON.parse(await readAll(request)) })
    })
    const kubernetes = openKubernetes(agent.request)
    expect(await kubernetes.create('/api/v1/namespaces', { kind: 'Namespace' })).toEqual({
      sent: { kind: 'Namespace' },
    })
    expect(await kubernetes.getIfAny('/api/v1/namespaces/none')).toBeUndefined()
  })

  it('stops sending when the caller stops', async () => {
    let closed: Promise<unknown> | undefined
    const { agent } = await agentThat((_request, response) => {
      response.stream.on('error', () => {})
      closed = new Promise((resolve) => response.stream.once('close', resolve))
      response.writeHead(200)
      response.write('{"type":"ADDED"}\n')
    })
    const abort = new AbortController()
    const answer = await agent.request({ method: 'GET', path: '/watch', signal: abort.signal })
    abort.abort()
    await closed
    await expect(Array.fromAsync(answer.body)).rejects.toThrow()
  })
})
