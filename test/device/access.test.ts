import { expect, test } from 'vitest'
import { bindingOf, bindingPath } from '../../src/access/grant.ts'
import { readImpersonator } from '../../src/access/impersonator.ts'
import { ownRole } from '../../src/access/role.ts'
import { applyAccess, exitCodeOfApply } from '../../src/device/access-apply.ts'
import { accessDocument, exitCodeOfDiff } from '../../src/device/access-document.ts'
import { parseAccess } from '../../src/device/access-file.ts'
import { planAccess } from '../../src/device/access-plan.ts'
import { declarationOf, standingAccess } from '../../src/device/access-show.ts'
import { grantRole } from '../../src/device/grant.ts'
import { listGroups, listPeople, setGroups } from '../../src/device/people.ts'
import { revokeUser } from '../../src/device/revoke.ts'
import { ungrant } from '../../src/device/ungrant.ts'
import type { ClusterRole } from '../../src/kube/rbac.ts'
import { toYaml } from '../../src/kubeconfig/yaml.ts'
import type { FakeAgent } from './fake-agent.ts'
import {
  asAda,
  HOUR,
  IMPERSONATOR_PATH,
  joinedDevice,
  registeredCluster,
  type TestFleet,
} from './fleet.ts'
import { eachWithCluster } from './scene.ts'

let fleet: TestFleet
let agent: FakeAgent

eachWithCluster((founded, registered) => {
  fleet = founded
  agent = registered
})

const HEAD = 'apiVersion: mcm.dev/v1alpha1\nkind: Access\n'
const TEAM = `${HEAD}
users:
  - { name: bob, nickname: Bob the Builder, groups: [dev] }
  - { name: carol }
groups:
  - name: dev
roles:
  - name: pod-dev
    rules: [{ apiGroups: [''], resources: [pods], verbs: [get, watch, list] }]
grants:
  - { group: dev, role: pod-dev, clusters: [idc-k8s], namespaces: [product-a] }
  - { user: carol, role: ro, clusterSelector: { matchLabels: {} } }
`

const plan = (text: string) =>
  asAda(fleet, (session) => planAccess(session, parseAccess(text, 'access.yaml')))
const diff = async (text: string) => accessDocument(await plan(text))
const apply = (text: string) =>
  asAda(fleet, async (session) =>
    applyAccess(session, await planAccess(session, parseAccess(text, 'access.yaml'))),
  )
const paths = (kind: string) => [...agent.api.objects.keys()].filter((path) => path.includes(kind))
const state = () => fleet.hub.directory.state
const listed = () =>
  readImpersonator(agent.api.objects.get(IMPERSONATOR_PATH) as unknown as ClusterRole)

test('what is declared is made so: roles, bindings, names, members and groups; then nothing differs', async () => {
  await joinedDevice(fleet, 'bob')
  await joinedDevice(fleet, 'carol')
  const before = await diff(TEAM)
  expect(before.summary).toEqual({ add: 5, change: 2, remove: 0 })
  expect(exitCodeOfDiff(before)).toBe(1)
  const applied = await apply(TEAM)
  expect(exitCodeOfApply(applied)).toBe(0)
  expect(paths('bindings/')).toHaveLength(2)
  expect(agent.api.objects.get(paths('/rolebindings/')[0]!)).toMatchObject({
    metadata: { namespace: 'product-a', labels: { 'mcm.dev/principal': 'dev' } },
    roleRef: { name: 'pod-dev' },
    subjects: [{ kind: 'Group', name: 'mcm:dev' }],
  })
  expect(listed()).toMatchObject({
    users: ['mcm:ada', 'mcm:bob', 'mcm:carol'],
    groups: ['mcm:dev'],
  })
  expect(state().users.get('bob')).toMatchObject({ groups: ['dev'], nickname: 'Bob the Builder' })
  expect(state().isMember('bob', agent.id) && state().isMember('carol', agent.id)).toBe(true)
  const after = await diff(TEAM)
  expect([after.summary, exitCodeOfDiff(after)]).toEqual([{ add: 0, change: 0, remove: 0 }, 0])
})

