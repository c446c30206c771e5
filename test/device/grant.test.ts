import { expect, test } from 'vitest'
import { readImpersonator } from '../../src/access/impersonator.ts'
import { withFleet } from '../../src/device/fleet-session.ts'
import { grantRole } from '../../src/device/grant.ts'
import { createInvite } from '../../src/device/invite.ts'
import { revokeUser } from '../../src/device/revoke.ts'
import { ungrant } from '../../src/device/ungrant.ts'
import type { ClusterRole } from '../../src/kube/rbac.ts'
import type { FakeAgent } from './fake-agent.ts'
import { asAda, HOUR, IMPERSONATOR_PATH, joinedDevice, type TestFleet } from './fleet.ts'
import { eachWithCluster } from './scene.ts'

let fleet: TestFleet
let agent: FakeAgent

eachWithCluster((founded, registered) => {
  fleet = founded
  agent = registered
})

const user = (name: string) => ({ kind: 'user', name }) as const
const group = (name: string) => ({ kind: 'group', name }) as const
const grant = (subject: ReturnType<typeof user | typeof group>, role: string, namespace?: string) =>
  asAda(fleet, (session) =>
    grantRole(session, { subject, role, ...(namespace ? { namespace } : {}) }, ['idc-k8s']),
  )
const bindings = () => [...agent.api.objects.keys()].filter((path) => path.includes('bindings/'))
const listed = () =>
  readImpersonator(agent.api.objects.get(IMPERSONATOR_PATH) as unknown as ClusterRole)

test('a grant is a binding, a name the agent may speak for, and a member of the directory', async () => {
  await joinedDevice(fleet, 'bob')
  const [change] = await grant(user('bob'), 'ns-dev', 'test')
  expect(change?.changed).toHaveLength(2)
  expect(bindings()).toHaveLength(1)
  const binding = agent.api.objects.get(bindings()[0]!)!
  expect(binding).toMatchObject({
    kind: 'RoleBinding',
    metadata: { namespace: 'test' },
    roleRef: { name: 'mcm:ns-dev' },
    subjects: [{ kind: 'User', name: 'mcm:bob' }],
  })
  expect(listed().users).toEqual(['mcm:ada', 'mcm:bob'])
  expect(fleet.hub.directory.state.isMember('bob', agent.id)).toBe(true)
})

test('everything is done as the administrator, never as somebody stronger', async () => {
  await joinedDevice(fleet, 'bob')
  agent.api.calls.length = 0
  await grant(user('bob'), 'ro')
  expect(new Set(agent.api.calls.map((call) => call.split(' ')[0]))).toEqual(new Set(['ada']))
})

test('granting twice changes nothing the second time', async () => {
  await joinedDevice(fleet, 'bob')
  await grant(user('bob'), 'ro')
  const head = fleet.hub.directory.head
  await grant(user('bob'), 'ro')
  expect(bindings()).toHaveLength(1)
  expect(fleet.hub.directory.head).toEqual(head)
})

test('a group’s grant lists everybody in it, and who comes into it later', async () => {
  await joinedDevice(fleet, 'bob', ['dev'])
  await grant(group('dev'), 'ro')
  expect(listed()).toMatchObject({ users: ['mcm:ada', 'mcm:bob'], groups: ['mcm:dev'] })
  const invite = { user: 'carol', groups: ['dev'], expiresInMs: HOUR, bot: false }
  const made = await asAda(fleet, (session) => createInvite(session, invite))
  expect(made.clusters).toMatchObject([
    { cluster: 'idc-k8s', changed: ['ClusterRole mcm-impersonator'] },
  ])
  expect(listed().users).toContain('mcm:carol')
})

test('where a cluster is down the invite is made all the same, and it says so', async () => {
  await grant(group('dev'), 'ro')
  fleet.hub.agents.delete(agent.id)
  const invite = { user: 'carol', groups: ['dev'], expiresInMs: HOUR, bot: false }
  const made = await asAda(fleet, (session) => createInvite(session, invite))
  expect(made.clusters[0]?.problem).toContain('no agent')
})

test('an invite whose grant fails keeps its link, and says what is left to do', async () => {
  fleet.hub.agents.delete(agent.id)
  const invite = { user: 'carol', expiresInMs: HOUR, bot: false }
  const wish = { role: 'ro', clusters: ['idc-k8s'] }
  const made = await asAda(fleet, (session) => createInvite(session, { ...invite, grant: wish }))
  expect(made.clusters).toMatchObject([{ cluster: 'idc-k8s', changed: [] }])
  expect(made.clusters[0]?.problem).toContain('no agent')
  expect(made.link.reveal()).toContain('secret=')
})

