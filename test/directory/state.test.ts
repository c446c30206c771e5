import { beforeEach, describe, expect, test } from 'vitest'
import { generateSigningKey } from '../../src/directory/signing-key.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import { CLUSTER, clusterDraft, deviceDraft, Fleet, hubDraft, OTHER_CLUSTER } from './fleet.ts'

let fleet: Fleet

beforeEach(async () => {
  fleet = await Fleet.found()
})

function reason(seq = fleet.directory.head!.seq): string | undefined {
  return fleet.state.withoutEffect.get(seq)
}

function bob() {
  return fleet.state.users.get('bob')!
}

describe('the founder', () => {
  test('is a user with one device, which is the first admin', () => {
    const { state, alice } = fleet
    expect(state.admins.get(alice.id)).toEqual({ user: 'alice', since: 0 })
    expect(state.deviceOwner(alice.id)).toMatchObject({
      user: { name: 'alice', bot: false, groups: [] },
      device: { id: alice.id, key: alice.jwk, name: 'alice’s laptop', since: fleet.timeOf(0) },
    })
    expect(state.isLiveDevice(alice.id)).toBe(true)
    expect(state.withoutEffect.size).toBe(0)
  })
})

describe('a hub', () => {
  test('is known with its endpoints, certificate and pin', async () => {
    const certificate = Buffer.from('a certificate').toString('base64')
    const seq = await fleet.append(
      hubDraft(['hub.example.com:8443'], ['10.0.0.1:8443'], certificate),
    )
    expect(fleet.state.hubs).toEqual([
      {
        seq,
        endpoints: ['hub.example.com:8443'],
        privateEndpoints: ['10.0.0.1:8443'],
        certificateDer: Buffer.from('a certificate'),
        pin: sha256('a certificate'),
      },
    ])
  })

  test('is replaced by a later one that shares an endpoint, and joined by another that does not', async () => {
    await fleet.append(hubDraft(['a:1'], ['10.0.0.1:1']))
    await fleet.append(hubDraft(['b:1']))
    expect(fleet.state.hubs.map(({ endpoints }) => endpoints)).toEqual([['a:1'], ['b:1']])
    await fleet.append(hubDraft(['c:1'], ['10.0.0.1:1'], 'bmV3'))
    expect(fleet.state.hubs.map(({ endpoints }) => endpoints)).toEqual([['b:1'], ['c:1']])
  })
})

describe('a cluster', () => {
  test('is known with both CAs, replaced by a later statement, removed by its revocation', async () => {
    const seq = await fleet.register()
    expect(fleet.state.clusters.get(CLUSTER)).toMatchObject({
      seq,
      id: CLUSTER,
      name: 'idc-k8s',
      serverCaDer: Buffer.from('server'),
      userCaDer: Buffer.from('user'),
      issuer: 'agent',
      prefix: 'mcm:',
    })
    await fleet.register(CLUSTER, 'renamed')
    expect([...fleet.state.clusters.values()].map(({ name }) => name)).toEqual(['renamed'])
    await fleet.revoke({ cluster: CLUSTER })
    expect(fleet.state.clusters.size).toBe(0)
    await fleet.revoke({ cluster: CLUSTER })
    expect(reason()).toMatch(/there is no/)
  })

  test('that comes back after its removal has none of the members of before', async () => {
    await fleet.register()
    await fleet.admit('bob')
    await fleet.member('add', 'user', 'bob')
    await fleet.revoke({ cluster: CLUSTER })
    await fleet.register()
    expect(fleet.state.members(CLUSTER)).toEqual([])
    expect(fleet.state.isMember('bob', CLUSTER)).toBe(false)
  })
})