test('more than a hub takes in one message is said in parts, given and taken away', async () => {
  fleet.hub.maxStatements = 300
  const names = Array.from({ length: 301 }, (_, index) => `team-${index}`)
  const grant = (group: string) => ({ group, role: 'ro', clusters: ['idc-k8s'] })
  const groups = names.map((name) => ({ name }))
  const many = { apiVersion: 'mcm.dev/v1alpha1', kind: 'Access', groups, grants: names.map(grant) }
  expect(exitCodeOfApply(await apply(JSON.stringify(many)))).toBe(0)
  expect(state().members(agent.id)).toHaveLength(302)
  expect(exitCodeOfApply(await apply(HEAD))).toBe(0)
  expect(state().members(agent.id)).toHaveLength(1)
})

test('everything is done as the administrator, and a second time nothing is written', async () => {
  await joinedDevice(fleet, 'bob')
  await joinedDevice(fleet, 'carol')
  await apply(TEAM)
  const { head } = fleet.hub.directory
  agent.api.calls.length = 0
  await apply(TEAM)
  expect(agent.api.calls.every((call) => call.startsWith('ada GET '))).toBe(true)
  expect(fleet.hub.directory.head).toEqual(head)
})

test('who is declared before anybody invites them is listed with the invite, and not before', async () => {
  await joinedDevice(fleet, 'bob')
  await apply(TEAM)
  expect(listed().users).toEqual(['mcm:ada', 'mcm:bob'])
  expect((await diff(TEAM)).unknown).toEqual(['carol'])
  await joinedDevice(fleet, 'carol')
  expect(listed().users).toEqual(['mcm:ada', 'mcm:bob', 'mcm:carol'])
  expect((await diff(TEAM)).summary).toEqual({ add: 0, change: 0, remove: 0 })
})

test('who leaves a group is forgotten where they had nothing else', async () => {
  await joinedDevice(fleet, 'bob')
  await joinedDevice(fleet, 'carol')
  await apply(TEAM)
  const { clusters } = await asAda(fleet, (session) => setGroups(session, 'bob', []))
  expect(clusters).toMatchObject([{ changed: ['ClusterRole mcm-impersonator'] }])
  expect(listed().users).toEqual(['mcm:ada', 'mcm:carol'])
})

test('a group that loses its rights takes the names of its people with it', async () => {
  await joinedDevice(fleet, 'bob', ['dev'])
  const subject = { kind: 'group', name: 'dev' } as const
  await asAda(fleet, (session) => grantRole(session, { subject, role: 'ro' }, ['idc-k8s']))
  expect(listed()).toMatchObject({ users: ['mcm:ada', 'mcm:bob'], groups: ['mcm:dev'] })
  await asAda(fleet, (session) => ungrant(session, subject, {}, ['idc-k8s']))
  expect(listed()).toMatchObject({ users: ['mcm:ada'], groups: [] })
})

test('what is no longer declared is taken away, with the membership; foreign objects stay', async () => {
  await joinedDevice(fleet, 'bob')
  await joinedDevice(fleet, 'carol')
  await apply(TEAM)
  const foreign = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/theirs'
  const metadata = { name: 'theirs', labels: { team: 'x' } }
  agent.api.put(foreign, { apiVersion: 'v1', kind: 'ClusterRoleBinding', metadata })
  await apply(`${HEAD}users: [{ name: carol }]\n`)
  expect(paths('bindings/')).toEqual([foreign])
  expect(paths('clusterroles/pod-dev')).toEqual([])
  expect(listed()).toMatchObject({ users: ['mcm:ada'], groups: [] })
  expect(state().users.get('bob')?.groups).toEqual([])
  expect(state().members(agent.id)).toEqual([{ kind: 'user', name: 'ada' }])
})

