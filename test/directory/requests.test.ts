import { beforeEach, describe, expect, test } from 'vitest'
import { timedGroupOf } from '../../src/access/timed-group.ts'
import { MAX_REQUESTS_A_DAY, requestStatus } from '../../src/directory/access-request.ts'
import { Directory } from '../../src/directory/directory.ts'
import { RequestFold } from '../../src/directory/request-fold.ts'
import { generateSigningKey, type SigningKey } from '../../src/directory/signing-key.ts'
import type { Statement } from '../../src/directory/statement.ts'
import { visibleDetails } from '../../src/directory/visibility.ts'
import { CLUSTER, clusterDraft, Fleet, OTHER_CLUSTER } from './fleet.ts'

/** alice, dora and erik are admins; bob, who is a member, asks. */

const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000
let fleet: Fleet
let bob: SigningKey
let dora: SigningKey
let erik: SigningKey

beforeEach(async () => {
  fleet = await Fleet.found()
  await fleet.register()
  bob = await fleet.admit('bob')
  dora = await fleet.admit('dora')
  erik = await fleet.admit('erik')
  await fleet.admin('add', 'dora', dora.id)
  await fleet.admin('add', 'erik', erik.id)
  await fleet.member('add', 'user', 'bob')
})

const WISH = { cluster: CLUSTER, user: 'bob', role: 'mcm:ops', seconds: 3_600, reason: 'disk full' }
const ask = (wish: Partial<typeof WISH> & { namespace?: string } = {}, signer = bob, time?: Date) =>
  fleet.append({ type: 'request', detail: { ...WISH, ...wish } }, [signer], time)
const decide = (
  action: 'approve' | 'deny' | 'end',
  request: number,
  signer = fleet.alice,
  time?: Date,
) => fleet.append({ type: 'approval', detail: { action, request } }, [signer], time)
const now = () => fleet.timeOf(fleet.directory.head!.seq)
const statusOf = (seq: number, at = now()) => requestStatus(fleet.state.requests.get(seq)!, at)
const groupsOf = (user = 'bob', at = now(), cluster = CLUSTER) =>
  fleet.state.timedGrantsOf(user, [], cluster, at).map(({ group }) => group)
const reason = (seq = fleet.directory.head!.seq) => fleet.state.withoutEffect.get(seq)
const later = (ms: number, from = now()) => new Date(from.getTime() + ms)
const wantTwo = () => {
  const draft = clusterDraft(CLUSTER, 'idc-k8s', generateSigningKey().id)
  if (draft.type !== 'cluster') throw new Error('a draft of a cluster')
  return fleet.append({ ...draft, detail: { ...draft.detail, approvals: 2 } })
}