describe('an invite and its device', () => {
  test('bring a user, groups and a device', async () => {
    const invited = await fleet.invite('bob', { groups: ['dev', 'dev', 'qa'] })
    expect(bob()).toMatchObject({ groups: ['dev', 'qa'], bot: false })
    expect(bob().invites).toEqual([
      {
        seq: invited.seq,
        key: invited.key.id,
        expires: new Date('2026-02-01T00:00:00Z'),
        used: false,
      },
    ])
    const device = await fleet.join('bob', invited)
    expect(bob().invites[0]!.used).toBe(true)
    expect(fleet.state.deviceOwner(device.id)!.user.name).toBe('bob')
    expect(fleet.state.isLiveDevice(device.id)).toBe(true)
    expect(fleet.state.admins.has(device.id)).toBe(false)
  })

  test('puts no bot into a group, and makes no bot of a person nor a person of a bot', async () => {
    await fleet.invite('deploy', { groups: ['dev'], bot: true })
    expect(reason()).toBe('a bot is in no group')
    expect(fleet.state.users.has('deploy')).toBe(false)
    const device = await fleet.join('deploy', await fleet.invite('deploy', { bot: true }))
    await fleet.append({ type: 'groups', detail: { user: 'deploy', groups: ['dev'] } })
    expect(reason()).toBe('a bot is in no group')
    await fleet.invite('deploy', { groups: ['dev'] })
    expect(reason()).toBe('deploy is the name of a bot')
    expect(fleet.state.deviceOwner(device.id)?.user).toMatchObject({ bot: true, groups: [] })
    await fleet.admit('bob', ['dev'])
    await fleet.invite('bob', { bot: true })
    expect(reason()).toBe('bob is the name of a person')
    expect(bob()).toMatchObject({ bot: false, groups: ['dev'] })
    await fleet.revoke({ user: 'bob' })
    await fleet.invite('bob', { bot: true })
    expect(bob()).toMatchObject({ bot: true, groups: [] })
  })

  test('says how long certificates of a bot live; the latest one counts', async () => {
    await fleet.invite('deploy', { bot: true, lifetime: 86_400 * 30 })
    expect(fleet.state.users.get('deploy')?.lifetime).toBe(86_400 * 30)
    await fleet.invite('deploy', { bot: true })
    expect(fleet.state.users.get('deploy')).not.toHaveProperty('lifetime')
  })

  test('a later invite adds a device and sets the groups anew', async () => {
    const laptop = await fleet.admit('bob', ['dev', 'qa'])
    const phone = await fleet.admit('bob', ['qa'])
    expect(bob().groups).toEqual(['qa'])
    expect([...bob().devices.keys()]).toEqual([laptop.id, phone.id])
  })

  test('an invite that had expired when the device was signed lets nobody in', async () => {
    const expires = '2026-01-01T00:30:00Z'
    const [late, inTime] = [
      await fleet.invite('bob', { expires }),
      await fleet.invite('eve', { expires }),
    ]
    const device = generateSigningKey()
    const signers = [late.key, device]
    await fleet.append(deviceDraft('bob', late, device), signers, new Date('2026-01-01T00:30:01Z'))
    expect(reason()).toBe('its invite had expired')
    expect(fleet.state.deviceOwner(device.id)).toBeUndefined()
    const other = generateSigningKey()
    await fleet.append(deviceDraft('eve', inTime, other), [inTime.key, other], new Date(expires))
    expect(fleet.state.isLiveDevice(other.id)).toBe(true)
  })

  test('a device for another user than the invite’s lets nobody in', async () => {
    const invited = await fleet.invite('bob')
    const device = generateSigningKey()
    await fleet.append(deviceDraft('alice', invited, device), [invited.key, device])
    expect(reason()).toBe('its invite is for bob, not alice')
    expect(fleet.state.deviceOwner(device.id)).toBeUndefined()
  })

  test('a device that names another key than the one that signed lets nobody in', async () => {
    const invited = await fleet.invite('bob')
    const [signer, named] = [generateSigningKey(), generateSigningKey()]
    await fleet.append(deviceDraft('bob', invited, named), [invited.key, signer])
    expect(reason()).toBe('another key has signed it')
    expect(fleet.state.deviceOwner(named.id)).toBeUndefined()
    expect(fleet.state.deviceOwner(signer.id)).toBeUndefined()
  })

  test('a key joins once: not for a second user, nor again after its revocation', async () => {
    const device = await fleet.admit('bob')
    await fleet.join('eve', await fleet.invite('eve'), device)
    expect(reason()).toBe('its key is already known')
    expect(fleet.state.deviceOwner(device.id)!.user.name).toBe('bob')
    await fleet.revoke({ user: 'bob' })
    await fleet.join('bob', await fleet.invite('bob'), device)
    expect(reason()).toBe('its key is already known')
    expect(fleet.state.isLiveDevice(device.id)).toBe(false)
  })
})