test('a wrong line is told with its line and column, all of them at once', () => {
  const text = `${HEAD}users:\n  - name: bob\n    group: [dev]\ngrants:\n  - user: bob\n    role: ns-dev\n    clusters: [idc-k8s]\n`
  expect(() => parseAccess(text, 'access.yaml')).toThrow(
    'access.yaml:5:12: users[0].group: there is no group here',
  )
  const fits = text.replace('group: [dev]', 'nickname: b')
  expect(() => parseAccess(fits, 'access.yaml')).toThrow('access.yaml:7:5: grants[0]: role ns-dev')
  expect(() => parseAccess(`${HEAD}users: [`, 'access.yaml')).toThrow(
    /^access\.yaml:\d+:\d+: this is not YAML/,
  )
  const twice = `${HEAD}users: []\nusers: []\n`
  expect(() => parseAccess(twice, 'access.yaml')).toThrow('access.yaml:4:1: this is not YAML')
})

test('a cluster that there is not is told with its place in the file', async () => {
  const text = TEAM.replace('clusters: [idc-k8s]', 'clusters: [idc-k8z]')
  await expect(plan(text)).rejects.toMatchObject({
    code: 'MCM_BAD_FILE',
    message: expect.stringMatching(/^access\.yaml:\d+:\d+: grants\[0\]\.clusters\[0\]: .*idc-k8z/),
  })
})

test('a cluster that is down does not keep the others from it, loses its members at once, and is told', async () => {
  const other = await registeredCluster(fleet, 'ack')
  await joinedDevice(fleet, 'bob')
  await joinedDevice(fleet, 'carol')
  await apply(TEAM)
  fleet.hub.agents.delete(agent.id)
  const text = TEAM.replace('groups: [dev] }', 'groups: [] }').replace(
    '{ user: carol, role: ro, clusterSelector: { matchLabels: {} } }',
    '{ user: bob, role: ro, clusterSelector: { matchLabels: {} } }',
  )
  const document = await diff(text)
  expect(exitCodeOfDiff(document)).toBe(9)
  const applied = await apply(text)
  expect(exitCodeOfApply(applied)).toBe(9)
  expect(applied.clusters.find(({ cluster }) => cluster === 'idc-k8s')?.problems).toHaveLength(1)
  expect(state().isMember('carol', agent.id)).toBe(false)
  expect(state().isMember('bob', agent.id)).toBe(false)
  expect(state().isMember('bob', other.id)).toBe(true)
})

test('nobody comes into a group while a cluster may still give that group more than is declared', async () => {
  await joinedDevice(fleet, 'bob')
  await joinedDevice(fleet, 'carol')
  await apply(TEAM)
  fleet.hub.agents.delete(agent.id)
  const applied = await apply(TEAM.replace('{ name: carol }', '{ name: carol, groups: [dev] }'))
  expect(applied.problems[0]).toContain('carol is not put into dev yet: idc-k8s')
  expect(state().users.get('carol')?.groups).toEqual([])
})

test('what the API server refuses is told for each object, and nobody becomes a member of nothing', async () => {
  await joinedDevice(fleet, 'bob')
  await joinedDevice(fleet, 'carol')
  const made = await plan(TEAM)
  agent.api.forbidden.add('ada')
  const applied = await asAda(fleet, (session) => applyAccess(session, made))
  expect(applied.clusters[0]!.problems.join()).toContain('ada may not')
  expect(exitCodeOfApply(applied)).toBe(10)
  expect(state().members(agent.id)).toEqual([{ kind: 'user', name: 'ada' }])
})

