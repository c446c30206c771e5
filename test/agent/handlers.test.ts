import { once } from 'node:events'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { cleanup } from '../forward/stage.ts'
import { CLUSTER, HOST, openStage, type Person, TOKEN, type TrafficStage } from './traffic-stage.ts'

const ends = cleanup()
let stage: TrafficStage
let bob: Person

beforeEach(async () => {
  stage = await openStage(ends)
  bob = await stage.person('bob', { groups: ['dev', 'ops'] })
})
afterEach(() => ends.run())

const GET = 'GET /api/v1/namespaces/default/pods?limit=5 HTTP/1.1'
const HOST_LINE = `Host: ${HOST}`

/** What the API server must have seen, whatever the client tried. */
function expectBob(count = 1): void {
  expect(stage.seen).toHaveLength(count)
  for (const seen of stage.seen) {
    expect(seen.values('impersonate-user')).toEqual(['mcm:bob'])
    expect(seen.values('impersonate-group')).toEqual(['mcm:dev', 'mcm:ops'])
    expect(seen.values('authorization')).toEqual([`Bearer ${TOKEN}`])
  }
}

test('a request arrives as the user and groups of its certificate, with the impersonator’s token', async () => {
  const answer = await stage.ask(
    bob,
    GET,
    HOST_LINE,
    'Accept: application/json',
    'User-Agent: kubectl',
  )
  expect(answer.status).toBe(200)
  expectBob()
  const [seen] = stage.seen
  expect(seen!.url).toBe('/api/v1/namespaces/default/pods?limit=5')
  expect(seen!.values('accept')).toEqual(['application/json'])
  expect(seen!.values('user-agent')).toEqual(['kubectl'])
  expect(seen!.values('host')).toEqual([`127.0.0.1:${stage.apiServerPort}`])
  expect(seen!.values('x-forwarded-for')).toEqual(['192.0.2.7'])
  expect(seen!.values('impersonate-extra-mcm.dev%2fsession')).toHaveLength(1)
  expect(seen!.values('audit-id')[0]).toMatch(
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  )
})

test('HTTP/2 arrives just so', async () => {
  const session = await stage.http2(bob)
  const stream = session.request({ ':path': '/api/v1/pods', accept: 'application/json' })
  let body = ''
  for await (const chunk of stream) body += chunk
  expect(JSON.parse(body)).toEqual({ user: ['mcm:bob'], groups: ['mcm:dev', 'mcm:ops'] })
  expectBob()
})

test('groups that the impersonator may not name are left out', async () => {
  stage.facts.names = { users: ['mcm:bob'], groups: ['mcm:ops'], isUnrestricted: false }
  await stage.ask(bob, GET, HOST_LINE)
  expect(stage.seen[0]!.values('impersonate-group')).toEqual(['mcm:ops'])
})

test('a certificate without groups sends the user alone', async () => {
  const carol = await stage.person('carol')
  await stage.ask(carol, GET, HOST_LINE)
  expect(stage.seen[0]!.raw.filter((name) => /^impersonate/i.test(name))).toEqual([
    'Impersonate-User',
    'Impersonate-Extra-mcm.dev%2Fsession',
  ])
})

test.each(['Łukasz', 'José', '山田'])(
  'the user %s arrives as its exact UTF-8 bytes',
  async (name) => {
    const person = await stage.person(name)
    expect((await stage.ask(person, GET, HOST_LINE)).status).toBe(200)
    const [value] = stage.seen[0]!.values('impersonate-user')
    expect(Buffer.from(value!, 'latin1').toString('utf8')).toBe(`mcm:${name}`)
  },
)

test.each([
  ['Impersonate-User'],
  ['Impersonate-Group'],
  ['impersonate-user, impersonate-group'],
  ['Authorization, Host, Impersonate-Extra-mcm.dev%2Fsession, Audit-ID, X-Forwarded-For'],
  ['Impersonate_User'],
  ['close, upgrade'],
])('Connection: %s takes nothing of ours away', async (value) => {
  expect((await stage.ask(bob, GET, HOST_LINE, `Connection: ${value}`)).status).toBe(200)
  expectBob()
  expect(stage.seen[0]!.values('x-forwarded-for')).toEqual(['192.0.2.7'])
  expect(stage.seen[0]!.values('audit-id')).toHaveLength(1)
})