describe('membership', () => {
  beforeEach(async () => {
    await fleet.register()
    await fleet.register(OTHER_CLUSTER, 'other')
  })

  test('is by name, in that cluster only', async () => {
    await fleet.admit('bob')
    const seq = await fleet.member('add', 'user', 'bob')
    expect(fleet.state.isMember('bob', CLUSTER)).toBe(true)
    expect(fleet.state.memberSince('bob', CLUSTER)).toEqual(fleet.timeOf(seq))
    expect(fleet.state.isMember('bob', OTHER_CLUSTER)).toBe(false)
    expect(fleet.state.isMember('alice', CLUSTER)).toBe(false)
    expect(fleet.state.members(CLUSTER)).toEqual([{ kind: 'user', name: 'bob' }])
  })

  test('is through a group, for as long as the latest invite names it', async () => {
    await fleet.admit('bob', ['dev'])
    await fleet.member('add', 'group', 'dev')
    expect(fleet.state.isMember('bob', CLUSTER)).toBe(true)
    await fleet.invite('bob', { groups: ['qa'] })
    expect(fleet.state.isMember('bob', CLUSTER)).toBe(false)
  })

  test('of a group named as a user is not that user’s', async () => {
    await fleet.admit('dev')
    await fleet.member('add', 'group', 'dev')
    expect(fleet.state.isMember('dev', CLUSTER)).toBe(false)
  })

  test('ends when it is removed, unless the other way in still stands', async () => {
    await fleet.admit('bob', ['dev'])
    await fleet.member('add', 'user', 'bob')
    await fleet.member('add', 'group', 'dev')
    await fleet.member('remove', 'user', 'bob')
    expect(fleet.state.isMember('bob', CLUSTER)).toBe(true)
    await fleet.member('remove', 'group', 'dev')
    expect(fleet.state.isMember('bob', CLUSTER)).toBe(false)
    await fleet.member('remove', 'group', 'dev')
    expect(reason()).toBe('group dev is not a member')
  })

  test('counts from its latest beginning, by whichever way came first', async () => {
    await fleet.admit('bob')
    await fleet.member('add', 'user', 'bob')
    await fleet.member('remove', 'user', 'bob')
    const group = await fleet.member('add', 'group', 'dev')
    const invited = await fleet.invite('bob', { groups: ['dev'] })
    expect(fleet.state.memberSince('bob', CLUSTER)).toEqual(fleet.timeOf(invited.seq))
    await fleet.invite('bob', { groups: ['dev', 'qa'] })
    expect(fleet.state.memberSince('bob', CLUSTER)).toEqual(fleet.timeOf(invited.seq))
    await fleet.member('add', 'user', 'bob')
    await fleet.member('add', 'user', 'bob')
    expect(fleet.state.memberSince('bob', CLUSTER)).toEqual(fleet.timeOf(invited.seq))
    expect(group).toBeLessThan(invited.seq)
  })

  test('may be granted before the user has been invited, and counts from the invite', async () => {
    await fleet.member('add', 'user', 'bob')
    expect(fleet.state.isMember('bob', CLUSTER)).toBe(false)
    const invited = await fleet.invite('bob')
    expect(fleet.state.memberSince('bob', CLUSTER)).toEqual(fleet.timeOf(invited.seq))
  })

  test('of a cluster that there is not has no effect', async () => {
    await fleet.member('add', 'user', 'bob', 'c-zzzzzzzzzz')
    expect(reason()).toBe('there is no cluster c-zzzzzzzzzz')
    expect(fleet.state.isMember('bob', 'c-zzzzzzzzzz')).toBe(false)
  })
})