test('drift is seen and put right: a subject edited by hand, a binding deleted, a role widened', async () => {
  await joinedDevice(fleet, 'bob')
  await joinedDevice(fleet, 'carol')
  await apply(TEAM)
  const [inNamespace, inCluster] = [paths('/rolebindings/')[0]!, paths('/clusterrolebindings/')[0]!]
  const edited = structuredClone(agent.api.objects.get(inNamespace)!)
  edited['subjects'] = [{ kind: 'User', name: 'mallory' }]
  agent.api.put(inNamespace, edited)
  agent.api.objects.delete(inCluster)
  const role = structuredClone(agent.api.objects.get(paths('clusterroles/pod-dev')[0]!)!)
  role['rules'] = [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }]
  agent.api.put(paths('clusterroles/pod-dev')[0]!, role)
  const { changes } = (await diff(TEAM)).clusters[0]!
  expect(changes.map(({ action, kind, differs }) => [action, kind, differs])).toEqual([
    ['change', 'ClusterRole', ['rules']],
    ['change', 'RoleBinding', ['subjects']],
    ['add', 'ClusterRoleBinding', undefined],
  ])
  await apply(TEAM)
  expect((await diff(TEAM)).summary).toEqual({ add: 0, change: 0, remove: 0 })
})

test('two administrators who apply at once both end with what is declared', async () => {
  await joinedDevice(fleet, 'bob')
  await joinedDevice(fleet, 'carol')
  const outcomes = await Promise.all([apply(TEAM), apply(TEAM), apply(TEAM)])
  expect(outcomes.map(exitCodeOfApply)).toEqual([0, 0, 0])
  expect((await diff(TEAM)).summary).toEqual({ add: 0, change: 0, remove: 0 })
  expect(state().withoutEffect.size).toBe(0)
})

test('what stands can be printed as a declaration, and that declaration changes nothing', async () => {
  await joinedDevice(fleet, 'bob', ['dev'])
  await asAda(fleet, async (session) => {
    const wish = {
      subject: { kind: 'group', name: 'dev' },
      role: 'ns-dev',
      namespace: 'a',
    } as const
    await grantRole(session, wish, ['idc-k8s'])
    const expires = new Date(fleet.world.now().getTime() + HOUR)
    const bob = { subject: { kind: 'user', name: 'bob' }, role: 'ops', expires } as const
    await grantRole(session, bob, ['idc-k8s'])
  })
  const { declaration } = await asAda(fleet, declarationOf)
  const document = await diff(toYaml([declaration]))
  expect(document.summary).toEqual({ add: 0, change: 0, remove: 0 })
})

test('a role that two clusters have with other rules is declared by nobody, and neither is a grant that gives nothing', async () => {
  const edge = await registeredCluster(fleet, 'edge')
  const rules = (verbs: string[]) => [{ apiGroups: [''], resources: ['secrets'], verbs }]
  const at = (role: ClusterRole) =>
    `/apis/rbac.authorization.k8s.io/v1/clusterroles/${role.metadata.name}`
  const put = (api: FakeAgent['api'], role: ClusterRole) => api.put(at(role), role)
  put(agent.api, ownRole('deployer', rules(['list'])))
  put(edge.api, ownRole('deployer', rules(['*'])))
  for (const { api } of [agent, edge]) put(api, ownRole('reader', rules(['get'])))
  const planted = bindingOf({ subject: { kind: 'user', name: 'mallory' }, role: 'ops' }, 'mcm:')
  edge.api.put(bindingPath(planted), planted)
  const { declaration, problems } = await asAda(fleet, declarationOf)
  expect(declaration.roles.map(({ name }) => name)).toEqual(['reader'])
  expect(problems).toEqual([
    {
      cluster: expect.any(String),
      problem: expect.stringContaining('role deployer has other rules'),
    },
  ])
  expect(JSON.stringify(declaration)).not.toContain('mallory')
})

