import { afterEach, beforeEach, expect, test } from 'vitest'
import { cleanup } from '../forward/stage.ts'
import { HOST, openStage, type Person, type Seen, type TrafficStage } from './traffic-stage.ts'

const ends = cleanup()
let stage: TrafficStage
let bob: Person

/** What the API server says of a review; the rest is answered with whoami. */
let review: (seen: Seen) => { code?: number; body?: unknown; hangs?: boolean }

beforeEach(async () => {
  stage = await openStage(ends)
  bob = await stage.person('bob', { groups: ['dev'] })
  stage.facts.names = {
    users: ['mcm:bob', 'mcm:alice', 'mcm:eve'],
    groups: ['mcm:dev', 'mcm:ops'],
    isUnrestricted: false,
  }
  review = () => ({ body: { status: { allowed: true } } })
  const whoAmI = stage.answer
  stage.answer = (seen, response, incoming) => {
    if (!seen.url.includes('selfsubjectaccessreviews')) return whoAmI(seen, response, incoming)
    const { code = 201, body = {}, hangs = false } = review(seen)
    if (hangs) return
    const text = JSON.stringify(body)
    response.writeHead(code, { 'content-length': text.length }).end(text)
  }
})
afterEach(() => ends.run())

const GET = 'GET /api/v1/pods HTTP/1.1'
const AS_ALICE = 'Impersonate-User: mcm:alice'

function ask(...lines: string[]) {
  return stage.ask(bob, GET, `Host: ${HOST}`, ...lines)
}

function questions() {
  return stage.seen
    .filter(({ url }) => url.includes('selfsubjectaccessreviews'))
    .map(({ body }) => JSON.parse(body).spec.resourceAttributes)
}

function requests() {
  return stage.seen.filter(({ url }) => url === '/api/v1/pods')
}

test('the review asks as the caller, for each user and group, with the API server’s own API groups', async () => {
  expect((await ask(AS_ALICE, 'Impersonate-Group: mcm:ops')).status).toBe(200)
  expect(questions()).toEqual([
    { verb: 'impersonate', group: '', resource: 'users', name: 'mcm:alice' },
    { verb: 'impersonate', group: '', resource: 'groups', name: 'mcm:ops' },
  ])
  for (const seen of stage.seen.filter(({ method }) => method === 'POST')) {
    expect(seen.url).toBe('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews')
    expect(seen.values('impersonate-user')).toEqual(['mcm:bob'])
    expect(seen.values('impersonate-group')).toEqual(['mcm:dev'])
  }
})

test('the request runs as what was asked for; the caller’s own groups never leak into it', async () => {
  await ask(AS_ALICE)
  expect(requests()[0]!.values('impersonate-user')).toEqual(['mcm:alice'])
  expect(requests()[0]!.values('impersonate-group')).toEqual([])
  await ask(AS_ALICE, 'Impersonate-Group: mcm:ops')
  expect(requests()[1]!.values('impersonate-group')).toEqual(['mcm:ops'])
})

test('the audit has the caller, the target and the API server’s id', async () => {
  await ask(AS_ALICE)
  await expect.poll(() => stage.audit.length).toBe(1)
  expect(stage.audit[0]).toMatchObject({
    user: 'bob',
    certificate: bob.fingerprint,
    as: { user: 'mcm:alice', groups: [] },
    auditId: requests()[0]!.values('audit-id')[0],
  })
})

test('the API server’s audit gets the session, and the caller beside it only where that is another', async () => {
  const extra = 'impersonate-extra-mcm.dev%2fsession'
  await ask()
  await ask(AS_ALICE)
  const [own, nested] = requests().map((seen) => seen.values(extra))
  expect(own).toHaveLength(1)
  expect(nested).toEqual([expect.stringMatching(/^[0-9a-f-]{36}$/), 'mcm:bob'])
})