describe('a revoked user', () => {
  test('loses devices, invites, groups and memberships of before', async () => {
    await fleet.register()
    await fleet.member('add', 'user', 'bob')
    await fleet.member('add', 'group', 'dev')
    const device = await fleet.admit('bob', ['dev'])
    const open = await fleet.invite('bob', { groups: ['dev'] })
    const seq = await fleet.revoke({ user: 'bob' })
    const revoked = fleet.timeOf(seq)
    expect(bob()).toMatchObject({ revoked, groups: [], invites: [] })
    expect(fleet.state.deviceOwner(device.id)!.device.revoked).toEqual(revoked)
    expect(fleet.state.isLiveDevice(device.id)).toBe(false)
    expect(fleet.state.isMember('bob', CLUSTER)).toBe(false)
    expect(fleet.state.members(CLUSTER)).toEqual([{ kind: 'group', name: 'dev' }])
    const late = await fleet.join('bob', open)
    expect(reason()).toBe('its invite is unknown or has been ended')
    expect(fleet.state.isLiveDevice(late.id)).toBe(false)
  })

  test('starts afresh with a later invite: old devices stay dead, memberships of groups count anew', async () => {
    await fleet.register()
    await fleet.member('add', 'user', 'bob')
    await fleet.member('add', 'group', 'dev')
    const old = await fleet.admit('bob', ['dev'])
    await fleet.revoke({ user: 'bob' })
    const invited = await fleet.invite('bob', { groups: ['dev'] })
    const fresh = await fleet.join('bob', invited)
    expect(bob().revoked).toBeUndefined()
    expect(fleet.state.isLiveDevice(old.id)).toBe(false)
    expect(fleet.state.deviceOwner(old.id)!.device.revoked).toBeDefined()
    expect(fleet.state.isLiveDevice(fresh.id)).toBe(true)
    expect(fleet.state.memberSince('bob', CLUSTER)).toEqual(fleet.timeOf(invited.seq))
    await fleet.member('remove', 'group', 'dev')
    expect(fleet.state.isMember('bob', CLUSTER)).toBe(false)
  })

  test('who never was: the statement has no effect', async () => {
    await fleet.revoke({ user: 'nobody' })
    expect(reason()).toBe('there is no user nobody')
  })
})

describe('a revoked device', () => {
  test('is dead, and the user’s others live', async () => {
    const [laptop, phone] = [await fleet.admit('bob'), await fleet.admit('bob')]
    const seq = await fleet.revoke({ device: laptop.id })
    expect(fleet.state.deviceOwner(laptop.id)!.device.revoked).toEqual(fleet.timeOf(seq))
    expect([laptop, phone].map(({ id }) => fleet.state.isLiveDevice(id))).toEqual([false, true])
    expect(bob().revoked).toBeUndefined()
  })

  test('that was unknown can never join', async () => {
    const device = generateSigningKey()
    await fleet.revoke({ device: device.id })
    expect(reason()).toBe('there is no such device')
    await fleet.join('bob', await fleet.invite('bob'), device)
    expect(reason()).toBe('its key is already known')
  })
})

