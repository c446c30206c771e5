import { beforeEach, describe, expect, test } from 'vitest'
import { bindingOf, bindingPath } from '../../src/access/grant.ts'
import { readImpersonator } from '../../src/access/impersonator.ts'
import { applyAccess } from '../../src/device/access-apply.ts'
import { planAccess } from '../../src/device/access-plan.ts'
import { declarationOf, standingAccess } from '../../src/device/access-show.ts'
import { addAdmin } from '../../src/device/admins.ts'
import { setDirectAddress } from '../../src/device/direct-address.ts'
import { type FleetSession, syncDirectory, withFleet } from '../../src/device/fleet-session.ts'
import { grantRole } from '../../src/device/grant.ts'
import { withoutRequests } from '../../src/device/request-bindings.ts'
import { approveRequest, denyRequest, endRequest } from '../../src/device/request-decision.ts'
import { setApprovals } from '../../src/device/request-policy.ts'
import {
  listRequests,
  type RequestSummary,
  requestAccess,
  watchRequests,
} from '../../src/device/requests.ts'
import { revokeUser } from '../../src/device/revoke.ts'
import { ungrant } from '../../src/device/ungrant.ts'
import { UsageError } from '../../src/errors.ts'
import type { ClusterRole } from '../../src/kube/rbac.ts'
import type { FakeAgent } from './fake-agent.ts'
import {
  asAda,
  HOUR,
  IMPERSONATOR_PATH,
  joinedDevice,
  type TestDevice,
  type TestFleet,
} from './fleet.ts'
import { eachWithCluster } from './scene.ts'

/** ada administers, bob may reach the cluster and asks. */

let fleet: TestFleet
let agent: FakeAgent
let bob: TestDevice

eachWithCluster((founded, registered) => {
  fleet = founded
  agent = registered
})

beforeEach(async () => {
  bob = await joinedDevice(fleet, 'bob')
  await grant('bob', 'ro')
})

const grant = (name: string, role: string) =>
  asAda(fleet, (session) =>
    grantRole(session, { subject: { kind: 'user', name }, role }, ['idc-k8s']),
  )
const WISH = { role: 'ops', cluster: 'idc-k8s', forMs: HOUR, reason: 'disk full' }
const ask = (wish: Partial<typeof WISH> & { namespace?: string } = {}, device = bob) =>
  withFleet(device, (session) => requestAccess(session, { ...WISH, ...wish }))
const approve = (id: number, device = fleet.ada) =>
  withFleet(device, (session) => approveRequest(session, id))
const end = (id: number, device = fleet.ada) =>
  withFleet(device, (session) => endRequest(session, id))
const requestBindings = () =>
  [...agent.api.objects]
    .filter(([path]) => path.includes('bindings/'))
    .map(([, object]) => object)
    .filter(({ metadata }) => JSON.stringify(metadata).includes('\\"request\\":'))
const listedGroups = () =>
  readImpersonator(agent.api.objects.get(IMPERSONATOR_PATH) as unknown as ClusterRole).groups
const groupsOfBob = () =>
  fleet.hub.directory.state
    .timedGrantsOf('bob', [], agent.id, fleet.world.now())
    .map(({ group }) => group)
const secondAdmin = async () => {
  const dora = await joinedDevice(fleet, 'dora')
  await asAda(fleet, (session) => addAdmin(session, 'dora'))
  await grant('dora', 'admin')
  return dora
}

describe('asking', () => {
  test('is signed by one’s own device and changes nothing in the cluster', async () => {
    agent.api.calls.length = 0
    const request = await ask({ role: 'ns-dev', namespace: 'shop' })
    expect(request).toMatchObject({
      status: 'waiting',
      user: 'bob',
      role: 'mcm:ns-dev',
      namespace: 'shop',
      cluster: 'idc-k8s',
      seconds: 3_600,
      needed: 1,
      approvals: [],
    })
    expect([agent.api.calls, groupsOfBob()]).toEqual([[], []])
  })

  test.each([
    ['for longer than 12 hours', { forMs: 13 * HOUR }, 'MCM_USAGE'],
    ['for less than a minute', { forMs: 59_000 }, 'MCM_USAGE'],
    ['for a namespaced role without a namespace', { role: 'ns-dev' }, 'MCM_USAGE'],
    ['for a role that cannot be', { role: 'a/b' }, 'MCM_BAD_NAME'],
    ['for what the agent lives by', { role: 'mcm-impersonator' }, 'MCM_USAGE'],
    ['in a cluster nobody knows', { cluster: 'idc-k9s' }, 'MCM_CLUSTER_UNKNOWN'],
    ['without a reason', { reason: '' }, 'MCM_BAD_REQUEST'],
  ])('%s is refused before anything is signed', async (_what, wish, code) => {
    const { head } = fleet.hub.directory
    await expect(ask(wish)).rejects.toMatchObject({ code })
    expect(fleet.hub.directory.head).toEqual(head)
  })

  test('is listed for oneself and for administrators, and for nobody else', async () => {
    const { id } = await ask()
    const carol = await joinedDevice(fleet, 'carol')
    await grant('carol', 'ro')
    const seenBy = (device: TestDevice) =>
      withFleet(device, async (session) => listRequests(session, 'all').map((each) => each.id))
    expect(await seenBy(bob)).toEqual([id])
    expect(await seenBy(fleet.ada)).toEqual([id])
    expect(await seenBy(carol)).toEqual([])
  })
})

