import { expect, test } from 'vitest'
import {
  formOf,
  type ImpersonatorNames,
  impersonatorRole,
  readImpersonator,
} from '../../src/access/impersonator.ts'
import { setCeiling, showCeiling } from '../../src/device/ceiling.ts'
import { ceilingOf, readCeilingWish } from '../../src/device/ceiling-wish.ts'
import { withCluster } from '../../src/device/cluster-access.ts'
import { showCluster } from '../../src/device/clusters.ts'
import { withFleet } from '../../src/device/fleet-session.ts'
import { grantRole } from '../../src/device/grant.ts'
import { followServer } from '../../src/device/impersonation-form.ts'
import { listNamesInUse, namesInUseOf } from '../../src/device/names-in-use.ts'
import { prepareRegistration } from '../../src/device/register.ts'
import type { ClusterRole } from '../../src/kube/rbac.ts'
import type { FakeAgent } from './fake-agent.ts'
import { asAda, IMPERSONATOR_PATH, joinedDevice, type TestFleet } from './fleet.ts'
import { eachWithCluster } from './scene.ts'

let fleet: TestFleet
let agent: FakeAgent

eachWithCluster((founded, registered) => {
  fleet = founded
  agent = registered
})

const role = () => agent.api.objects.get(IMPERSONATOR_PATH) as unknown as ClusterRole
const cluster = () => fleet.hub.directory.state.clusters.get(agent.id)!
const inCluster = <T>(work: Parameters<typeof withCluster<T>>[2]) =>
  asAda(fleet, (session) => withCluster(session, cluster(), work))
const has = (server: 'legacy' | 'constrained' | undefined, list: 'legacy' | 'constrained') => {
  const impersonation = { list, isUnrestricted: false, ...(server ? { server } : {}) }
  agent.facts = { impersonation, ceiling: 'no-exec' }
}

test('the list takes the form that the API server has, with the same names, and no agent talks it back', async () => {
  const before = readImpersonator(role())
  has('constrained', 'legacy')
  expect(await inCluster(followServer)).toBe(true)
  expect(readImpersonator(role())).toEqual({ ...before, isConstrained: true })
  has('legacy', 'constrained')
  expect(await inCluster(followServer)).toBe(false)
  expect(formOf(role())).toBe('constrained')
})

test('a grant leaves a constrained list constrained, whatever the agent says', async () => {
  await joinedDevice(fleet, 'bob')
  agent.api.put(
    IMPERSONATOR_PATH,
    impersonatorRole({ users: ['mcm:ada'], groups: [] }, 'constrained'),
  )
  has('legacy', 'constrained')
  const bob = { kind: 'user', name: 'bob' } as const
  await asAda(fleet, (session) => grantRole(session, { subject: bob, role: 'ro' }, ['idc-k8s']))
  expect(readImpersonator(role())).toMatchObject({ isConstrained: true })
  expect(readImpersonator(role()).users).toContain('mcm:bob')
})

const setNone = (isLegacy: boolean) =>
  asAda(fleet, (session) =>
    withCluster(session, cluster(), ({ kubernetes }) =>
      setCeiling(session, cluster(), kubernetes, { names: [] }, isLegacy),
    ),
  )

test.each([
  ['says the server is legacy', 'legacy', 'constrained'],
  ['says nothing of the server and that the list is legacy', undefined, 'legacy'],
] as const)(
  'setting a ceiling leaves the API server its wall when the agent %s',
  async (_, server, list) => {
    const { users, groups } = readImpersonator(role())
    agent.api.put(IMPERSONATOR_PATH, impersonatorRole({ users, groups }, 'constrained'))
    has(server, list)
    const set = await setNone(false)
    expect(formOf(role())).toBe('constrained')
    expect(set.protection?.impersonation.list).toBe('constrained')
  },
)

test('the owner’s own word takes it away, and setting a ceiling puts it up where the server has it', async () => {
  has('constrained', 'legacy')
  expect((await setNone(false)).protection?.impersonation.list).toBe('constrained')
  expect(formOf(role())).toBe('constrained')
  expect((await setNone(true)).protection?.impersonation.list).toBe('legacy')
  expect(formOf(role())).toBe('legacy')
})

test('what an agent cannot tell changes nothing, and neither does what fits', async () => {
  has(undefined, 'legacy')
  expect(await inCluster(followServer)).toBe(false)
  has('legacy', 'legacy')
  expect(await inCluster(followServer)).toBe(false)
  expect(formOf(role())).toBe('legacy')
})

