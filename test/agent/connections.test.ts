import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { afterEach, expect, test } from 'vitest'
import {
  agentTransport,
  connectionInPod,
  connectionOutside,
  requireDirect,
  waitForConfiguration,
} from '../../src/agent/connections.ts'
import { openKubernetes } from '../../src/client/kubernetes.ts'
import type { ApiServerConnection } from '../../src/kube/connection.ts'
import { Secret } from '../../src/secret.ts'
import { cleanup, httpsServer, listen, SERVER_NAME, testIdentity, world } from '../forward/stage.ts'
import { RecordedLog } from './frozen-world.ts'

const ends = cleanup()
afterEach(() => ends.run())

const DIRECTORY = '/var/run/secrets/kubernetes.io/serviceaccount'

function files(tokens: string[]) {
  return async (path: string) => {
    if (path === `${DIRECTORY}/ca.crt`) return 'CA'
    if (path === `${DIRECTORY}/token`) return `${tokens.length > 1 ? tokens.shift() : tokens[0]}\n`
    throw new Error(`no file ${path}`)
  }
}

test('in a pod the token is read anew before every request: the kubelet replaces it', async () => {
  const pod = { host: '10.0.0.1', port: '6443', readFile: files(['first', 'second']) }
  const { connection } = await connectionInPod(pod)
  expect(connection).toMatchObject({ scheme: 'https', host: '10.0.0.1', port: 6443, caPem: 'CA' })
  expect(connection.insecureSkipTlsVerify).toBe(false)
  expect((await connection.authorization())?.reveal()).toBe('Bearer first')
  expect((await connection.authorization())?.reveal()).toBe('Bearer second')
})

test('an IPv6 service address is written in brackets', async () => {
  const { connection } = await connectionInPod({
    host: 'fd00::1',
    port: undefined,
    readFile: files(['t']),
  })
  expect([connection.host, connection.port, connection.server]).toEqual([
    'fd00::1',
    443,
    'https://[fd00::1]:443',
  ])
})

test('outside a pod, without a kubeconfig, it says what to do', async () => {
  const pod = { host: undefined, port: undefined, readFile: files(['t']) }
  await expect(connectionInPod(pod)).rejects.toMatchObject({
    code: 'MCM_USAGE',
    hint: expect.stringContaining('--kubeconfig'),
  })
})

const OWNER: ApiServerConnection = {
  scheme: 'https',
  host: '127.0.0.1',
  port: 1,
  basePath: '',
  server: 'https://127.0.0.1:1',
  insecureSkipTlsVerify: false,
  authorization: async () => undefined,
}

test.each<[string, Partial<ApiServerConnection>]>([
  ['plain HTTP', { scheme: 'http' }],
  ['a path', { basePath: '/k8s/clusters/c-1' }],
  ['a proxy', { proxyUrl: 'http://proxy:3128' }],
])('an API server behind %s is refused by name', (_, change) => {
  expect(() => requireDirect({ ...OWNER, ...change })).toThrow(/cannot work with API server https/)
  expect(() => connectionOutside({ ...OWNER, ...change }, world)).toThrow()
})

/** An API server that hands out tokens and accepts only the last one. */
async function tokenServer(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const identity = await testIdentity()
  const asked: { path: string; authorization: string | undefined }[] = []
  const server = await httpsServer(identity, ends, (request, response) => {
    asked.push({ path: request.url!, authorization: request.headers.authorization })
    request.resume()
    answer(request, response)
  })
  const owner: ApiServerConnection = {
    ...OWNER,
    port: server.port,
    caPem: identity.caPem,
    tlsServerName: SERVER_NAME,
    authorization: async () => new Secret('Bearer owner'),
  }
  return { owner, asked }
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

test('outside, the owner’s client certificate goes no further', async () => {
  const owner = { ...OWNER, clientCertPem: 'CERT', clientKeyPem: new Secret('KEY') }
  const { connection } = connectionOutside(owner, world)
  expect(connection.clientCertPem).toBeUndefined()
  expect(connection.clientKeyPem).toBeUndefined()
})

test('a token that is not accepted is replaced, and the request is made again', async () => {
  let issued = 0
  const { owner, asked } = await tokenServer((request, response) => {
    if (request.url!.endsWith('/mcm-agent/token')) {
      issued += 1
      json(response, 201, { status: { token: `t${issued}` }, spec: { expirationSeconds: 3600 } })
    } else if (request.headers.authorization === 'Bearer t1' && asked.length > 2)
      json(response, 401, { kind: 'Status', message: 'Unauthorized' })
    else json(response, 200, { kind: 'Node' })
  })
  let now = Date.now()
  const moving = { ...world, now: () => new Date(now) }
  const transport = agentTransport(connectionOutside(owner, moving))
  ends.add(() => transport.close())
  const api = openKubernetes(transport)
  await api.get('/api/v1/nodes/a')
  now += 60_000
  await api.get('/api/v1/nodes/b')
  expect(asked.map(({ path, authorization }) => [path.split('/').at(-1), authorization])).toEqual([
    ['token', 'Bearer owner'],
    ['a', 'Bearer t1'],
    ['b', 'Bearer t1'],
    ['token', 'Bearer owner'],
    ['b', 'Bearer t2'],
  ])
})

test('before registration it waits, says so once for each reason, and ends with its signal', async () => {
  let step = 0
  const server = createServer((_request, response) => {
    step += 1
    const status = step < 3 ? 403 : step < 5 ? 404 : 200
    const data = { cluster: Buffer.from('nonsense').toString('base64') }
    json(response, status, status === 200 ? { data } : { kind: 'Status', message: 'no' })
  })
  const port = await listen(server)
  ends.add(() => new Promise((done) => server.close(done)))
  const connection = { ...OWNER, scheme: 'http' as const, port }
  const transport = agentTransport({ connection, reload: async () => {} })
  ends.add(() => transport.close())
  const log = new RecordedLog()
  const api = openKubernetes(transport)
  const waiting = waitForConfiguration(api, log, new AbortController().signal)
  await expect(waiting).rejects.toMatchObject({ code: 'MCM_STATE_DAMAGED' })
  expect(log.events()).toEqual(['waiting_for_registration', 'waiting_for_registration'])
  const aborted = waitForConfiguration(api, log, AbortSignal.abort())
  await expect(aborted).rejects.toThrow()
})