describe('an admin', () => {
  test('whose user is revoked stops being one: what they sign later has no effect', async () => {
    const key = await fleet.admit('bob')
    await fleet.admin('add', 'bob', key.id)
    await fleet.revoke({ user: 'bob' })
    expect(fleet.state.admins.has(key.id)).toBe(false)
    await fleet.append(hubDraft(['evil:1']), [key])
    expect(reason()).toBe('its signer has been revoked')
    await fleet.append(
      { type: 'admin', detail: { action: 'add', user: 'eve', key: 'E'.repeat(43) } },
      [key],
    )
    expect(fleet.state.hubs).toEqual([])
    expect([...fleet.state.admins.keys()]).toEqual([fleet.alice.id])
  })

  test('whose device is revoked stops being one with that device only', async () => {
    const [laptop, phone] = [await fleet.admit('bob'), await fleet.admit('bob')]
    for (const { id } of [laptop, phone]) await fleet.admin('add', 'bob', id)
    await fleet.revoke({ device: laptop.id })
    expect([...fleet.state.admins.keys()]).toEqual([fleet.alice.id, phone.id])
  })

  test('who is the last one cannot be revoked, neither user nor device', async () => {
    await fleet.revoke({ user: 'alice' })
    expect(reason()).toBe('it is the last admin')
    await fleet.revoke({ device: fleet.alice.id })
    expect(reason()).toBe('it is the last admin’s device')
    expect(fleet.state.isLiveDevice(fleet.alice.id)).toBe(true)
    expect([...fleet.state.admins.keys()]).toEqual([fleet.alice.id])
  })

  test('who is the last that still stands cannot be removed, though the chain counts a revoked one', async () => {
    const key = await fleet.admit('bob')
    await fleet.admin('add', 'bob', key.id)
    await fleet.revoke({ user: 'bob' })
    await fleet.admin('remove', 'alice', fleet.alice.id)
    expect(reason()).toBe('the last admin cannot be removed')
  })

  test('is not made of a revoked user, a revoked device, or somebody else’s device', async () => {
    const key = await fleet.admit('bob')
    await fleet.admin('add', 'eve', key.id)
    expect(reason()).toBe('this device is not eve’s')
    await fleet.revoke({ device: key.id })
    await fleet.admin('add', 'bob', key.id)
    expect(reason()).toBe('this device has been revoked')
    await fleet.revoke({ user: 'bob' })
    await fleet.admin('add', 'bob', generateSigningKey().id)
    expect(reason()).toBe('bob has been revoked')
    expect([...fleet.state.admins.keys()]).toEqual([fleet.alice.id])
  })

  test('who is none cannot be removed', async () => {
    await fleet.admin('remove', 'bob', generateSigningKey().id)
    expect(reason()).toBe('this key is not an admin’s')
  })

  test('named for one user by a key that another joins with stops being one with either', async () => {
    const device = generateSigningKey()
    await fleet.admin('add', 'bob', device.id)
    await fleet.join('eve', await fleet.invite('eve'), device)
    await fleet.revoke({ user: 'eve' })
    expect([...fleet.state.admins.keys()]).toEqual([fleet.alice.id])
  })

  test('may be one by a key whose device this reader is not shown', async () => {
    const key = generateSigningKey()
    await fleet.admin('add', 'carol', key.id)
    await fleet.append(hubDraft(['h:1']), [key])
    expect(fleet.state.hubs).toHaveLength(1)
  })
})

describe('names from outside', () => {
  test('that are members of every object find nothing', async () => {
    const { state } = fleet
    for (const name of ['__proto__', 'constructor', 'toString', '']) {
      expect(state.isMember(name, CLUSTER)).toBe(false)
      expect(state.isMember('alice', name)).toBe(false)
      expect(state.deviceOwner(name)).toBeUndefined()
      expect(state.isLiveDevice(name)).toBe(false)
      expect(state.members(name)).toEqual([])
    }
  })

  test('a cluster draft stays what the admin signed, labels included', async () => {
    const draft = clusterDraft(CLUSTER, 'idc-k8s', 'A'.repeat(43))
    if (draft.type !== 'cluster') throw new TypeError()
    const labels = { env: 'prod', 'topology.kubernetes.io/zone': 'a', constructor: 'x' }
    await fleet.append({ ...draft, detail: { ...draft.detail, labels } })
    expect(fleet.state.clusters.get(CLUSTER)!.labels).toEqual(labels)
  })
})

describe('groups', () => {
  const groups = (user: string, names: string[], nickname?: string) =>
    fleet.append({
      type: 'groups',
      detail: { user, groups: names, ...(nickname === undefined ? {} : { nickname }) },
    })

  test('replace those of the invite, and a later invite replaces them; who stays is in since they came', async () => {
    const invited = await fleet.invite('bob', { groups: ['dev', 'qa'] })
    await fleet.join('bob', invited)
    await fleet.register()
    await fleet.member('add', 'group', 'dev')
    const since = fleet.state.memberSince('bob', CLUSTER)
    await groups('bob', ['dev', 'ops'], 'Bob')
    expect(bob()).toMatchObject({ groups: ['dev', 'ops'], nickname: 'Bob' })
    expect(fleet.state.memberSince('bob', CLUSTER)).toEqual(since)
    await groups('bob', ['ops'])
    expect(bob().nickname).toBeUndefined()
    expect(fleet.state.isMember('bob', CLUSTER)).toBe(false)
    await fleet.invite('bob', { groups: ['dev'] })
    expect(bob().groups).toEqual(['dev'])
  })

  test('of a stranger, or of somebody revoked, have no effect', async () => {
    await groups('nobody', ['dev'])
    expect(reason()).toMatch(/there is no user nobody/)
    await fleet.admit('bob')
    await fleet.revoke({ user: 'bob' })
    await groups('bob', ['dev'])
    expect(reason()).toMatch(/there is no user bob/)
    expect(bob().groups).toEqual([])
  })
})