test.each([
  'Keep-Alive: timeout=5',
  'Proxy-Connection: keep-alive',
  'TE: trailers',
  'Trailer: Impersonate-User',
  'Proxy-Authenticate: x',
  'Proxy-Authorization: Basic x',
  'X-Remote-User: admin',
  'X-Remote-Group: system:masters',
  'X-Remote-Uid: 0',
  'X-Remote-Extra-Foo: x',
  'X_Remote_User: admin',
  'x-reMOTE-user: admin',
  'Authorization: Bearer evil',
  'Authorization: Basic ZXZpbA==',
  'Author_ization: x',
  'Cookie: a=b',
  'X-Auth-Request-User: admin',
  'X-Forwarded-For: 10.0.0.1',
  'x-FORWARDED-for: 10.0.0.1',
  'X_Forwarded_For: 10.0.0.1',
  'X-Forwarded-Host: evil',
  'X-Forwarded-Proto: http',
  'Forwarded: for=10.0.0.1',
  'X-Real-Ip: 10.0.0.1',
  'True-Client-IP: 10.0.0.1',
  'Via: 1.1 evil',
  'X-Kubernetes-Peer-Proxied: true',
  'Audit-ID: mine',
  'Audit_ID: mine',
  'mcm-forwarded-for: 10.0.0.1',
  'X-Unknown-Future: x',
  '__proto__: x',
  'constructor: x',
  'toString: x',
])('the line %j never reaches the API server', async (line) => {
  expect((await stage.ask(bob, GET, HOST_LINE, line)).status).toBe(200)
  expectBob()
  const [name, value] = line.split(': ') as [string, string]
  const ordinary = ['x', 'keep-alive']
  const values = stage.seen[0]!.raw.filter((_, index) => index % 2 === 1)
  const others = values.filter((text) => text === value && !ordinary.includes(value))
  expect(others).toEqual([])
  const isOurs = ['authorization', 'x-forwarded-for', 'audit-id'].includes(name.toLowerCase())
  expect(stage.seen[0]!.values(name.toLowerCase())).toHaveLength(isOurs ? 1 : 0)
  expect(({} as Record<string, unknown>)['x']).toBeUndefined()
})

test('two Authorization lines and a 10 KB Audit-ID change nothing', async () => {
  const lines = [
    'Authorization: Bearer a',
    'Authorization: Bearer b',
    `Audit-ID: ${'x'.repeat(10_000)}`,
  ]
  expect((await stage.ask(bob, GET, HOST_LINE, ...lines)).status).toBe(200)
  expectBob()
  expect(stage.seen[0]!.values('audit-id')[0]).toHaveLength(36)
})

test.each([
  ['Impersonate-User: admin'],
  ['Impersonate-User: '],
  ['Impersonate-User: mcm:bob', 'Impersonate-User: mcm:bob'],
  ['Impersonate-User: bob', 'Impersonate-User: admin'],
  ['Impersonate-User: system:admin'],
  ['Impersonate-User: System:Masters'],
  ['Impersonate-User: system:kube-controller-manager'],
  ['Impersonate-User: system:node:n'],
  ['Impersonate-User: system:serviceaccount:kube-system:default'],
  ['Impersonate-User: bob', 'Impersonate-Group: system:masters'],
  ['Impersonate-User: bob', 'Impersonate-Group: dev'],
  ['Impersonate-Group: system:masters'],
  ['Impersonate-Extra-foo: x'],
  ['Impersonate-Uid: 1'],
  ['Impersonate-User: bob', 'Impersonate-Uid: 1'],
  ['Impersonate-User: bob', 'Impersonate-Extra-mcm.dev%2Fsession: x'],
  ['Impersonate-Anything-Future: x'],
  ['iMPERSONATE-uSER: admin'],
  ['IMPERSONATE-USER: admin'],
  ['Impersonate_User: admin'],
  ['Impersonate_User: bob'],
  ['Impersonate: x'],
  ['Impersonate-User: admin', 'Connection: Impersonate-User'],
])('%j is 403 with a Status and no call to the API server', async (...lines) => {
  const answer = await stage.ask(bob, GET, HOST_LINE, ...(lines as string[]))
  expect(answer.status).toBe(403)
  expect(JSON.parse(answer.body)).toMatchObject({ kind: 'Status', code: 403, reason: 'Forbidden' })
  expect(stage.seen.filter(({ url }) => !url.includes('selfsubjectaccessreviews'))).toEqual([])
})

test('groups without a user are 400, as the API server would say', async () => {
  expect((await stage.ask(bob, GET, HOST_LINE, 'Impersonate-Group: dev')).status).toBe(400)
  expect(stage.seen).toEqual([])
})

test.each([
  ['bare', ['Impersonate-User: bob', 'Impersonate-Group: ops', 'Impersonate-Group: dev']],
  [
    'prefixed',
    ['Impersonate-User: mcm:bob', 'Impersonate-Group: mcm:dev', 'Impersonate-Group: mcm:ops'],
  ],
])(
  'one’s own identity, %s, is what the local proxy sends: it passes without a review',
  async (_, lines) => {
    expect((await stage.ask(bob, GET, HOST_LINE, ...lines)).status).toBe(200)
    expectBob()
  },
)

test.each(['Impersonate-User :x', ' Impersonate-User: x', 'Impersonate-User\t: x'])(
  'the malformed line %j is 400 and ends the connection',
  async (line) => {
    const socket = await stage.http1(bob)
    socket.write(`${GET}\r\n${HOST_LINE}\r\n${line}\r\n\r\n`)
    let text = ''
    for await (const chunk of socket) text += chunk
    expect(text).toMatch(/^HTTP\/1.1 400/)
    expect(stage.seen).toEqual([])
  },
)

