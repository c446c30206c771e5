import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { type ClosableTransport, directTransport } from '../../src/client/direct-transport.ts'
import { type KubernetesApi, openKubernetes, withQuery } from '../../src/client/kubernetes.ts'
import type { ApiServerConnection } from '../../src/kube/connection.ts'
import { Secret } from '../../src/secret.ts'

type Answer = (request: IncomingMessage & { text: string }, response: ServerResponse) => void

let server: Server | undefined
let transport: ClosableTransport | undefined

afterEach(async () => {
  await transport?.close()
  server?.closeAllConnections()
  await new Promise((done) => (server ? server.close(done) : done(undefined)))
  server = undefined
  transport = undefined
})

async function serve(answer: Answer, basePath = ''): Promise<KubernetesApi> {
  server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    answer(Object.assign(request, { text }), response)
  })
  await new Promise<void>((done) => server!.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  const connection: ApiServerConnection = {
    scheme: 'http',
    server: `http://127.0.0.1:${port}${basePath}`,
    host: '127.0.0.1',
    port,
    basePath,
    insecureSkipTlsVerify: false,
    authorization: async () => new Secret('Bearer the-token'),
  }
  transport = directTransport(connection)
  return openKubernetes(transport)
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

function status(code: number, reason: string, message: string) {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message }
}

test('get sends the authorization of the connection and gives the object', async () => {
  const api = await serve((request, response) =>
    json(response, 200, { url: request.url, authorization: request.headers.authorization }),
  )
  expect(await api.get('/api/v1/nodes/n')).toEqual({
    url: '/api/v1/nodes/n',
    authorization: 'Bearer the-token',
  })
})

test('a server below a path is called below that path', async () => {
  const api = await serve((request, response) => json(response, 200, { url: request.url }), '/k8s')
  expect(await api.get('/api')).toEqual({ url: '/k8s/api' })
})

test.each([
  [400, 'BadRequest', 'MCM_BAD_REQUEST', 2],
  [401, 'Unauthorized', 'MCM_NOT_LOGGED_IN', 4],
  [403, 'Forbidden', 'MCM_FORBIDDEN', 5],
  [404, 'NotFound', 'MCM_NOT_FOUND', 3],
  [409, 'Conflict', 'MCM_CONFLICT', 6],
  [410, 'Expired', 'MCM_CONFLICT', 6],
  [422, 'Invalid', 'MCM_BAD_REQUEST', 2],
  [503, 'ServiceUnavailable', 'MCM_API_SERVER_UNREACHABLE', 6],
])('a Status with code %i becomes %s %s', async (code, reason, errorCode, exitCode) => {
  const api = await serve((_, response) => json(response, code, status(code, reason, 'the why')))
  await expect(api.create('/api/v1/namespaces', {})).rejects.toMatchObject({
    code: errorCode,
    exitCode,
    message: 'POST /api/v1/namespaces: the why',
    cause: { code, reason },
  })
})

test('getIfAny gives undefined for 404 and throws for everything else', async () => {
  const api = await serve((request, response) => {
    const code = request.url === '/none' ? 404 : 403
    json(response, code, status(code, '', 'no'))
  })
  expect(await api.getIfAny('/none')).toBeUndefined()
  await expect(api.getIfAny('/forbidden')).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
})

test('an answer that is no Status is told by its HTTP code, never by its text', async () => {
  const api = await serve((_, response) => response.writeHead(502).end('<html>secret</html>'))
  await expect(api.get('/x')).rejects.toMatchObject({ message: 'GET /x: HTTP 502' })
})

test('a redirect is an error and is not followed', async () => {
  const seen: string[] = []
  const api = await serve((request, response) => {
    seen.push(request.url!)
    response.writeHead(302, { location: '/elsewhere' }).end()
  })
  await expect(api.get('/x')).rejects.toMatchObject({ message: 'GET /x: HTTP 302' })
  expect(seen).toEqual(['/x'])
})