describe('a request', () => {
  test('gives nothing before it is approved, then its own group until its time is over, there alone', async () => {
    const seq = await ask()
    expect([statusOf(seq), groupsOf()]).toEqual(['waiting', []])
    await decide('approve', seq)
    const subject = { kind: 'user', name: 'bob' } as const
    const group = timedGroupOf({ subject, role: 'mcm:ops', request: seq })
    expect(groupsOf()).toEqual([group])
    expect(groupsOf('bob', later(HOUR_MS - 1))).toEqual([group])
    expect(groupsOf('bob', later(HOUR_MS))).toEqual([])
    expect(statusOf(seq, later(HOUR_MS))).toBe('over')
    expect(groupsOf('dora')).toEqual([])
    expect(groupsOf('bob', now(), OTHER_CLUSTER)).toEqual([])
  })

  test('has a group that no other request and no grant shares', async () => {
    const seqs = [await ask(), await ask(), await ask({ namespace: 'shop' })]
    for (const seq of seqs) await decide('approve', seq)
    const plain = timedGroupOf({ subject: { kind: 'user', name: 'bob' }, role: 'mcm:ops' })
    expect(new Set([...groupsOf(), plain]).size).toBe(4)
  })

  test('is made by a device of the user who is to get it, not by another’s, and by no stranger’s', async () => {
    await ask({ user: 'dora' })
    expect(reason()).toMatch(/not signed by a device of dora/)
    await ask({}, fleet.alice)
    expect(reason()).toMatch(/not signed by a device of bob/)
    expect(fleet.state.requests.size).toBe(0)
    await expect(ask({}, generateSigningKey())).rejects.toMatchObject({
      code: 'MCM_DIRECTORY_INVALID',
    })
  })

  test('of a revoked device has no effect, and one that waits cannot be approved any more', async () => {
    const seq = await ask()
    await fleet.revoke({ device: bob.id })
    await decide('approve', seq)
    expect(reason()).toMatch(/device that asked is revoked/)
    await ask()
    expect(reason()).toMatch(/not signed by a device/)
    expect(groupsOf()).toEqual([])
  })

  test.each([
    ['too short', { seconds: 59 }],
    ['too long', { seconds: 43_201 }],
    ['without a reason', { reason: '' }],
    ['with a reason that moves the cursor', { reason: 'a\u001b[2J' }],
    ['for a role with a path in it', { role: '../roles' }],
    ['for a namespace that cannot be', { namespace: 'A' }],
  ])('%s cannot be signed', async (_what, wish) => {
    await expect(ask(wish)).rejects.toMatchObject({ code: 'MCM_BAD_REQUEST' })
  })

  test('is for a cluster that there is', async () => {
    await ask({ cluster: OTHER_CLUSTER })
    expect(reason()).toMatch(/there is no cluster/)
  })

  test('lapses after a day, and cannot be approved then', async () => {
    const seq = await ask()
    const end = later(24 * HOUR_MS)
    expect(statusOf(seq, end)).toBe('waiting')
    expect(statusOf(seq, later(1, end))).toBe('lapsed')
    await decide('approve', seq, fleet.alice, later(1_000, end))
    expect(reason()).toBe(`request ${seq} is lapsed`)
    expect(groupsOf()).toEqual([])
  })

  test('more of one user than a day may have are refused, whatever became of them; the next day goes on', async () => {
    for (let count = 0; count < MAX_REQUESTS_A_DAY; count++) await decide('end', await ask(), bob)
    await ask()
    expect(reason()).toMatch(/within a day/)
    await ask({ user: 'dora' }, dora)
    expect(reason()).toBeUndefined()
    await ask({}, bob, later(25 * HOUR_MS))
    expect(reason()).toBeUndefined()
  })
})

test('more than four of one user do not wait, and others’ do', async () => {
  const seqs = [await ask(), await ask(), await ask(), await ask()]
  await ask()
  expect(reason()).toBe('bob has 4 requests that wait')
  await ask({ user: 'dora' }, dora)
  expect(reason()).toBeUndefined()
  await decide('deny', seqs[0]!)
  await ask()
  expect(reason()).toBeUndefined()
})

test('forty thousand requests are folded in the time of forty thousand, not of their square', () => {
  const fold = new RequestFold({
    adminOf: (key) => (key === 'ada' ? { user: 'ada', since: 0 } : undefined),
    userOf: (key) => key,
    approvalsOf: () => 1,
  })
  const statement = (seq: number, signer: string) => {
    const time = new Date(Date.parse('2026-01-01T00:00:00Z') + seq * MINUTE_MS)
    return { seq, time, signers: [signer] } as unknown as Statement
  }
  const started = process.cpuUsage()
  for (let seq = 1; seq <= 80_000; seq += 2) {
    const user = `user-${seq % 101}`
    expect(fold.ask(statement(seq, user), { ...WISH, user })).toBeUndefined()
    const yes = { action: 'approve', request: seq } as const
    expect(fold.decide(statement(seq + 1, 'ada'), yes)).toBeUndefined()
  }
  const { user, system } = process.cpuUsage(started)
  // A square of so many took 16 s on an idle machine.
  expect((user + system) / 1_000).toBeLessThan(5_000)
})