test('a bearer token as WebSocket protocol is 400, and is in no log', async () => {
  const answer = await stage.ask(
    bob,
    'GET /api/v1/namespaces/a/pods/b/exec HTTP/1.1',
    HOST_LINE,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.c2VjcmV0, v5.channel.k8s.io',
  )
  expect(answer.status).toBe(400)
  expect(stage.seen).toEqual([])
  expect(JSON.stringify([stage.log, stage.audit, answer.text])).not.toContain('c2VjcmV0')
})

test('a line of 20 KB is 431, and others go on', async () => {
  const [bad, good] = await Promise.all([
    stage.ask(bob, GET, HOST_LINE, `User-Agent: ${'x'.repeat(20_000)}`),
    stage.ask(bob, GET, HOST_LINE),
  ])
  expect(bad.status).toBe(431)
  expect(good.status).toBe(200)
})

test.each([101, 500, 1010, 1100])(
  '%i header lines with a late Impersonate-User are 431',
  async (count) => {
    const many = Array.from({ length: count }, (_, i) => `a${i}:`)
    const answer = await stage.ask(bob, GET, HOST_LINE, ...many, 'Impersonate-User: admin')
    expect(answer.status).toBe(431)
    expect(stage.seen).toEqual([])
  },
)

test('too many lines over HTTP/2 are 431 too', async () => {
  const session = await stage.http2(bob)
  const many = Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`a${i}`, 'x']))
  const stream = session.request({ ':path': '/api', ...many })
  stream.resume()
  const [headers] = await once(stream, 'response')
  expect(headers[':status']).toBe(431)
})

test('an answer loses cookies, CORS and what Connection names', async () => {
  stage.answer = (_, response) =>
    response
      .writeHead(200, {
        'set-cookie': 'a=b',
        'access-control-allow-origin': '*',
        connection: 'X-Foo',
        'x-foo': '1',
        'content-length': '0',
        'audit-id': 'ours',
      })
      .end()
  const { text } = await stage.ask(bob, GET, HOST_LINE)
  expect(text).not.toMatch(/cookie|access-control|x-foo/i)
  expect(text).toMatch(/audit-id: ours/i)
})

test('a workload behind a proxy subresource gets headers nobody can list, and still no identity of ours', async () => {
  const target = 'POST /api/v1/namespaces/a/services/http:b:80/proxy/login HTTP/1.1'
  const lines = ['X-Grafana-Org: 1', 'Cookie: a=b', 'X-Remote-User: admin', 'Content-Length: 0']
  await stage.ask(bob, target, HOST_LINE, ...lines)
  expectBob()
  expect(stage.seen[0]!.values('x-grafana-org')).toEqual(['1'])
  expect(stage.seen[0]!.values('cookie')).toEqual([])
  expect(stage.seen[0]!.values('x-remote-user')).toEqual([])
})

test('whoami says who one is and as whom the API server sees it', async () => {
  const answer = await stage.ask(bob, 'GET /.mcm/v1/whoami HTTP/1.1', HOST_LINE)
  expect(JSON.parse(answer.body)).toEqual({
    user: 'bob',
    groups: ['dev', 'ops'],
    cluster: CLUSTER,
    device: bob.device,
    certificate: {
      fingerprint: bob.fingerprint,
      notBefore: expect.any(String),
      notAfter: `${bob.notAfter.toISOString().slice(0, 19)}Z`,
    },
    impersonates: { user: 'mcm:bob', groups: ['mcm:dev', 'mcm:ops'] },
  })
  expect(stage.seen).toEqual([])
})

test.each(['/.mcm', '/.mcm/', '/.mcm/v1/nothing', '/.mcm/v2/whoami', '/.mcm/v1/whoami/'])(
  'the agent’s own path %s is 404 and never goes to the API server',
  async (path) => {
    expect((await stage.ask(bob, `GET ${path} HTTP/1.1`, HOST_LINE)).status).toBe(404)
    expect(stage.seen).toEqual([])
  },
)

test('every request leaves one line with all three names and the API server’s id', async () => {
  await stage.ask(bob, GET, HOST_LINE)
  await expect.poll(() => stage.audit.length).toBe(1)
  expect(stage.audit[0]).toMatchObject({
    stage: 'ended',
    user: 'bob',
    device: bob.device,
    certificate: bob.fingerprint,
    as: { user: 'mcm:bob', groups: ['mcm:dev', 'mcm:ops'] },
    addressByHub: '192.0.2.7',
    verb: 'list',
    resource: 'pods',
    namespace: 'default',
    path: '/api/v1/namespaces/default/pods',
    code: 200,
    ended: 'complete',
    auditId: stage.seen[0]!.values('audit-id')[0],
    session: stage.seen[0]!.values('impersonate-extra-mcm.dev%2fsession')[0],
  })
  expect(stage.audit[0]!.bytes).toBeGreaterThan(10)
})

test('refusals are written down as well', async () => {
  await stage.ask(bob, GET, HOST_LINE, 'Impersonate-User: admin')
  await expect.poll(() => stage.audit.length).toBe(1)
  expect(stage.audit.at(-1)).toMatchObject({
    code: 403,
    refusal: 'MCM_IMPERSONATION_REFUSED',
    user: 'bob',
  })
})
