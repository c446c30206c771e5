import { createSign, generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { messageOf, NS, stage } from './stage.ts'

const on = stage()
const WHO = '/apis/authentication.k8s.io/v1/selfsubjectreviews'

async function whoIs(token: string) {
  const { json } = await on.ask({ method: 'POST', path: WHO, body: {}, token })
  return (
    json as {
      status: { userInfo: { username: string; groups: string[]; uid: string; extra: object } }
    }
  ).status.userInfo
}

test('without a token only health and version are answered', async () => {
  for (const path of ['/version', '/healthz', '/livez', '/readyz'])
    expect((await on.ask({ path, token: '' })).status).toBe(200)
  for (const path of ['/api', '/apis', '/openapi/v3', '/', `${NS}/pods`, '/metrics', '/versions'])
    expect((await on.ask({ path, token: '' })).status).toBe(401)
})

test('a refusal without credentials is a Status that a client can read', async () => {
  const { status, json } = await on.ask({ path: `${NS}/pods`, token: '' })
  expect(status).toBe(401)
  expect(json).toMatchObject({
    kind: 'Status',
    reason: 'Unauthorized',
    message: 'Unauthorized',
    code: 401,
  })
})

test('a wrong token is refused, even where no token would do', async () => {
  expect((await on.ask({ path: '/version', token: 'x' })).status).toBe(401)
  const { headers } = { headers: [['Authorization', 'Basic eDp5']] as const }
  expect((await on.ask({ path: '/version', token: '', headers })).status).toBe(401)
})

test('the admin token stands for an admin in system:masters', async () => {
  const admin = await whoIs(on.sandbox.adminToken.reveal())
  expect(admin).toEqual({
    username: 'sandbox-admin',
    groups: ['system:masters', 'system:authenticated'],
  })
})

test('the token of a service account names it, its groups and itself', async () => {
  const user = await whoIs(await on.tokenOf('one'))
  expect(user.username).toBe('system:serviceaccount:default:one')
  expect(user.groups).toEqual([
    'system:serviceaccounts',
    'system:serviceaccounts:default',
    'system:authenticated',
  ])
  expect(Object.keys(user.extra)).toEqual(['authentication.kubernetes.io/credential-id'])
})

test('a token ends at the second it says', async () => {
  const token = await on.tokenOf('short', 600)
  on.world.pass(598_000)
  expect((await on.ask({ path: '/api', token })).status).toBe(200)
  on.world.pass(3_000)
  const { status } = await on.ask({ path: '/api', token })
  expect(status).toBe(401)
})

test('a token ends with its service account, also when one of that name comes again', async () => {
  const token = await on.tokenOf('brief')
  await on.ask({ method: 'DELETE', path: `${NS}/serviceaccounts/brief` })
  expect((await on.ask({ path: '/api', token })).status).toBe(401)
  await on.post(`${NS}/serviceaccounts`, { metadata: { name: 'brief' } })
  expect((await on.ask({ path: '/api', token })).status).toBe(401)
})

test('a token bound to a pod ends with the pod, and says which it was', async () => {
  await on.post(`${NS}/pods`, {
    metadata: { name: 'bound' },
    spec: { containers: [{ name: 'c', image: 'x' }] },
  })
  const reference = { kind: 'Pod', apiVersion: 'v1', name: 'bound' }
  const { json } = await on.post(`${NS}/serviceaccounts/default/token`, {
    spec: { boundObjectRef: reference },
  })
  const { token } = (json as { status: { token: string } }).status
  expect((await whoIs(token)).extra).toMatchObject({
    'authentication.kubernetes.io/pod-name': ['bound'],
  })
  await on.ask({ method: 'DELETE', path: `${NS}/pods/bound` })
  expect((await on.ask({ path: '/api', token })).status).toBe(401)
})

test('a token is not bound to a pod of another service account', async () => {
  await on.tokenOf('other')
  await on.post(`${NS}/pods`, {
    metadata: { name: 'theirs' },
    spec: { containers: [{ name: 'c', image: 'x' }] },
  })
  const reference = { kind: 'Pod', apiVersion: 'v1', name: 'theirs' }
  const answer = await on.post(`${NS}/serviceaccounts/other/token`, {
    spec: { boundObjectRef: reference },
  })
  expect(answer.status).toBe(400)
  expect(messageOf(answer)).toContain('different serviceaccount name')
})

test('a token for another audience does not open the API', async () => {
  await on.tokenOf('vault')
  const { json } = await on.post(`${NS}/serviceaccounts/vault/token`, {
    spec: { audiences: ['vault'] },
  })
  const { token } = (json as { status: { token: string } }).status
  expect((await on.ask({ path: '/api', token })).status).toBe(401)
  const review = await on.post('/apis/authentication.k8s.io/v1/tokenreviews', {
    spec: { token, audiences: ['vault', 'x'] },
  })
  expect(review.json).toMatchObject({ status: { authenticated: true, audiences: ['vault'] } })
})

test('a token whose claims, signature or algorithm were changed is refused', async () => {
  const token = await on.tokenOf('two')
  const [header, claims, signature] = token.split('.') as [string, string, string]
  const admin = Buffer.from(claims, 'base64url').toString().replaceAll(':two', ':default')
  const none = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url')
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const foreign = createSign('sha256').update(`${header}.${claims}`)
  for (const forged of [
    `${header}.${Buffer.from(admin).toString('base64url')}.${signature}`,
    `${header}.${claims}.${signature.slice(0, -4)}AAAA`,
    `${none}.${claims}.`,
    `${none}.${claims}.${signature}`,
    `${header}.${claims}`,
    `${header}.${claims}.${foreign.sign({ key: privateKey, dsaEncoding: 'ieee-p1363' }, 'base64url')}`,
    `${token}.x`,
    'a.b.c',
  ])
    expect((await on.ask({ path: '/api', token: forged })).status).toBe(401)
})

test('the second of two Authorization lines is not looked at', async () => {
  const headers = [
    ['Authorization', 'Bearer wrong'],
    ['Authorization', `Bearer ${on.sandbox.adminToken.reveal()}`],
  ] as const
  expect((await on.ask({ path: '/api', token: '', headers })).status).toBe(401)
})