describe('approving', () => {
  test('binds the request’s own group as the administrator, lists it, and puts the user into it', async () => {
    const { id } = await ask()
    agent.api.calls.length = 0
    const { request } = await approve(id)
    expect(request).toMatchObject({ status: 'running', approvals: [{ user: 'ada' }] })
    const [group] = groupsOfBob()
    expect(requestBindings()).toMatchObject([
      {
        kind: 'ClusterRoleBinding',
        roleRef: { name: 'mcm:ops' },
        subjects: [{ kind: 'Group', name: `mcm:${group}` }],
      },
    ])
    expect(listedGroups()).toEqual([`mcm:${group}`])
    expect(new Set(agent.api.calls.map((call) => call.split(' ')[0]))).toEqual(new Set(['ada']))
    fleet.world.advance(HOUR)
    expect(groupsOfBob()).toEqual([])
  })

  test('what RBAC does not let one give is not signed', async () => {
    const { id } = await ask()
    agent.api.forbidden.add('ada')
    await expect(approve(id)).rejects.toMatchObject({ exitCode: 5 })
    agent.api.forbidden.clear()
    expect([groupsOfBob(), fleet.hub.directory.state.requests.get(id)!.approvals]).toEqual([[], []])
  })

  test('a role that is not there is not approved', async () => {
    const { id } = await ask({ role: 'no-such-role' })
    await expect(approve(id)).rejects.toMatchObject({ code: 'MCM_ROLE_UNKNOWN' })
    expect(groupsOfBob()).toEqual([])
  })

  test('one’s own request and as no administrator is refused before the cluster is asked', async () => {
    const own = await ask({}, fleet.ada)
    const { id } = await ask()
    agent.api.calls.length = 0
    await expect(approve(own.id)).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
    await expect(approve(id, bob)).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
    expect(agent.api.calls).toEqual([])
  })

  test('twice, after a denial, and of nothing is refused in words', async () => {
    const { id } = await ask()
    await approve(id)
    await expect(approve(id)).rejects.toThrow(/it is running/)
    const denied = await ask()
    await asAda(fleet, (session) => denyRequest(session, denied.id))
    await expect(approve(denied.id)).rejects.toThrow(/it is denied/)
    await expect(approve(4_711)).rejects.toMatchObject({ code: 'MCM_NOT_FOUND' })
  })

  test('by two where the cluster wants it: the first prepares, the last makes', async () => {
    const dora = await secondAdmin()
    await asAda(fleet, (session) => setApprovals(session, 'idc-k8s', 2))
    const { id } = await ask()
    const first = await approve(id)
    expect(first.request).toMatchObject({ status: 'waiting', needed: 2 })
    // Tried at the API server, and not kept: until it runs there is nothing to take.
    expect([requestBindings(), listedGroups(), groupsOfBob()]).toEqual([[], [], []])
    // Said in it, for agents from which a hub keeps what the cluster wants.
    const signed = fleet.hub.directory.known.get(fleet.hub.directory.head!.seq)
    expect(signed).toMatchObject({ type: 'approval', detail: { action: 'approve', needed: 2 } })
    await expect(approve(id)).rejects.toThrow(/approved request \d+ already/)
    const last = await approve(id, dora)
    expect(last.request).toMatchObject({ status: 'running' })
    expect([requestBindings().length, groupsOfBob().length]).toEqual([1, 1])
    // What changes nothing the API server lets pass without asking who may give it.
    expect(requestBindings()).toMatchObject([
      { metadata: { annotations: { 'mcm.dev/approver': 'dora' } } },
    ])
  })

  test('two cannot be wanted where only one administers, and the word survives another statement', async () => {
    const set = () => asAda(fleet, (session) => setApprovals(session, 'idc-k8s', 2))
    await expect(set()).rejects.toMatchObject({ code: 'MCM_USAGE' })
    await secondAdmin()
    await set()
    const direct = { sessions: 'idc.example.com:9443', enrolment: 'idc.example.com:9444' }
    await asAda(fleet, (session) => setDirectAddress(session, 'idc-k8s', direct))
    expect(fleet.hub.directory.state.clusters.get(agent.id)).toMatchObject({ approvals: 2, direct })
    await asAda(fleet, (session) => setApprovals(session, 'idc-k8s', 1))
    expect(fleet.hub.directory.state.clusters.get(agent.id)).toMatchObject({ direct })
    expect(fleet.hub.directory.state.clusters.get(agent.id)!.approvals).toBeUndefined()
  })
})

