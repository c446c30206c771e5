import { beforeEach, describe, expect, it } from 'vitest'
import { requireYoung } from '../../src/agent/directory-age.ts'
import type { DirectoryAddition } from '../../src/agent/directory-holder.ts'
import { type DirectoryWitness, directoryWitness } from '../../src/agent/directory-witness.ts'
import { type GossipOutcome, gossip } from '../../src/device/gossip.ts'
import { Directory } from '../../src/directory/directory.ts'
import { readLacking } from '../../src/directory/lacking.ts'
import { UsageError } from '../../src/errors.ts'
import type { DirectoryAppend, Head } from '../../src/protocol/messages.ts'
import { CLUSTER, Fleet } from '../directory/fleet.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'

const LONG_MS = 16_000

let fleet: Fleet
let world: FrozenWorld
let log: RecordedLog
let holder: ReturnType<typeof holderOf>
let witness: DirectoryWitness

/** As the agent's own, one change at a time, without its Secret; `writing` is how long that takes. */
function holderOf(pin: string) {
  let directory = Directory.empty(pin)
  let last: Promise<unknown> = Promise.resolve()
  return {
    writing: Promise.resolve(),
    get directory() {
      return directory
    },
    get state() {
      return directory.state
    },
    get head() {
      return directory.head
    },
    apply(append: DirectoryAppend, added?: DirectoryAddition) {
      const done = last.then(async () => {
        const before = directory
        directory = await before.extend(append)
        const after = directory
        await this.writing
        added?.(before, after)
        return directory.head!
      })
      last = done.catch(() => {})
      return done
    },
  }
}

function append(after = -1): DirectoryAppend {
  const { statements, details } = fleet.directory.page(after)
  return { statements, details }
}

/** Numbers of the statements that the agent says it lacks the details of. */
function lacked(): number[] {
  const isLacking = readLacking(witness.hear('alice', fleet.directory.head!).lacks)
  return holder.directory.statements.map(({ seq }) => seq).filter(isLacking)
}

/**
 * What ends bob, whose detail a hostile hub keeps from the agent, below 256 statements that bob signed, which change
 * nothing and whose details it shows nobody. `alices` is the directory as she knows it.
 */
async function buried(type: 'removal' | 'approval', end: () => Promise<number>) {
  const bob = await fleet.admit('bob')
  await fleet.member('add', 'user', 'bob')
  await witness.takeFromHub(append())
  const seq = await end()
  const junk =
    type === 'removal'
      ? ({ type, detail: { device: 'N'.repeat(43), reason: '' } } as const)
      : ({ type, detail: { action: 'deny', request: 1 } } as const)
  for (let index = 0; index < 256; index += 1) await fleet.append(junk, [bob])
  const last = await fleet.append({ type: 'confirm', detail: {} })
  const { statements, details } = append()
  await witness.takeFromHub({ statements, details: details.filter((each) => each.seq === last) })
  const shown = details.filter((each) => each.seq <= seq || each.seq === last)
  const alices = await Directory.empty(fleet.directory.fleet!).extend({
    statements,
    details: shown,
  })
  return { bob, seq, alices }
}

/** Somebody of whose device the agent knows nothing, or with that one. */
function as(user: string, device = 'D'.repeat(43)) {
  return { user, device }
}

/** What a client does whenever it opens a session; of messages longer than that the agent reads nothing. */
function visit(
  directory: Directory,
  by = as('alice'),
  maxCharacters = Number.POSITIVE_INFINITY,
): Promise<GossipOutcome> {
  const agent = {
    nameHead: async (head: Head) => witness.hear(by.user, head),
    bringDirectory: async (batch: DirectoryAppend) => {
      if (JSON.stringify(batch).length > maxCharacters)
        throw new UsageError('MCM_BAD_REQUEST', 'the body is longer')
      return witness.take(by, async () => batch)
    },
  }
  return gossip(agent, { directory, key: { id: by.device } }, CLUSTER).wait(60_000)
}

beforeEach(async () => {
  fleet = await Fleet.found()
  await fleet.register()
  ;[world, log] = [new FrozenWorld(), new RecordedLog()]
  holder = holderOf(fleet.directory.fleet!)
  witness = directoryWitness(holder, {}, { world, log })
  await witness.takeFromHub(append())
})

