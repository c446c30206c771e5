import { beforeEach, describe, expect, test } from 'vitest'
import { Directory } from '../../src/directory/directory.ts'
import type { SigningKey } from '../../src/directory/signing-key.ts'
import { newlyVisibleDetails, type Viewer, visibleDetails } from '../../src/directory/visibility.ts'
import { CLUSTER, Fleet, hubDraft, OTHER_CLUSTER } from './fleet.ts'

let fleet: Fleet

beforeEach(async () => {
  fleet = await Fleet.found()
  await fleet.append(hubDraft(['h:1']))
})

/** The numbers that a viewer sees, in short. */
function seen(viewer: Viewer): number[] {
  return visibleDetails(fleet.directory, viewer).map(({ seq }) => seq)
}

function device({ id: key }: SigningKey): Viewer {
  return { kind: 'device', key }
}

function agent(cluster = CLUSTER): Viewer {
  return { kind: 'agent', cluster }
}

/** What a viewer's own copy of the directory says, from nothing but what it is shown. */
async function copyOf(viewer: Viewer): Promise<Directory> {
  const page = { ...fleet.directory.page(-1), details: visibleDetails(fleet.directory, viewer) }
  return Directory.restore(fleet.directory.fleet!, page)
}

test('an admin sees everything, a stranger what everybody sees, and both can verify the chain', async () => {
  await fleet.register()
  await fleet.admit('bob')
  const all = fleet.directory.statements.map(({ seq }) => seq)
  expect(seen(device(fleet.alice))).toEqual(all)
  const stranger: Viewer = { kind: 'device', key: 'X'.repeat(43) }
  expect(seen(stranger)).toEqual([0, 1])
  expect((await copyOf(stranger)).head).toEqual(fleet.directory.head)
})

describe('a user', () => {
  test('learns of their own clusters, invites, devices and nothing of others’', async () => {
    const [cluster] = [await fleet.register(), await fleet.register(OTHER_CLUSTER, 'ack')]
    const bob = await fleet.admit('bob', ['dev'])
    const eve = await fleet.admit('eve')
    const own = await fleet.member('add', 'user', 'bob')
    const foreign = await fleet.member('add', 'user', 'eve', OTHER_CLUSTER)
    expect(seen(device(bob))).toEqual([0, 1, cluster, 4, 5, own])
    expect(seen(device(eve))).toEqual([0, 1, 3, 6, 7, foreign])
    const copy = await copyOf(device(bob))
    expect([...copy.state.users.keys()]).toEqual(['alice', 'bob'])
    expect([...copy.state.clusters.keys()]).toEqual([CLUSTER])
    expect(copy.state.isMember('bob', CLUSTER)).toBe(true)
  })

  test('learns of the cluster of a group they are in, though it was registered before', async () => {
    const cluster = await fleet.register()
    const bob = await fleet.admit('bob', ['dev'])
    const before = fleet.directory
    const member = await fleet.member('add', 'group', 'dev')
    const news = newlyVisibleDetails(before, fleet.directory, device(bob))
    expect(news.map(({ seq }) => seq)).toEqual([cluster, member])
    await fleet.member('add', 'group', 'ops')
    expect(seen(device(bob))).not.toContain(fleet.directory.head!.seq)
  })

  test('learns of their removal, and no more of the cluster', async () => {
    const cluster = await fleet.register()
    const bob = await fleet.admit('bob')
    await fleet.member('add', 'user', 'bob')
    const removal = await fleet.member('remove', 'user', 'bob')
    expect(seen(device(bob))).toContain(removal)
    expect(seen(device(bob))).not.toContain(cluster)
  })

  test('learns that a cluster of theirs was removed, and not that a foreign one was', async () => {
    await fleet.register()
    await fleet.register(OTHER_CLUSTER, 'ack')
    const bob = await fleet.admit('bob')
    await fleet.member('add', 'user', 'bob')
    const removal = await fleet.revoke({ cluster: CLUSTER })
    const foreign = await fleet.revoke({ cluster: OTHER_CLUSTER })
    expect(seen(device(bob))).toContain(removal)
    expect(seen(device(bob))).not.toContain(foreign)
  })

  test('learns that a cluster of a group of theirs was removed', async () => {
    await fleet.register()
    const [bob, eve] = [await fleet.admit('bob', ['dev']), await fleet.admit('eve', ['qa'])]
    await fleet.member('add', 'group', 'dev')
    const removal = await fleet.revoke({ cluster: CLUSTER })
    expect(seen(device(bob))).toContain(removal)
    expect(seen(device(eve))).not.toContain(removal)
  })

  test('learns that one of their devices was revoked, from another', async () => {
    const [laptop, phone] = [await fleet.admit('bob'), await fleet.admit('bob')]
    const eve = await fleet.admit('eve')
    const seq = await fleet.revoke({ device: laptop.id })
    expect(seen(device(phone))).toContain(seq)
    expect(seen(device(eve))).not.toContain(seq)
  })

  test('who is revoked sees nothing any more but the revocation', async () => {
    await fleet.register()
    const bob = await fleet.admit('bob')
    await fleet.member('add', 'user', 'bob')
    await fleet.admin('add', 'bob', bob.id)
    const seq = await fleet.revoke({ user: 'bob' })
    expect(seen(device(bob))).toEqual([0, 1, seq - 1, seq])
  })
})