describe('ending', () => {
  test('by the one who asked needs no right in the cluster; what is left there goes with the next approval', async () => {
    const { id } = await ask()
    await approve(id)
    agent.api.calls.length = 0
    const { request, change } = await end(id, bob)
    expect([request.status, change, agent.api.calls, groupsOfBob()]).toEqual([
      'ended',
      undefined,
      [],
      [],
    ])
    expect(requestBindings()).toHaveLength(1)
    const next = await ask({ role: 'dev' })
    await approve(next.id)
    expect(requestBindings()).toMatchObject([{ roleRef: { name: 'mcm:dev' } }])
    expect(listedGroups()).toEqual(groupsOfBob().map((group) => `mcm:${group}`))
  })

  test('by an administrator takes binding and name away, and a cluster that is down does not hinder it', async () => {
    const { id } = await ask()
    await approve(id)
    const { change } = await end(id)
    expect(change!.changed).toHaveLength(2)
    expect([requestBindings(), listedGroups()]).toEqual([[], []])
    const other = await ask()
    await approve(other.id)
    fleet.hub.agents.delete(agent.id)
    expect((await end(other.id)).change!.problem).toContain('no agent')
    expect(groupsOfBob()).toEqual([])
  })

  test('somebody else’s is not known to a person, and what is over cannot be ended', async () => {
    const carol = await joinedDevice(fleet, 'carol')
    const { id } = await ask()
    await expect(end(id, carol)).rejects.toMatchObject({ code: 'MCM_NOT_FOUND' })
    await end(id, bob)
    await expect(end(id, bob)).rejects.toThrow(/nothing to end/)
  })

  test('comes with taking a user’s rights in the cluster away', async () => {
    const { id } = await ask()
    await approve(id)
    await asAda(fleet, (session) =>
      ungrant(session, { kind: 'user', name: 'bob' }, {}, ['idc-k8s']),
    )
    expect([requestBindings(), listedGroups(), groupsOfBob()]).toEqual([[], [], []])
    expect(fleet.hub.directory.state.requests.get(id)).toMatchObject({ end: { by: 'ada' } })
  })
})

describe('a declaration', () => {
  const declare = (session: FleetSession) =>
    declarationOf(session).then(({ declaration: access }) => ({
      access,
      wrong: () => new UsageError('MCM_BAD_FILE', 'the declaration is wrong'),
    }))

  test('neither says nor takes away what was asked for; what is over goes with it', async () => {
    const declared = await asAda(fleet, declare)
    const { id } = await ask()
    await approve(id)
    expect((await asAda(fleet, declare)).access).toEqual(declared.access)
    const apply = () =>
      asAda(fleet, async (session) => applyAccess(session, await planAccess(session, declared)))
    await apply()
    expect([requestBindings().length, groupsOfBob().length, listedGroups().length]).toEqual([
      1, 1, 1,
    ])
    const { grants } = await asAda(fleet, (session) => standingAccess(session, 'bob'))
    expect(grants).toContainEqual(expect.objectContaining({ role: 'mcm:ops', request: id }))
    fleet.world.advance(HOUR)
    await apply()
    expect([requestBindings(), listedGroups()]).toEqual([[], []])
  })
})