describe('a directory that a hub withholds', () => {
  it('is not suspected while every client names what the agent has', () => {
    const { head } = holder
    expect(witness.hear('bob', fleet.directory.head!)).toEqual({ head, lacks: '', knows: true })
    world.advance(LONG_MS)
    expect(witness.notes()).toEqual([])
    expect(witness.facts()).toMatchObject({ head: holder.head })
    expect(log.events()).toEqual([])
  })

  it('is said when somebody has named a later head that does not come', async () => {
    await fleet.member('add', 'user', 'bob')
    const head = fleet.directory.head!
    witness.hear('bob', head)
    expect(witness.notes()).toEqual([])
    world.advance(LONG_MS)
    expect(witness.notes()).toEqual([
      `a directory was named that no hub shows: statement ${head.seq}`,
    ])
    expect(witness.facts().heard).toMatchObject({ head })
    expect(log.events()).toEqual(['directory_head_not_shown'])
    await witness.takeFromHub(append())
    expect(witness.facts()).not.toHaveProperty('heard')
  })

  it('is made good by any member, who is believed by signatures alone', async () => {
    await fleet.member('add', 'user', 'bob')
    const head = await witness.take(as('bob'), async () => append(holder.head!.seq))
    expect(head).toEqual(fleet.directory.head)
    expect(holder.head).toEqual(head)
    expect(witness.notes()).toEqual([])
    world.advance(LONG_MS)
    expect(witness.facts().withheld).toMatchObject({ head })
    expect(log.events()).toEqual(['directory_withheld_by_hub'])
  })

  it('is no reproach to a hub that was only slower', async () => {
    const before = holder.head!.seq
    await fleet.member('add', 'user', 'bob')
    await witness.take(as('bob'), async () => append(before))
    await witness.takeFromHub(append(before))
    world.advance(LONG_MS)
    expect(witness.facts()).not.toHaveProperty('withheld')
    expect(log.events()).toEqual([])
  })

  it('is not to be had by a forged statement', async () => {
    const before = holder.head!
    await fleet.member('add', 'user', 'bob')
    const [text] = append(before.seq).statements
    const forged = text!.replace(
      /"signature":"(.)/,
      (_, first) => `"signature":"${first === 'A' ? 'B' : 'A'}`,
    )
    const lie = { statements: [forged], details: [] }
    await expect(witness.take(as('eve'), async () => lie)).rejects.toMatchObject({
      code: 'MCM_DIRECTORY_INVALID',
    })
    expect(holder.head).toEqual(before)
    expect(witness.facts()).not.toHaveProperty('withheld')
  })

  it('may come with every statement and without what one of them says: that is asked for, and said', async () => {
    const bob = await fleet.admit('bob')
    await fleet.member('add', 'user', 'bob')
    await witness.takeFromHub(append(holder.head!.seq))
    const before = holder.head!.seq
    const seq = await fleet.revoke({ user: 'bob' })
    await witness.takeFromHub({ ...append(before), details: [] })
    expect(holder.state.isLiveDevice(bob.id)).toBe(true)
    expect(lacked()).toEqual([seq])
    await witness.take(as('alice'), async () => ({
      statements: [],
      details: append(before).details,
    }))
    expect(holder.state.isLiveDevice(bob.id)).toBe(false)
    expect(lacked()).toEqual([])
    expect(witness.notes()).toEqual([])
    world.advance(LONG_MS)
    expect(witness.facts().withheld).toMatchObject({ head: { seq } })
    expect(log.events()).toEqual(['directory_withheld_by_hub'])
    await witness.takeFromHub(append(before))
    expect(witness.facts()).not.toHaveProperty('withheld')
  })

  it('is not forked by a member who signs what only a hub would refuse', async () => {
    const bob = await fleet.admit('bob')
    await fleet.member('add', 'user', 'bob')
    await witness.takeFromHub(append(holder.head!.seq))
    const before = holder.head!
    const detail = { device: 'N'.repeat(43), reason: '' }
    const fork = await fleet.sign({ type: 'removal', detail }, [bob])
    const own = { statements: [fork.statement.text], details: [fork.detail] }
    await expect(witness.take(as('bob'), async () => own)).rejects.toMatchObject({
      code: 'MCM_FORBIDDEN',
    })
    expect(holder.head).toEqual(before)
    await fleet.revoke({ user: 'bob' })
    await witness.takeFromHub(append(before.seq))
    expect(holder.state.isLiveDevice(bob.id)).toBe(false)
  })

  it('is taken from a member up to the last word of an admin, and no further', async () => {
    const bob = await fleet.admit('bob')
    const seq = await fleet.append({ type: 'confirm', detail: {} })
    const vouched = fleet.directory.head
    const detail = { device: 'N'.repeat(43), reason: '' }
    await fleet.append({ type: 'removal', detail }, [bob])
    expect(await witness.take(as('bob'), async () => append(0))).toEqual(vouched)
    expect(holder.head).toEqual(vouched)
    expect(holder.directory.details.has(seq + 1)).toBe(false)
  })

  it('lacks whatever it was not shown, of every type', async () => {
    for (let index = 0; index < 3; index += 1) await fleet.admit(`u${index}`)
    await fleet.revoke({ user: 'u0' })
    await fleet.member('add', 'user', 'u1')
    const before = holder.head!.seq
    await witness.takeFromHub({ ...append(before), details: [] })
    const later = holder.directory.statements.slice(before + 1)
    expect(lacked()).toEqual(later.map(({ seq }) => seq))
  })

  it('is made good although 256 removals of somebody revoked were put on top of their revocation', async () => {
    const { bob, seq, alices } = await buried('removal', () => fleet.revoke({ user: 'bob' }))
    expect(holder.state.isLiveDevice(bob.id)).toBe(true)
    expect(lacked()).toContain(seq)
    await visit(alices)
    expect(holder.state.isLiveDevice(bob.id)).toBe(false)
    world.advance(LONG_MS)
    expect(witness.facts().withheld).toMatchObject({ head: { seq } })
  })

  it('is made good although the agent is shown more statements than those who come by', async () => {
    const { bob, seq } = await buried('removal', () => fleet.revoke({ user: 'bob' }))
    const { statements, details } = append()
    const behind = await Directory.empty(fleet.directory.fleet!).extend({
      statements: statements.slice(0, seq + 1),
      details: details.filter((each) => each.seq <= seq),
    })
    await visit(behind)
    expect(holder.state.isLiveDevice(bob.id)).toBe(false)
  })

  it('is made good although 256 approvals were put on top of the end of a membership', async () => {
    const { seq, alices } = await buried('approval', () => fleet.member('remove', 'user', 'bob'))
    expect(holder.state.isMember('bob', CLUSTER, world.now())).toBe(true)
    expect(lacked()).toContain(seq)
    await visit(alices)
    expect(holder.state.isMember('bob', CLUSTER, world.now())).toBe(false)
    world.advance(LONG_MS)
    expect(witness.facts().withheld).toMatchObject({ head: { seq } })
  })

  it('is brought by a few at a time, and by nobody twice at once', async () => {
    const never = new Promise<DirectoryAppend>(() => {})
    void witness.take(as('bob'), () => never)
    const again = witness.take(as('bob'), async () => append())
    await expect(again).rejects.toMatchObject({ code: 'MCM_LIMIT' })
    for (let index = 0; index < 30; index += 1) void witness.take(as(`u${index}`), () => never)
    expect(await witness.take(as('alice'), async () => append())).toEqual(holder.head)
    void witness.take(as('u30'), () => never)
    const last = witness.take(as('alice'), async () => append())
    await expect(last).rejects.toMatchObject({ code: 'MCM_LIMIT' })
  })

  it('is said once an hour of each user, whatever they name, and nobody’s word hides another’s', async () => {
    const before = holder.head!.seq
    await fleet.member('add', 'user', 'bob')
    witness.hear('bob', fleet.directory.head!)
    for (let index = 1; index <= 100; index += 1) {
      witness.hear('eve', { seq: before + 100 + index, hash: `${index}`.padStart(43, 'H') })
      world.advance(LONG_MS / 50)
    }
    expect(witness.facts().heard).toMatchObject({ head: fleet.directory.head })
    const saidOf = (name: string) => log.lines.filter(({ fields }) => fields?.['user'] === name)
    expect([saidOf('eve').length, saidOf('bob').length]).toEqual([1, 1])
  })

  it('is heard of however far ahead it is', () => {
    witness.hear('bob', { seq: Number.MAX_SAFE_INTEGER, hash: 'H'.repeat(43) })
    world.advance(LONG_MS)
    expect(witness.notes()).toHaveLength(1)
  })

  it('is heard of, and made good by an administrator alone, below more statements than one message holds', async () => {
    const bob = await fleet.admit('bob')
    await fleet.member('add', 'user', 'bob')
    await witness.takeFromHub(append())
    const removal = { type: 'removal', detail: { device: 'N'.repeat(43), reason: '' } } as const
    for (let index = 0; index < 600; index += 1) await fleet.append(removal, [bob])
    await fleet.revoke({ user: 'bob' })
    const limit = 384 << 10
    const refused = { result: 'refused', why: expect.stringContaining('longer') }
    expect(await visit(fleet.directory, as('carol'), limit)).toEqual(refused)
    world.advance(LONG_MS)
    expect(witness.facts().heard).toMatchObject({ head: fleet.directory.head })
    expect(holder.state.isLiveDevice(bob.id)).toBe(true)
    const alices = as('alice', fleet.alice.id)
    expect(await visit(fleet.directory, alices, limit)).toEqual({ result: 'brought' })
    expect(holder.head).toEqual(fleet.directory.head)
    expect(holder.state.isLiveDevice(bob.id)).toBe(false)
  })

  it('is no reproach to a hub that was being listened to when a client came', async () => {
    const [first, second] = [await fleet.member('add', 'user', 'bob'), fleet.directory]
    await fleet.member('add', 'user', 'carol')
    let written = () => {}
    holder.writing = new Promise((resolve) => {
      written = resolve
    })
    const { statements, details } = second.page(first - 1)
    const pushes = [
      witness.takeFromHub({ statements, details }),
      witness.takeFromHub(append(first)),
    ]
    const client = witness.take(as('bob'), async () => append(first - 1))
    await expect.poll(() => holder.head).toEqual(second.head)
    written()
    await Promise.all([...pushes, client])
    world.advance(LONG_MS)
    expect(witness.notes()).toEqual([])
    expect(log.events()).toEqual([])
  })

  it('is no reproach to a hub that shows what the statement says', async () => {
    const before = holder.head!.seq
    await fleet.append({ type: 'confirm', detail: {} })
    const { statements, details } = append(before)
    await witness.take(as('bob'), async () => ({ statements, details: [] }))
    await witness.takeFromHub({ statements: [], details })
    world.advance(LONG_MS)
    expect(witness.notes()).toEqual([])
  })

  it('is known for another one by whoever comes, also where the agent was shown more', async () => {
    const bob = await fleet.admit('bob')
    await witness.takeFromHub(append(holder.head!.seq))
    const forked = [holder.head!]
    for (let index = 0; index < 2; index += 1) {
      const removal = { type: 'removal', detail: { device: 'N'.repeat(43), reason: '' } } as const
      const { statement, detail } = await fleet.sign(removal, [bob], { after: forked.at(-1)! })
      await witness.takeFromHub({ statements: [statement.text], details: [detail] })
      forked.push(holder.head!)
    }
    const seq = await fleet.revoke({ user: 'bob' })
    const fork = { result: 'forked', why: `it was shown another statement ${seq} than this device` }
    expect(holder.head!.seq).toBeGreaterThan(seq)
    expect(await visit(fleet.directory, as('alice', fleet.alice.id))).toEqual(fork)
    const { seq: own } = await fleet
      .append({ type: 'confirm', detail: {} })
      .then(() => fleet.directory.head!)
    expect(own).toBe(holder.head!.seq)
    expect(await visit(fleet.directory)).toMatchObject({ result: 'forked' })
  })

  it('is not looked at again for ten seconds after what the same user brought was refused', async () => {
    const lie = { statements: ['{}'], details: [] }
    const reads: string[] = []
    const bring = (user: string) =>
      witness.take(as(user), async () => {
        reads.push(user)
        return lie
      })
    for (let index = 0; index < 3; index += 1)
      await expect(bring('eve')).rejects.toMatchObject({ code: 'MCM_DIRECTORY_INVALID' })
    await expect(bring('bob')).rejects.toMatchObject({ code: 'MCM_DIRECTORY_INVALID' })
    expect(reads).toEqual(['eve', 'bob'])
    world.advance(10_000)
    expect(await witness.take(as('eve'), async () => append())).toEqual(holder.head)
  })

  it('is said when another statement is named under a number that is known', () => {
    witness.hear('eve', { seq: 0, hash: 'H'.repeat(43) })
    world.advance(LONG_MS)
    expect(witness.notes()).toHaveLength(1)
  })

  it('is suspected once a user, however often they name a head, from the first time on', async () => {
    witness.hear('eve', { seq: 900, hash: 'H'.repeat(43) })
    world.advance(LONG_MS / 2)
    witness.hear('eve', { seq: 901, hash: 'I'.repeat(43) })
    world.advance(LONG_MS / 2)
    expect(witness.notes()).toEqual([expect.stringContaining('statement 901')])
  })
})