describe('an approval', () => {
  test('is an admin’s, and never of one’s own request, with whatever device', async () => {
    const seq = await ask()
    await decide('approve', seq, bob)
    expect(reason()).toMatch(/no admin/)
    const tablet = await fleet.join('dora', await fleet.invite('dora'))
    await fleet.admin('add', 'dora', tablet.id)
    const own = await ask({ user: 'dora' }, dora)
    await decide('approve', own, dora)
    expect(reason()).toMatch(/their own/)
    await decide('approve', own, tablet)
    expect(reason()).toMatch(/their own/)
    expect([statusOf(seq), statusOf(own)]).toEqual(['waiting', 'waiting'])
  })

  test('of who is an admin no more has no effect, nor one by a key that never joined', async () => {
    const seq = await ask()
    await fleet.admin('remove', 'dora', dora.id)
    await decide('approve', seq, dora)
    expect(reason()).toMatch(/no admin/)
    await expect(decide('approve', seq, generateSigningKey())).rejects.toMatchObject({
      code: 'MCM_DIRECTORY_INVALID',
    })
  })

  test('of whoever was made an admin after it was asked for has no effect: one admin’s device makes no second', async () => {
    await wantTwo()
    const seq = await ask()
    await decide('approve', seq)
    const made = generateSigningKey()
    await fleet.admin('add', 'erik', made.id)
    await fleet
      .append({ type: 'approval', detail: { action: 'approve', request: seq } }, [made])
      .catch(() => {})
    expect([statusOf(seq), groupsOf()]).toEqual(['waiting', []])
    await fleet.admin('remove', 'dora', dora.id)
    await fleet.admin('add', 'dora', dora.id)
    await decide('approve', seq, dora)
    expect(reason()).toMatch(/was no admin when the request was made/)
    await fleet.admin('add', 'erik', erik.id)
    await decide('approve', seq, erik)
    expect(statusOf(seq)).toBe('running')
  })

  test('that is dated ahead counts from then on, so nothing lasts longer than was asked for', async () => {
    const seq = await ask()
    const from = later(20 * HOUR_MS)
    await decide('approve', seq, fleet.alice, from)
    expect(groupsOf('bob', later(-11 * MINUTE_MS, from))).toEqual([])
    expect(groupsOf('bob', later(-9 * MINUTE_MS, from))).toHaveLength(1)
    expect(groupsOf('bob', later(HOUR_MS, from))).toEqual([])
  })

  test('of a request that is not known, is running or was denied has no effect', async () => {
    await decide('approve', 999)
    expect(reason()).toMatch(/no request 999/)
    const seq = await ask()
    await decide('approve', seq)
    const until = fleet.state.requests.get(seq)!.running!.until
    await decide('approve', seq, dora)
    expect(reason()).toBe(`request ${seq} is running`)
    expect(fleet.state.requests.get(seq)!.running!.until).toEqual(until)
    const denied = await ask()
    await decide('deny', denied, dora)
    await decide('approve', denied)
    expect(reason()).toBe(`request ${denied} is denied`)
  })
})

describe('where two approvals are needed', () => {
  beforeEach(wantTwo)

  test('one is not enough, the same user’s second device counts no more, another user’s does', async () => {
    const tablet = await fleet.join('dora', await fleet.invite('dora'))
    await fleet.admin('add', 'dora', tablet.id)
    const seq = await ask()
    await decide('approve', seq, dora)
    expect([statusOf(seq), groupsOf()]).toEqual(['waiting', []])
    await decide('approve', seq, tablet)
    expect(reason()).toMatch(/dora has approved/)
    expect(statusOf(seq)).toBe('waiting')
    await decide('approve', seq, erik)
    expect(statusOf(seq)).toBe('running')
    expect(fleet.state.requests.get(seq)!.running!.from).toEqual(now())
  })

  test('that of somebody who is no admin any more when the last is signed does not count', async () => {
    const seq = await ask()
    await decide('approve', seq, dora)
    await fleet.admin('remove', 'dora', dora.id)
    await decide('approve', seq, erik)
    expect(statusOf(seq)).toBe('waiting')
    await decide('approve', seq)
    expect(statusOf(seq)).toBe('running')
  })

  test('lowering that later does not lower what was asked before', async () => {
    const seq = await ask()
    await fleet.register(CLUSTER)
    await decide('approve', seq)
    expect(statusOf(seq)).toBe('waiting')
  })
})