describe('an agent', () => {
  test('learns of its cluster, its members, and their users’ invites and devices', async () => {
    const cluster = await fleet.register()
    await fleet.register(OTHER_CLUSTER, 'ack')
    const bob = await fleet.admit('bob', ['dev'])
    await fleet.admit('eve')
    const member = await fleet.member('add', 'group', 'dev')
    const foreign = await fleet.member('add', 'user', 'eve', OTHER_CLUSTER)
    expect(seen(agent())).toEqual([0, 1, cluster, 4, 5, member])
    expect(seen(agent(OTHER_CLUSTER))).toEqual([0, 1, 3, 6, 7, foreign])
    const copy = await copyOf(agent())
    expect(copy.state.isLiveDevice(bob.id)).toBe(true)
    expect(copy.state.isMember('bob', CLUSTER)).toBe(true)
    expect(copy.state.users.has('eve')).toBe(false)
  })

  test('is shown a new member’s older invite and device', async () => {
    await fleet.register()
    const bob = await fleet.admit('bob')
    const before = fleet.directory
    const member = await fleet.member('add', 'user', 'bob')
    const news = newlyVisibleDetails(before, fleet.directory, agent())
    expect(news.map(({ seq }) => seq)).toEqual([3, 4, member])
    const stale = await copyWithout(before, agent())
    const fresh = await stale.extend({
      statements: fleet.directory.page(before.head!.seq).statements,
      details: news,
    })
    expect(fresh.state.isMember('bob', CLUSTER)).toBe(true)
    expect(fresh.state.isLiveDevice(bob.id)).toBe(true)
  })

  test('learns when a user leaves the group that made them a member', async () => {
    await fleet.register()
    await fleet.admit('bob', ['dev'])
    await fleet.member('add', 'group', 'dev')
    const invited = await fleet.invite('bob', { groups: [] })
    expect(seen(agent())).toContain(invited.seq)
    expect((await copyOf(agent())).state.isMember('bob', CLUSTER)).toBe(false)
  })

  test('learns of every revocation of whoever was ever a member', async () => {
    await fleet.register()
    const [bob, eve] = [await fleet.admit('bob', ['dev']), await fleet.admit('eve')]
    await fleet.member('add', 'user', 'bob')
    await fleet.member('remove', 'user', 'bob')
    const ofDevice = await fleet.revoke({ device: bob.id })
    const ofUser = await fleet.revoke({ user: 'bob' })
    const foreign = await fleet.revoke({ device: eve.id })
    expect(seen(agent())).toEqual(expect.arrayContaining([ofDevice, ofUser]))
    expect(seen(agent())).not.toContain(foreign)
    const own = await fleet.revoke({ cluster: CLUSTER })
    expect(seen(agent())).toContain(own)
  })
})