describe('the age of a directory', () => {
  it('is that of the last statement of an administrator, and shown', async () => {
    const seq = await fleet.append({ type: 'confirm', detail: {} })
    await witness.takeFromHub(append())
    const confirmed = fleet.timeOf(seq).toISOString().replace('.000', '')
    expect(witness.facts()).toMatchObject({ confirmed })
  })

  it('is not counted from a time to come: by a wrong clock it would stay young', () => {
    const ahead = (ms: number) => ({ confirmed: new Date(world.now().getTime() + ms) })
    expect(() => requireYoung(ahead(9 * 60_000), 3_600, world)).not.toThrow()
    expect(() => requireYoung(ahead(11 * 60_000), 3_600, world)).toThrow(/by the clock of this/)
    expect(() => requireYoung(ahead(11 * 60_000), undefined, world)).not.toThrow()
  })

  it('does not matter unless the owner says so, and then refuses', () => {
    const old = { confirmed: new Date(world.now().getTime() - 3_601_000) }
    expect(() => requireYoung(old, undefined, world)).not.toThrow()
    expect(() => requireYoung(old, 3_602, world)).not.toThrow()
    expect(() => requireYoung(old, 3_600, world)).toThrow(
      expect.objectContaining({ code: 'MCM_DIRECTORY_OLD' }),
    )
    expect(() => requireYoung({ confirmed: undefined }, 3_600, world)).toThrow(/never/)
  })
})