test('raising how many are needed counts for what waits already', async () => {
  const seq = await ask()
  await wantTwo()
  await decide('approve', seq)
  expect(statusOf(seq)).toBe('waiting')
  expect(fleet.state.requests.get(seq)).toMatchObject({ needed: 2 })
})

test('a hub that keeps from somebody that the cluster wants two does not make one enough', async () => {
  const policy = await wantTwo()
  const shown = () => fleet.directory.page(-1)
  const withheld = async () => {
    const { statements, details, head } = shown()
    const rest = details.filter(({ seq }) => seq !== policy)
    return (await Directory.restore(fleet.directory.fleet!, { head, statements, details: rest }))
      .state
  }
  const seq = await ask()
  const first = { action: 'approve', request: seq, needed: 2 } as const
  await fleet.append({ type: 'approval', detail: first }, [dora])
  expect((await withheld()).requests.get(seq)).toMatchObject({ needed: 2, approvals: [{}] })
  expect((await withheld()).timedGrantsOf('bob', [], CLUSTER, now())).toEqual([])
  await fleet.append({ type: 'approval', detail: { ...first, needed: undefined } }, [erik])
  expect((await withheld()).timedGrantsOf('bob', [], CLUSTER, now())).toHaveLength(1)
  expect(groupsOf()).toHaveLength(1)
})

describe('an end', () => {
  test('by the one who asked or by any admin takes effect at once, by others none', async () => {
    const carol = await fleet.admit('carol')
    for (const signer of [bob, dora]) {
      const seq = await ask()
      await decide('approve', seq)
      await decide('end', seq, carol)
      expect(reason()).toMatch(/no say/)
      expect(groupsOf()).toHaveLength(1)
      await decide('end', seq, signer)
      expect([statusOf(seq), groupsOf()]).toEqual(['ended', []])
      await decide('end', seq, signer)
      expect(reason()).toBe(`request ${seq} is ended`)
    }
  })

  test('a person cannot deny, so not hide behind an admin’s word', async () => {
    const seq = await ask()
    await decide('deny', seq, bob)
    expect(reason()).toMatch(/no say/)
    expect(statusOf(seq)).toBe('waiting')
  })

  test('comes with the revocation of the user and with that of the cluster, for good', async () => {
    const seq = await ask()
    await decide('approve', seq)
    await fleet.revoke({ user: 'bob' })
    expect([statusOf(seq), groupsOf()]).toEqual(['ended', []])
    await fleet.admit('bob')
    expect(groupsOf()).toEqual([])
    const other = await ask({ user: 'dora' }, dora)
    await decide('approve', other)
    await fleet.revoke({ cluster: CLUSTER })
    await fleet.register()
    expect([statusOf(other), groupsOf('dora')]).toEqual(['ended', []])
  })
})

test('who asks, the agent there and admins are shown it and what was said to it, and nobody else', async () => {
  await fleet.register(OTHER_CLUSTER, 'ack')
  const carol = await fleet.admit('carol')
  await fleet.member('add', 'user', 'carol')
  const seqs = [await ask()]
  seqs.push(await decide('approve', seqs[0]!), await decide('end', seqs[0]!, bob))
  const seen = (viewer: Parameters<typeof visibleDetails>[1]) => {
    const shown = visibleDetails(fleet.directory, viewer).map(({ seq }) => seq)
    return seqs.filter((seq) => shown.includes(seq))
  }
  expect(seen({ kind: 'device', key: bob.id })).toEqual(seqs)
  expect(seen({ kind: 'device', key: erik.id })).toEqual(seqs)
  expect(seen({ kind: 'agent', cluster: CLUSTER })).toEqual(seqs)
  expect(seen({ kind: 'agent', cluster: OTHER_CLUSTER })).toEqual([])
  expect(seen({ kind: 'device', key: carol.id })).toEqual([])
})