test('a uid and extras are asked about in their own API group, by value, and sent when all say yes', async () => {
  const extras = new Map([['example.org/scopes', ['view', 'edit']]])
  stage.facts.names = { ...stage.facts.names, uids: ['u-1'], extras }
  const scopes = ['view', 'edit'].map((value) => `Impersonate-Extra-Example.org%2FScopes: ${value}`)
  const { status } = await ask(AS_ALICE, 'Impersonate-Uid: u-1', ...scopes)
  expect(status).toBe(200)
  const rest = { verb: 'impersonate', group: 'authentication.k8s.io' }
  const scope = { ...rest, resource: 'userextras', subresource: 'example.org/scopes' }
  expect(questions()).toEqual([
    { verb: 'impersonate', group: '', resource: 'users', name: 'mcm:alice' },
    { ...rest, resource: 'uids', name: 'u-1' },
    { ...scope, name: 'view' },
    { ...scope, name: 'edit' },
  ])
  const [sent] = requests()
  expect(sent!.values('impersonate-uid')).toEqual(['u-1'])
  expect(sent!.values('impersonate-extra-example.org%2fscopes')).toEqual(['view', 'edit'])
})

test.each([
  ['uids', 'Impersonate-Uid', 'u-1'],
  ['userextras', 'Impersonate-Extra-scopes', 'scopes=view'],
])(
  '%s that are listed but not allowed to the caller are 403 naming the header',
  async (resource, header, told) => {
    stage.facts.names = {
      ...stage.facts.names,
      uids: ['u-1'],
      extras: new Map([['scopes', ['view']]]),
    }
    review = (seen) => ({
      body: {
        status: { allowed: JSON.parse(seen.body).spec.resourceAttributes.resource !== resource },
      },
    })
    const { status, body } = await ask(
      AS_ALICE,
      'Impersonate-Uid: u-1',
      'Impersonate-Extra-scopes: view',
    )
    expect(status).toBe(403)
    const said = JSON.parse(body).message
    expect(said).toContain(
      `header "${header}" is refused: you may not impersonate ${told.replace(/^u/, 'uid u')}`,
    )
    expect(requests()).toEqual([])
  },
)

test('a value that is not listed is 403 beside one that is', async () => {
  stage.facts.names = {
    ...stage.facts.names,
    uids: ['u-1'],
    extras: new Map([['scopes', ['view']]]),
  }
  for (const line of [
    'Impersonate-Uid: u-2',
    'Impersonate-Extra-scopes: edit',
    'Impersonate-Extra-other: view',
  ])
    expect((await ask(AS_ALICE, line)).status).toBe(403)
  expect(stage.seen).toEqual([])
})

test('groups alone are 400, as the API server says; a uid or an extra that is not listed is 403 first', async () => {
  expect((await ask('Impersonate-Group: mcm:dev')).status).toBe(400)
  expect((await ask('Impersonate-Uid: 1')).status).toBe(403)
  expect((await ask('Impersonate-Extra-foo: x')).status).toBe(403)
  stage.facts.names = { ...stage.facts.names, uids: ['1'] }
  expect((await ask('Impersonate-Uid: 1')).status).toBe(400)
  expect(stage.seen).toEqual([])
})

test('a revocation is not outlived by a yes: the caller is 403 though the review would still allow', async () => {
  expect((await ask(AS_ALICE)).status).toBe(200)
  stage.facts.revokedBySecret.set('bob', new Date())
  expect((await ask(AS_ALICE)).status).toBe(403)
  expect(requests()).toHaveLength(1)
})

test('a review that hangs is 403 naming the header, in bounded time', {
  timeout: 60_000,
}, async () => {
  review = () => ({ hangs: true })
  const { status, body } = await ask(AS_ALICE)
  expect(status).toBe(403)
  expect(JSON.parse(body).message).toContain('could not be asked')
  expect(requests()).toEqual([])
})

test('less power is power asked for: own user without groups is asked about, not waved through', async () => {
  expect((await ask('Impersonate-User: mcm:bob')).status).toBe(200)
  expect(questions()).toHaveLength(1)
  expect(requests()[0]!.values('impersonate-group')).toEqual([])
})