describe('whoever holds an invite', () => {
  test('sees that invite only, and its end', async () => {
    await fleet.register()
    const [bob, eve] = [await fleet.invite('bob', { groups: ['dev'] }), await fleet.invite('eve')]
    await fleet.member('add', 'group', 'dev')
    const viewer: Viewer = { kind: 'invite', key: bob.key.id }
    expect(seen(viewer)).toEqual([0, 1, bob.seq])
    await fleet.revoke({ user: 'eve' })
    expect(seen(viewer)).not.toContain(eve.seq)
    const end = await fleet.revoke({ user: 'bob' })
    expect(seen(viewer)).toEqual([0, 1, bob.seq, end])
    expect((await copyOf(viewer)).state.users.get('bob')!.invites).toEqual([])
  })

  test('sees the device that used it, so that whoever lost the answer knows it was them', async () => {
    const invited = await fleet.invite('bob')
    await fleet.admit('bob')
    const device = await fleet.join('bob', invited)
    const viewer: Viewer = { kind: 'invite', key: invited.key.id }
    expect(seen(viewer)).toEqual([0, 1, invited.seq, fleet.directory.head!.seq])
    expect((await copyOf(viewer)).state.isLiveDevice(device.id)).toBe(true)
  })

  test('of a key that is in no invite sees what everybody sees', () => {
    expect(seen({ kind: 'invite', key: fleet.alice.id })).toEqual([0, 1])
  })
})

async function copyWithout(directory: Directory, viewer: Viewer): Promise<Directory> {
  const page = { ...directory.page(-1), details: visibleDetails(directory, viewer) }
  return Directory.restore(directory.fleet!, page)
}

describe('groups, and grants that end', () => {
  const group = 'grant:0123456789abcdef'
  const expires = '2026-01-02T00:00:00Z'
  const grant = (name: string, cluster = CLUSTER) => {
    const subject = { kind: 'user', name } as const
    return fleet.append({ type: 'grant', detail: { subject, cluster, group, expires } })
  }

  test('concern the user and the agents of their clusters, and nobody else', async () => {
    await fleet.register()
    await fleet.register(OTHER_CLUSTER, 'ack')
    const [bob, eve] = [await fleet.admit('bob'), await fleet.admit('eve')]
    await fleet.member('add', 'user', 'bob')
    const detail = { user: 'bob', groups: ['dev'], nickname: 'Bob' }
    const statements = [await fleet.append({ type: 'groups', detail }), await grant('bob')]
    for (const viewer of [device(bob), agent()])
      expect(seen(viewer)).toEqual(expect.arrayContaining(statements))
    for (const viewer of [device(eve), agent(OTHER_CLUSTER)])
      for (const seq of statements) expect(seen(viewer)).not.toContain(seq)
  })

  test('an agent learns of a user who came into one of its groups without an invite that says so', async () => {
    await fleet.register()
    await fleet.member('add', 'group', 'dev')
    const bob = await fleet.admit('bob')
    const before = fleet.directory
    await fleet.append({ type: 'groups', detail: { user: 'bob', groups: ['dev'] } })
    const more = newlyVisibleDetails(before, fleet.directory, agent()).map(({ seq }) => seq)
    expect(more).toHaveLength(3)
    const copy = await copyOf(agent())
    expect(copy.state.isMember('bob', CLUSTER)).toBe(true)
    expect(copy.state.isLiveDevice(bob.id)).toBe(true)
    await fleet.append({ type: 'groups', detail: { user: 'bob', groups: [] } })
    expect((await copyOf(agent())).state.isMember('bob', CLUSTER)).toBe(false)
  })
})