describe('what ends by itself', () => {
  const until = '2026-01-02T00:00:00Z'
  const [before, after] = [new Date('2026-01-01T23:59:59Z'), new Date(until)]
  const subject = { kind: 'user', name: 'bob' } as const
  const member = (expires?: string) =>
    fleet.append({
      type: 'member',
      detail: { action: 'add', subject, cluster: CLUSTER, ...(expires ? { expires } : {}) },
    })
  const grant = (expires: string, kind: 'user' | 'group' = 'user', name = 'bob') =>
    fleet.append({
      type: 'grant',
      detail: {
        subject: { kind, name },
        cluster: CLUSTER,
        group: 'grant:0123456789abcdef',
        expires,
      },
    })
  const timed = (at: Date, groups: string[] = []) =>
    fleet.state.timedGrantsOf('bob', groups, CLUSTER, at).map(({ group }) => group)

  beforeEach(async () => {
    await fleet.admit('bob')
    await fleet.register()
  })

  test('a membership with an end counts until then, and only for who says what time it is', async () => {
    await member(until)
    expect(fleet.state.isMember('bob', CLUSTER, before)).toBe(true)
    expect(fleet.state.isMember('bob', CLUSTER, after)).toBe(false)
    expect(fleet.state.isMember('bob', CLUSTER)).toBe(false)
    await member()
    expect(fleet.state.isMember('bob', CLUSTER)).toBe(true)
    await member(until)
    expect(fleet.state.isMember('bob', CLUSTER, after)).toBe(false)
  })

  test('a timed group holds its subject until its end; the latest statement counts, also an earlier end', async () => {
    await grant(until)
    expect([timed(before), timed(after)]).toEqual([['grant:0123456789abcdef'], []])
    await grant('2026-01-01T00:00:00Z')
    expect(timed(before)).toEqual([])
  })

  test('a timed group of a group holds who is in that group, and nobody else', async () => {
    await grant(until, 'group', 'dev')
    expect([timed(before, ['dev']), timed(before, ['qa'])]).toEqual([
      ['grant:0123456789abcdef'],
      [],
    ])
  })

  test('revoking the user, or the cluster, ends it', async () => {
    await grant(until)
    await fleet.revoke({ user: 'bob' })
    expect(timed(before)).toEqual([])
    await grant(until)
    await fleet.revoke({ cluster: CLUSTER })
    await fleet.register()
    expect(timed(before)).toEqual([])
  })

  test('in a cluster that there is not it has no effect', async () => {
    const group = 'grant:0123456789abcdef'
    await fleet.append({
      type: 'grant',
      detail: { subject, cluster: OTHER_CLUSTER, group, expires: until },
    })
    expect(reason()).toMatch(/there is no cluster/)
  })
})

describe('a confirmation', () => {
  test('is the time of the last statement that an admin has signed', async () => {
    const invite = await fleet.invite('bob')
    const invited = fleet.timeOf(invite.seq)
    await fleet.join('bob', invite)
    expect(fleet.state.confirmed).toEqual(invited)
    const seq = await fleet.append({ type: 'confirm', detail: {} })
    expect(fleet.state.confirmed).toEqual(fleet.timeOf(seq))
    expect(reason()).toBeUndefined()
  })

  test('is the latest in the chain, so what a wrong clock said is over with the next', async () => {
    for (const time of [new Date('2099-01-01T00:00:00Z'), new Date(0)]) {
      await fleet.append({ type: 'confirm', detail: {} }, [fleet.alice], time)
      expect(fleet.state.confirmed).toEqual(time)
    }
    const seq = await fleet.append({ type: 'confirm', detail: {} })
    expect(fleet.state.confirmed).toEqual(fleet.timeOf(seq))
  })

  test('is nobody else’s to give', async () => {
    const bob = await fleet.admit('bob')
    await expect(fleet.append({ type: 'confirm', detail: {} }, [bob])).rejects.toMatchObject({
      code: 'MCM_DIRECTORY_INVALID',
    })
  })
})