test('apply is a server-side apply with its manager', async () => {
  const api = await serve((request, response) =>
    json(response, 200, {
      method: request.method,
      url: request.url,
      type: request.headers['content-type'],
      body: JSON.parse(request.text),
    }),
  )
  const object = { kind: 'Namespace' }
  expect(await api.apply('/api/v1/x', object, { fieldManager: 'mcm', force: true })).toEqual({
    method: 'PATCH',
    url: '/api/v1/x?fieldManager=mcm&force=true',
    type: 'application/apply-patch+yaml',
    body: object,
  })
})

test('list follows every page and keeps the version of the first', async () => {
  const api = await serve((request, response) => {
    const next = new URL(request.url!, 'http://x').searchParams.get('continue')
    json(response, 200, {
      metadata: next ? { resourceVersion: '8' } : { resourceVersion: '7', continue: 'more' },
      items: [next ? 'b' : 'a'],
    })
  })
  const list = await api.list('/api/v1/pods', { labelSelector: 'a=b' })
  expect(list).toEqual({ metadata: { resourceVersion: '7' }, items: ['a', 'b'] })
})

test('watch gives events as they come, however they are cut into chunks', async () => {
  const api = await serve((request, response) => {
    expect(request.url).toContain('timeoutSeconds=60')
    response.writeHead(200)
    response.write('{"type":"ADDED","object":{"n":1}}\n{"type":"MOD')
    setImmediate(() => response.end('IFIED","object":{"n":2}}\n'))
  })
  const events: unknown[] = []
  const signal = new AbortController().signal
  for await (const event of api.watch('/api/v1/pods', signal, { maximumAgeSeconds: 60 }))
    events.push(event)
  expect(events).toEqual([
    { type: 'ADDED', object: { n: 1 } },
    { type: 'MODIFIED', object: { n: 2 } },
  ])
})

test('a watch ends quietly when its signal is aborted, and the connection with it', async () => {
  let closed: Promise<unknown> = Promise.resolve()
  const api = await serve((request, response) => {
    closed = new Promise((done) => request.socket.once('close', done))
    response.writeHead(200)
    response.write('{"type":"ADDED","object":{}}\n')
  })
  const controller = new AbortController()
  let count = 0
  for await (const _ of api.watch('/api/v1/pods', controller.signal)) {
    count += 1
    controller.abort()
  }
  await closed
  expect(count).toBe(1)
})

test('a watch whose version has expired throws a conflict', async () => {
  const api = await serve((_, response) => {
    response.writeHead(200)
    response.end(
      `${JSON.stringify({ type: 'ERROR', object: status(410, 'Expired', 'too old') })}\n`,
    )
  })
  const events = api.watch('/api/v1/pods', new AbortController().signal)
  await expect(Array.fromAsync(events)).rejects.toMatchObject({ code: 'MCM_CONFLICT' })
})

test('a server that cannot be reached is named', async () => {
  const api = await serve(() => {})
  await new Promise((done) => server!.close(done))
  await expect(api.get('/x')).rejects.toMatchObject({
    code: 'MCM_API_SERVER_UNREACHABLE',
    message: expect.stringContaining('127.0.0.1'),
  })
  server = undefined
})

test('a query keeps what is there and leaves out what is undefined', () => {
  expect(withQuery('/a?b=c', { d: 'e f', g: undefined })).toBe('/a?b=c&d=e+f')
})

test('a watch that breaks off is a server that cannot be reached', async () => {
  const api = await serve((request, response) => {
    response.writeHead(200)
    response.write('{"type":"ADDED","object":{}}\n')
    setImmediate(() => request.socket.destroy())
  })
  const events = api.watch('/api/v1/pods', new AbortController().signal)
  await expect(Array.fromAsync(events)).rejects.toMatchObject({
    code: 'MCM_API_SERVER_UNREACHABLE',
  })
})