test('what cannot be ended of a person keeps nothing else of theirs, and is told', async () => {
  await joinedDevice(fleet, 'bob')
  const subject = { kind: 'user', name: 'bob' } as const
  for (const role of ['ro', 'ops'])
    await asAda(fleet, (session) => grantRole(session, { subject, role }, ['idc-k8s']))
  const [stuck, other] = paths('bindings/')
  agent.api.refused.add(`DELETE ${stuck}`)
  const { clusters } = await asAda(fleet, (session) => revokeUser(session, 'bob', 'left'))
  expect(clusters[0]!.problem).toContain(stuck!.split('/').at(-1))
  expect(clusters[0]!.changed).toContain(`ClusterRoleBinding ${other!.split('/').at(-1)}`)
  expect(clusters[0]!.changed).toContain('ClusterRole mcm-impersonator')
  expect(paths('bindings/')).toEqual([stuck])
  expect(listed().users).toEqual(['mcm:ada'])
})

test('a grant for some time is bound to a timed group, signed with its end, shown, and taken away early', async () => {
  await joinedDevice(fleet, 'bob')
  const expires = new Date(Math.floor(fleet.world.now().getTime() / 1000) * 1000 + 8 * HOUR)
  const subject = { kind: 'user', name: 'bob' } as const
  await asAda(fleet, (session) =>
    grantRole(session, { subject, role: 'ops', expires }, ['idc-k8s']),
  )
  const { group } = state().timedGrants(agent.id)[0]!
  const [binding] = paths('bindings/').map((path) => agent.api.objects.get(path)!)
  expect(binding!['subjects']).toMatchObject([{ kind: 'Group', name: `mcm:${group}` }])
  expect(listed()).toMatchObject({ users: ['mcm:ada', 'mcm:bob'], groups: [`mcm:${group}`] })
  const at = (ms: number) => new Date(expires.getTime() + ms)
  const groupsAt = (ms: number) =>
    state()
      .timedGrantsOf('bob', [], agent.id, at(ms))
      .map((timed) => timed.group)
  expect(groupsAt(-1)).toEqual([group])
  expect(groupsAt(0)).toEqual([])
  expect(state().isMember('bob', agent.id, at(-1))).toBe(true)
  expect(state().isMember('bob', agent.id, at(0))).toBe(false)
  const { grants } = await asAda(fleet, (session) => standingAccess(session, 'bob'))
  expect(grants).toMatchObject([{ role: 'mcm:ops', expires: expect.stringMatching(/Z$/) }])
  await asAda(fleet, (session) => ungrant(session, subject, {}, ['idc-k8s']))
  expect(paths('bindings/')).toEqual([])
  expect(listed()).toMatchObject({ users: ['mcm:ada'], groups: [] })
  expect(groupsAt(-HOUR)).toEqual([])
})

test('a grant until a time that is over is refused', async () => {
  await joinedDevice(fleet, 'bob')
  const wish = {
    subject: { kind: 'user', name: 'bob' },
    role: 'ro',
    expires: fleet.world.now(),
  } as const
  await expect(asAda(fleet, (session) => grantRole(session, wish, ['idc-k8s']))).rejects.toThrow(
    'is over already',
  )
})

test('groups of a user are set by one statement; people, bots and groups are listed from the directory', async () => {
  await joinedDevice(fleet, 'bob', ['dev'])
  await asAda(fleet, (session) => setGroups(session, 'bob', ['ops', 'qa', 'ops']))
  expect(state().users.get('bob')?.groups).toEqual(['ops', 'qa'])
  await asAda(fleet, async (session) => {
    expect(listPeople(session, 'people').map(({ name, isAdmin }) => [name, isAdmin])).toEqual([
      ['ada', true],
      ['bob', false],
    ])
    expect(listPeople(session, 'bots')).toEqual([])
    expect(listGroups(session).map(({ name, users }) => [name, users])).toEqual([
      ['ops', ['bob']],
      ['qa', ['bob']],
    ])
  })
  await expect(
    asAda(fleet, (session) => setGroups(session, 'bob', ['system:masters'])),
  ).rejects.toThrow('cannot be used')
  await expect(asAda(fleet, (session) => setGroups(session, 'rob', []))).rejects.toMatchObject({
    code: 'MCM_USER_UNKNOWN',
  })
})