test('of two administrators who grant at once nobody’s name is lost', async () => {
  await Promise.all(['bob', 'carol', 'dave'].map((name) => joinedDevice(fleet, name)))
  await Promise.all(['bob', 'carol', 'dave'].map((name) => grant(user(name), 'ro')))
  expect(listed().users).toEqual(['mcm:ada', 'mcm:bob', 'mcm:carol', 'mcm:dave'])
})

test('an unknown user is not granted anything, and near names are offered', async () => {
  await joinedDevice(fleet, 'robert')
  const error = await grant(user('rober'), 'ro').catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_USER_UNKNOWN', exitCode: 3 })
  expect(error.hint).toContain('robert')
  expect(bindings()).toEqual([])
})

test('an unknown role is not bound: the binding would grant nothing and look as if it did', async () => {
  await joinedDevice(fleet, 'bob')
  await expect(grant(user('bob'), 'no-such-role')).rejects.toMatchObject({
    code: 'MCM_ROLE_UNKNOWN',
    exitCode: 3,
  })
  expect(bindings()).toEqual([])
  expect(fleet.hub.directory.state.isMember('bob', agent.id)).toBe(false)
})

test('what RBAC refuses the administrator is not done, and nobody becomes a member', async () => {
  await joinedDevice(fleet, 'bob')
  agent.api.forbidden.add('ada')
  await expect(grant(user('bob'), 'ro')).rejects.toMatchObject({ exitCode: 5 })
  expect(fleet.hub.directory.state.isMember('bob', agent.id)).toBe(false)
})

test('only administrators of the fleet grant', async () => {
  const bob = await joinedDevice(fleet, 'bob')
  await expect(
    withFleet(bob, (session) =>
      grantRole(session, { subject: user('bob'), role: 'admin' }, ['idc-k8s']),
    ),
  ).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
})

test('taking one role away leaves the other, taking the last ends the membership', async () => {
  await joinedDevice(fleet, 'bob')
  await grant(user('bob'), 'ro')
  await grant(user('bob'), 'ns-dev', 'test')
  const take = (only: { role?: string }) =>
    asAda(fleet, (session) => ungrant(session, user('bob'), only, ['idc-k8s']))
  await take({ role: 'mcm:ro' })
  expect(bindings()).toHaveLength(1)
  expect(listed().users).toContain('mcm:bob')
  expect(fleet.hub.directory.state.isMember('bob', agent.id)).toBe(true)
  await take({})
  expect(bindings()).toEqual([])
  expect(listed().users).toEqual(['mcm:ada'])
  expect(fleet.hub.directory.state.isMember('bob', agent.id)).toBe(false)
})

test('revoking a user ends bindings, name, sessions and membership; bindings of others stay', async () => {
  await joinedDevice(fleet, 'bob')
  await joinedDevice(fleet, 'carol')
  await grant(user('bob'), 'ro')
  await grant(user('carol'), 'ro')
  const { clusters } = await asAda(fleet, (session) => revokeUser(session, 'bob', 'left'))
  expect(clusters[0]?.changed.length).toBeGreaterThanOrEqual(3)
  expect(agent.revocations).toEqual([{ user: 'bob' }])
  expect(listed().users).toEqual(['mcm:ada', 'mcm:carol'])
  expect(bindings()).toHaveLength(1)
  expect(fleet.hub.directory.state.users.get('bob')?.revoked).toBeDefined()
})

test('a cluster that is down does not keep a user from being revoked', async () => {
  await joinedDevice(fleet, 'bob')
  await grant(user('bob'), 'ro')
  fleet.hub.agents.delete(agent.id)
  const { clusters } = await asAda(fleet, (session) => revokeUser(session, 'bob', ''))
  expect(clusters[0]?.problem).toBeDefined()
  expect(fleet.hub.directory.state.users.get('bob')?.revoked).toBeDefined()
})

test('the only administrator cannot be revoked', async () => {
  const error = await asAda(fleet, (session) => revokeUser(session, 'ada', '')).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_USAGE' })
})

test('a certificate that the agent has forgotten is replaced in passing', async () => {
  await joinedDevice(fleet, 'bob')
  const { credentialFor } = await import('../../src/device/credentials.ts')
  agent.unlisted.add((await credentialFor(fleet.ada, agent.id)).fingerprint)
  await grant(user('bob'), 'ro')
  expect(bindings()).toHaveLength(1)
})