describe('what hides behind an answer', () => {
  const bindingsLeft = async () => {
    const cluster = fleet.hub.directory.state.clusters.get(agent.id)!
    return asAda(fleet, async (session) => {
      const bindings = [...agent.api.objects.values()].filter(({ kind }) =>
        kind.endsWith('Binding'),
      )
      const list = { users: [], groups: [], isUnrestricted: false }
      return withoutRequests(session, cluster, { bindings: bindings as never[], list }).bindings
    })
  }
  const edited = (change: (binding: Record<string, unknown>) => void) => {
    const [path, object] = [...agent.api.objects].find(([, { metadata }]) =>
      JSON.stringify(metadata).includes('\\"request\\":'),
    )!
    const copy = structuredClone(object) as Record<string, unknown>
    change(copy)
    agent.api.put(path, copy)
  }

  test('of a living request is drift: somebody else in the same binding', async () => {
    await approve((await ask()).id)
    const others = (await bindingsLeft()).length
    edited((binding) => {
      const mallory = { kind: 'User', name: 'mcm:mallory', apiGroup: 'rbac.authorization.k8s.io' }
      binding['subjects'] = [...(binding['subjects'] as object[]), mallory]
    })
    expect((await bindingsLeft()).length).toBe(others + 1)
  })

  test('of a request that nobody knows is drift, but for one that was perhaps approved just now', async () => {
    const subject = { kind: 'user', name: 'bob' } as const
    const grant = { subject, role: 'mcm:ops', request: 999_999 }
    const binding = bindingOf(grant, 'mcm:', undefined, 'ada')
    const put = (ageMs: number) => {
      const creationTimestamp = new Date(fleet.world.now().getTime() - ageMs).toISOString()
      const metadata = { ...binding.metadata, creationTimestamp }
      agent.api.put(bindingPath(binding), { ...binding, metadata })
    }
    const before = (await bindingsLeft()).length
    put(60_000)
    expect((await bindingsLeft()).length).toBe(before)
    put(HOUR)
    expect((await bindingsLeft()).length).toBe(before + 1)
    await approve((await ask()).id)
    expect(agent.api.objects.has(bindingPath(binding))).toBe(false)
  })
})

test('what answers a request that is over keeps nobody a member', async () => {
  await approve((await ask()).id)
  fleet.world.advance(HOUR)
  await asAda(fleet, (session) =>
    ungrant(session, { kind: 'user', name: 'bob' }, { role: 'mcm:ro' }, ['idc-k8s']),
  )
  expect(fleet.hub.directory.state.isMember('bob', agent.id)).toBe(false)
})

test('two administrators who approve at the same moment leave it bound', async () => {
  const dora = await secondAdmin()
  await asAda(fleet, (session) => setApprovals(session, 'idc-k8s', 2))
  const { id } = await ask()
  fleet.hub.beforeAppend = async () => {
    await approve(id, dora)
  }
  expect((await approve(id)).request).toMatchObject({ status: 'running' })
  expect([requestBindings().length, groupsOfBob().length]).toEqual([1, 1])
})

test('a request that is older than one’s being an administrator is refused before anything is written', async () => {
  const { id } = await ask()
  const dora = await secondAdmin()
  await expect(approve(id, dora)).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
  expect(requestBindings()).toEqual([])
})

test('what it is is shown before anything is done, and a no does nothing', async () => {
  const { id } = await ask()
  const { head } = fleet.hub.directory
  agent.api.calls.length = 0
  const shown: RequestSummary[] = []
  const refusing = asAda(fleet, (session) =>
    approveRequest(session, id, async (request) => {
      shown.push(request)
      throw new UsageError('MCM_USAGE', 'stopped: nothing was changed')
    }),
  )
  await expect(refusing).rejects.toThrow('stopped')
  expect(shown).toMatchObject([{ id, user: 'bob', role: 'mcm:ops', reason: 'disk full' }])
  expect([agent.api.calls, fleet.hub.directory.head]).toEqual([[], head])
})

test('whoever is revoked leaves what they have approved, and that is said', async () => {
  const dora = await secondAdmin()
  const { id } = await ask()
  await approve(id, dora)
  const revoked = await asAda(fleet, (session) => revokeUser(session, 'dora', ''))
  expect(revoked.approved).toEqual([id])
  expect(groupsOfBob()).toHaveLength(1)
})

test('watching gives what is open, and each again when it changes, until the signal', async () => {
  const { id } = await ask()
  const over = new AbortController()
  const seen: RequestSummary[] = []
  await asAda(fleet, async (session) => {
    for await (const request of watchRequests(session, over.signal, 10)) {
      seen.push(request)
      if (request.status === 'waiting') await approveRequest(await syncDirectory(session), id)
      else over.abort()
    }
  })
  expect(seen.map((each) => [each.id, each.status])).toEqual([
    [id, 'waiting'],
    [id, 'running'],
  ])
})