test('a grant puts the list into the form that the API server has', async () => {
  await joinedDevice(fleet, 'bob')
  has('constrained', 'legacy')
  const bob = { kind: 'user', name: 'bob' } as const
  await asAda(fleet, (session) => grantRole(session, { subject: bob, role: 'ro' }, ['idc-k8s']))
  expect(readImpersonator(role())).toMatchObject({ isConstrained: true })
  expect(readImpersonator(role()).users).toContain('mcm:bob')
})

test('the list is made exactly the names in use: what nobody needs goes, what is missing comes', async () => {
  await joinedDevice(fleet, 'bob')
  const bob = { kind: 'user', name: 'bob' } as const
  await asAda(fleet, (session) => grantRole(session, { subject: bob, role: 'ro' }, ['idc-k8s']))
  const stale: ImpersonatorNames = { users: ['mcm:gone'], groups: ['mcm:nobodys'] }
  agent.api.put(IMPERSONATOR_PATH, impersonatorRole(stale, 'constrained'))
  const sync = () =>
    inCluster(({ kubernetes }) =>
      listNamesInUse(kubernetes, fleet.hub.directory, cluster(), fleet.world.now()),
    )
  expect(await sync()).toBe(true)
  const { users, groups, isConstrained } = readImpersonator(role())
  const wanted = namesInUseOf(fleet.hub.directory, cluster(), fleet.world.now())
  expect({ users, groups }).toEqual(wanted)
  expect(wanted).toEqual({ users: ['mcm:ada', 'mcm:bob'], groups: [] })
  expect(isConstrained).toBe(true)
  expect(await sync()).toBe(false)
})

test('clusters show and clusters ceiling tell what the agent says of both', async () => {
  has('constrained', 'legacy')
  const shown = await asAda(fleet, (session) => showCluster(session, 'idc-k8s'))
  expect(shown.protection).toEqual(agent.facts)
  const ceiling = await asAda(fleet, (session) => showCeiling(session, 'idc-k8s'))
  expect(ceiling).toMatchObject({ cluster: 'idc-k8s', protection: { ceiling: 'no-exec' } })
})

test('a registration carries the ceiling that was asked for, and keeps the one that is there otherwise', async () => {
  const prepared = (more: object) =>
    withFleet(fleet.ada, (session) =>
      prepareRegistration(session, { name: 'edge', labels: {}, endpoint: 'public', ...more }),
    )
  const nameIn = async (more: object) => {
    const { objects } = await prepared(more)
    return objects.find(
      ({ kind, metadata }) => kind === 'ClusterRole' && metadata.name === 'mcm-ceiling',
    )?.metadata
  }
  const annotation = 'mcm.dev/ceiling'
  expect((await nameIn({}))?.annotations?.[annotation]).toBe('none')
  const asked = { ceiling: { names: ['read-only'] } }
  expect((await nameIn(asked))?.annotations?.[annotation]).toBe('read-only')
  const there = ceilingOf({ names: ['no-secrets'] }, [])
  const facts = {
    listed: { users: [], groups: [] },
    form: 'legacy',
    customGroups: [],
    ceiling: there,
  }
  expect((await nameIn({ facts }))?.annotations?.[annotation]).toBe('no-secrets')
})

const files = (text?: string) => ({ readTextIfAny: async () => text })

test('a ceiling is read by name or from a file, in YAML or JSON', async () => {
  expect(await readCeilingWish('no-exec,no-secrets', files())).toEqual({
    names: ['no-exec', 'no-secrets'],
  })
  const rules = [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }]
  const own = { own: { name: 'pods', rules } }
  expect(await readCeilingWish('a/pods.json', files(JSON.stringify({ rules })))).toEqual(own)
  const yaml = 'kind: ClusterRole\nrules:\n- {apiGroups: [""], resources: [pods], verbs: [get]}\n'
  expect(await readCeilingWish('a/pods.yaml', files(yaml))).toEqual(own)
})

test.each([
  ['neither a name nor a file', undefined, 'is no ceiling and no file'],
  ['no rules', 'rules: []', 'is no ceiling: rules'],
  ['rules that RBAC does not know', 'rules: [{resource: pods, verbs: [get]}]', 'is no ceiling'],
  [
    'a rule about both kinds',
    'rules: [{apiGroups: [""], resources: [a], nonResourceURLs: [b], verbs: [get]}]',
    'is no ceiling',
  ],
  ['no YAML', 'rules: [', 'is not YAML'],
  [
    'a verb that no request has',
    'rules: [{apiGroups: [""], resources: [a], verbs: [impersonate]}]',
    'has the verb',
  ],
])('a ceiling that is %s is refused before anything is done', async (_, text, sentence) => {
  await expect(readCeilingWish('x.yaml', files(text))).rejects.toThrow(sentence)
})