test.each<[string, () => ReturnType<typeof review>]>([
  ['no', () => ({ body: { status: { allowed: false } } })],
  ['allowed and denied', () => ({ body: { status: { allowed: true, denied: true } } })],
  ['allowed with an error', () => ({ body: { status: { allowed: true, evaluationError: 'x' } } })],
  ['nothing', () => ({ body: {} })],
  ['allowed as a text', () => ({ body: { status: { allowed: 'true' } } })],
  ['no JSON', () => ({ body: undefined })],
  ['403', () => ({ code: 403, body: { kind: 'Status' } })],
  ['500', () => ({ code: 500, body: { status: { allowed: true } } })],
  ['302', () => ({ code: 302, body: { status: { allowed: true } } })],
  ['401', () => ({ code: 401, body: { status: { allowed: true } } })],
])('a review that answers %s is 403 naming the header', async (_, answer) => {
  review = answer
  const { status, body } = await ask(AS_ALICE)
  expect(status).toBe(403)
  expect(JSON.parse(body)).toMatchObject({
    kind: 'Status',
    reason: 'Forbidden',
    mcm: { code: 'MCM_IMPERSONATION_REFUSED' },
  })
  expect(JSON.parse(body).message).toContain('Impersonate-User')
  expect(requests()).toEqual([])
})

test('a review for the user that says yes and for a group that says no is 403 naming the group header', async () => {
  review = (seen) => ({
    body: {
      status: { allowed: JSON.parse(seen.body).spec.resourceAttributes.resource === 'users' },
    },
  })
  const { status, body } = await ask(AS_ALICE, 'Impersonate-Group: mcm:ops')
  expect([status, JSON.parse(body).message.includes('Impersonate-Group')]).toEqual([403, true])
  expect(requests()).toEqual([])
})

test('a yes is not remembered: after it is taken back the next request is 403', async () => {
  expect((await ask(AS_ALICE)).status).toBe(200)
  review = () => ({ body: { status: { allowed: false } } })
  expect((await ask(AS_ALICE)).status).toBe(403)
  expect(questions()).toHaveLength(2)
})

test.each([
  ['a user the agent does not speak for', ['Impersonate-User: mcm:mallory']],
  ['a bare name', ['Impersonate-User: alice']],
  ['a group the agent does not speak for', [AS_ALICE, 'Impersonate-Group: mcm:admins']],
  ['a system user', ['Impersonate-User: system:admin']],
  ['a controller', ['Impersonate-User: system:kube-controller-manager']],
  ['a node', ['Impersonate-User: system:node:n']],
  ['a service account', ['Impersonate-User: system:serviceaccount:kube-system:x']],
  ['a kube name', ['Impersonate-User: kube:admin']],
  ['system:masters', [AS_ALICE, 'Impersonate-Group: system:masters']],
  ['system:authenticated', [AS_ALICE, 'Impersonate-Group: system:authenticated']],
  ['a uid', [AS_ALICE, 'Impersonate-Uid: 1']],
  ['an extra', [AS_ALICE, 'Impersonate-Extra-scopes: x']],
  ['our own extra', [AS_ALICE, 'Impersonate-Extra-mcm.dev%2Fsession: x']],
])('%s is 403 without any question, whatever RBAC would say', async (_, lines) => {
  expect((await ask(...lines)).status).toBe(403)
  expect(stage.seen).toEqual([])
})

test('with the owner’s opt-out a system user is refused all the same', async () => {
  stage.facts.names = { users: [], groups: [], isUnrestricted: true }
  expect((await ask('Impersonate-User: anybody')).status).toBe(200)
  expect((await ask('Impersonate-User: system:admin')).status).toBe(403)
  expect((await ask('Impersonate-User: anybody', 'Impersonate-Group: system:masters')).status).toBe(
    403,
  )
})

test('an exec as somebody else is asked about in the same way, and refused in the same way', async () => {
  const lines = ['Connection: Upgrade', 'Upgrade: SPDY/3.1', 'Content-Length: 0', AS_ALICE]
  review = () => ({ body: { status: { allowed: false } } })
  const answer = await stage.ask(
    bob,
    'POST /api/v1/namespaces/a/pods/b/exec HTTP/1.1',
    `Host: ${HOST}`,
    ...lines,
  )
  expect(answer.status).toBe(403)
  expect(questions()).toHaveLength(1)
  expect(stage.seen).toHaveLength(1)
})
