import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { undiciUpstream } from '../../src/forward/undici-upstream.ts'
import type { Upstream, UpstreamCall } from '../../src/forward/upstream.ts'
import { cleanup, httpsServer, listen, SERVER_NAME, testIdentity } from './stage.ts'

const ends = cleanup()
afterEach(() => ends.run())

/** What one request came to. */
type Outcome = number | string | undefined

function ask(
  upstream: Upstream,
  target: string,
): { call: UpstreamCall; outcome: Promise<Outcome> } {
  const { promise: outcome, resolve } = Promise.withResolvers<Outcome>()
  let status: number
  const head = { method: 'POST', target, headers: [], body: undefined, answerTimeoutMs: 0 }
  const call = upstream.send(head, {
    onResponse: (code) => {
      status = code
    },
    onData: () => true,
    onEnd: () => resolve(status),
    onError: (error) => resolve((error as { code?: string }).code),
  })
  return { call, outcome }
}

/** An API server that keeps what is asked of `/watch` and answers the rest, and the way to it. */
async function apiServer() {
  const identity = await testIdentity()
  const paths: string[] = []
  const { port, server } = await httpsServer(identity, ends, (request, response) => {
    paths.push(request.url!)
    if (request.url === '/watch') response.write('an event')
    else response.end()
  })
  let connections = 0
  server.on('connection', () => {
    connections += 1
  })
  const upstream = undiciUpstream({
    name: 'the API server',
    host: '127.0.0.1',
    port,
    caPem: identity.caPem,
    serverName: SERVER_NAME,
  })
  ends.add(() => upstream.close())
  return { upstream, paths, connections: () => connections }
}

test('a thousand requests at once do not make a thousand connections, and all are answered', async () => {
  const { upstream, connections } = await apiServer()
  const asked = Array.from({ length: 1_000 }, (_, index) => ask(upstream, `/${index}`))
  const outcomes = await Promise.all(asked.map(({ outcome }) => outcome))
  expect(new Set(outcomes)).toEqual(new Set([200]))
  expect(connections()).toBeLessThan(500)
})

test('two hundred watches keep nobody waiting', async () => {
  const { upstream, paths } = await apiServer()
  for (let count = 0; count < 200; count++) ask(upstream, '/watch')
  expect(await ask(upstream, '/pods').outcome).toBe(200)
  await expect.poll(() => paths.filter((path) => path === '/watch').length).toBe(200)
})

test('what is given up while it waits is never sent', async () => {
  const { upstream, paths } = await apiServer()
  const asked = Array.from({ length: 300 }, (_, index) => ask(upstream, `/${index}`))
  for (const { call } of asked.slice(200)) call.abort()
  await Promise.all(asked.slice(0, 200).map(({ outcome }) => outcome))
  expect(await ask(upstream, '/last').outcome).toBe(200)
  expect(paths.sort()).toEqual(
    [...asked.slice(0, 200).map((_, index) => `/${index}`), '/last'].sort(),
  )
})

test('a server that takes no handshake is no answer for all that wait, at the same time', async () => {
  const held = new Set<Socket>()
  const silent = createServer((socket) => held.add(socket))
  const port = await listen(silent)
  ends.add(() => {
    for (const socket of held) socket.destroy()
    return once(silent.close(), 'close')
  })
  const upstream = undiciUpstream({
    name: 'the API server',
    host: '127.0.0.1',
    port,
    caPem: undefined,
    connectTimeoutMs: 1_500,
  })
  ends.add(() => upstream.close())
  const asked = Array.from({ length: 200 }, (_, index) => ask(upstream, `/${index}`))
  const outcomes = await Promise.all(asked.map(({ outcome }) => outcome))
  expect(new Set(outcomes)).toEqual(new Set(['UND_ERR_CONNECT_TIMEOUT']))
  expect(held.size).toBeLessThan(100)
})
