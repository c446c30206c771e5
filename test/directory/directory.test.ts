import { beforeEach, describe, expect, test, vi } from 'vitest'
import { Directory, requireNotRolledBack } from '../../src/directory/directory.ts'
import { generateSigningKey } from '../../src/directory/signing-key.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import type { DetailEnvelope, DirectoryPage } from '../../src/protocol/messages.ts'
import {
  CLUSTER,
  clusterDraft,
  type Draft,
  deviceDraft,
  Fleet,
  hubDraft,
  p256,
  type Signed,
} from './fleet.ts'
import { forgeStatement, payloadOf } from './forge.ts'

let fleet: Fleet

beforeEach(async () => {
  fleet = await Fleet.found()
})

const invalid = { name: 'TrustError', code: 'MCM_DIRECTORY_INVALID' }
const rolledBack = { name: 'TrustError', code: 'MCM_DIRECTORY_ROLLED_BACK' }

function pageOf(...signed: readonly Signed[]) {
  return {
    statements: signed.map(({ statement }) => statement.text),
    details: signed.map(({ detail }) => detail),
  }
}

function headOf({ statement }: Signed) {
  return { seq: statement.seq, hash: statement.hash }
}

function withSignatureOf(text: string, other: string): string {
  const { payload, signatures } = JSON.parse(text)
  const [{ signature }] = JSON.parse(other).signatures
  return JSON.stringify({ payload, signatures: [{ ...signatures[0], signature }] })
}

async function expectRefused(update: Parameters<Directory['extend']>[0], why = invalid) {
  const before = fleet.directory.head
  await expect(fleet.directory.extend(update)).rejects.toMatchObject(why)
  expect(fleet.directory.head).toEqual(before)
}

/** What a client restores from, with one thing changed. */
function restore(
  change: (page: {
    head: DirectoryPage['head']
    statements: string[]
    details: DetailEnvelope[]
  }) => void,
) {
  const page = structuredClone(fleet.directory.page(-1))
  change(page)
  return Directory.restore(fleet.directory.fleet!, page)
}

describe('a chain', () => {
  test('starts with the genesis, whose hash is the fleet fingerprint', () => {
    const { directory } = fleet
    expect(directory.fleet).toBe(directory.statements[0]!.hash)
    expect(directory.head).toEqual({ seq: 0, hash: directory.fleet })
    expect([...directory.state.admins.keys()]).toEqual([fleet.alice.id])
  })

  test('is restored from what it was stored as, and goes on', async () => {
    await fleet.register()
    await fleet.admit('bob')
    const { directory } = fleet
    const restored = await Directory.restore(directory.fleet!, directory.page(-1), directory.head!)
    expect(restored.head).toEqual(directory.head)
    expect(restored.details).toEqual(directory.details)
    expect([...restored.state.users.keys()]).toEqual(['alice', 'bob'])
    const more = await restored.extend(pageOf(await fleet.sign(hubDraft(['h:1']))))
    expect(more.head!.seq).toBe(directory.head!.seq + 1)
  })

  test('is a value: extending gives another and leaves the first as it was', async () => {
    const before = fleet.directory
    await fleet.register()
    expect(before.head!.seq).toBe(0)
    expect(before.state.clusters.size).toBe(0)
    expect(fleet.state.clusters.size).toBe(1)
  })

  test('pages after a number, with the details of that part', async () => {
    await fleet.register()
    await fleet.append(hubDraft(['h:1']))
    const page = fleet.directory.page(0)
    expect(page.head).toEqual(fleet.directory.head)
    expect(page.statements).toHaveLength(2)
    expect(page.details.map(({ seq }) => seq)).toEqual([1, 2])
    expect(fleet.directory.page(2)).toMatchObject({ statements: [], details: [] })
  })

  test('may be shown again, whole or in part, and with what is new after it', async () => {
    await fleet.register()
    const next = await fleet.sign(hubDraft(['h:1']))
    const known = fleet.directory.page(-1)
    expect((await fleet.directory.extend(known)).head).toEqual(fleet.directory.head)
    const both = { ...known, statements: [...known.statements, next.statement.text] }
    expect((await fleet.directory.extend(both)).head).toEqual(headOf(next))
    const tail = { ...both, statements: both.statements.slice(1) }
    expect((await fleet.directory.extend(tail)).head).toEqual(headOf(next))
  })

  test('may be empty on a hub that nobody has founded, and takes any genesis once', async () => {
    const empty = Directory.empty()
    expect([empty.fleet, empty.head, empty.page(-1).statements]).toEqual([undefined, null, []])
    const other = await Fleet.found()
    await expectRefused(other.directory.page(-1), rolledBack)
  })

  test('extends at the cost of the new signatures only, and not for a chain that fits nowhere', async () => {
    await fleet.register()
    await fleet.admit('bob')
    const next = await fleet.sign(hubDraft(['h:1']))
    const verify = vi.spyOn(globalThis.crypto.subtle, 'verify')
    const page = fleet.directory.page(-1)
    await fleet.directory.extend({ ...page, statements: [...page.statements, next.statement.text] })
    expect(verify).toHaveBeenCalledTimes(1)
    const stranger = await fleet.sign(hubDraft(['h:1']), [generateSigningKey()])
    await expectRefused(pageOf(stranger))
    const reversed = { ...page, statements: page.statements.toReversed() }
    await expect(Directory.empty().extend(reversed)).rejects.toMatchObject(invalid)
    expect(verify).toHaveBeenCalledTimes(1)
    verify.mockRestore()
  })

  test('restored to the head it was verified to, costs the signatures after that head only', async () => {
    await fleet.register()
    await fleet.admit('bob')
    const { head } = fleet.directory
    const next = await fleet.sign(hubDraft(['h:1']))
    const { directory } = fleet
    const longer = await directory.extend(pageOf(next))
    const verify = vi.spyOn(globalThis.crypto.subtle, 'verify')
    const again = await Directory.restore(directory.fleet!, longer.page(-1), head!)
    expect(again.head).toEqual(longer.head)
    expect(verify).toHaveBeenCalledTimes(1)
    verify.mockRestore()
  })

  test('restored to that head, is refused with a bad signature before it or after it', async () => {
    await fleet.register()
    const { directory } = fleet
    const head = directory.head!
    const next = await fleet.sign(hubDraft(['h:1']))
    const longer = await directory.extend(pageOf(next))
    for (const seq of [head.seq - 1, head.seq, head.seq + 1]) {
      const { statements, details } = longer.page(-1)
      const other = statements.with(seq, withSignatureOf(statements[seq]!, statements.at(seq - 1)!))
      const page = { head: { seq: 2, hash: sha256(other.at(-1)!) }, statements: other, details }
      await expect(Directory.restore(directory.fleet!, page, head)).rejects.toMatchObject(invalid)
    }
  })
})

describe('a hub that edits the chain is refused', () => {
  beforeEach(async () => {
    await fleet.register()
    await fleet.append(hubDraft(['hub.example.com:8443']))
    await fleet.admit('bob')
  })

  test('control: unchanged, it is accepted', async () => {
    expect((await restore(() => {})).head).toEqual(fleet.directory.head)
  })

  test('with a statement dropped, doubled, moved, or cut off at the start', async () => {
    for (const change of [
      (texts: string[]) => texts.splice(2, 1),
      (texts: string[]) => texts.splice(2, 0, texts[2]!),
      (texts: string[]) => texts.splice(1, 2, texts[2]!, texts[1]!),
      (texts: string[]) => texts.reverse(),
      (texts: string[]) => texts.shift(),
    ])
      await expect(restore(({ statements }) => change(statements))).rejects.toMatchObject(invalid)
  })

  test('with a head that is not the last statement', async () => {
    const last = fleet.directory.statements.at(-2)!
    for (const head of [null, { seq: last.seq, hash: last.hash }, { seq: 99, hash: last.hash }])
      await expect(
        restore((page) => {
          page.head = head
        }),
      ).rejects.toMatchObject(invalid)
  })

  test('with one statement’s time, type or predecessor changed', async () => {
    const seq = 2
    for (const [from, to] of [
      ['T00:02', 'T00:03'],
      ['"hub"', '"member"'],
      ['"seq":2', '"seq":3'],
    ] as const) {
      const { text } = fleet.directory.statements[seq]!
      const jws = JSON.parse(text)
      jws.payload = Buffer.from(
        payloadOf(fleet.directory.statements[seq]!).replace(from, to),
      ).toString('base64url')
      await expect(
        restore(({ statements }) => statements.splice(seq, 1, JSON.stringify(jws))),
      ).rejects.toMatchObject(invalid)
    }
  })

  test('with a statement of its own in between, signed by a key of its own', async () => {
    const hub = generateSigningKey()
    const own = await fleet.sign(hubDraft(['evil.example.com:8443']), [hub])
    await expectRefused(pageOf(own))
    const member = {
      action: 'add',
      subject: { kind: 'user', name: 'bob' },
      cluster: CLUSTER,
    } as const
    await expectRefused(pageOf(await fleet.sign({ type: 'member', detail: member }, [hub])))
  })

  test('with a statement of another fleet', async () => {
    const other = await Fleet.found()
    await other.register()
    const foreign = other.directory.page(0)
    await expectRefused(foreign, rolledBack)
    const page = other.directory.page(-1)
    await expect(Directory.restore(fleet.directory.fleet!, page)).rejects.toMatchObject(invalid)
  })

  test('with a detail swapped for another’s, edited, salted otherwise, or for no statement', async () => {
    const edits: ((details: DetailEnvelope[]) => void)[] = [
      (details) => {
        const [first, second] = [details[1]!, details[2]!]
        details[1] = { ...first, text: second.text, salt: second.salt }
      },
      (details) => {
        details[1] = { ...details[1]!, text: details[1]!.text.replace('idc-k8s', 'idc-k8z') }
      },
      (details) => {
        details[1] = { ...details[1]!, salt: details[2]!.salt }
      },
      (details) => {
        details[1] = { ...details[1]!, seq: 3 }
      },
      (details) => {
        details.push({ ...details[1]!, seq: 99 })
      },
      (details) => {
        details.push({ ...details[1]!, text: '{}' })
      },
    ]
    for (const edit of edits)
      await expect(restore(({ details }) => edit(details))).rejects.toMatchObject(invalid)
  })

  test('with bytes, numbers or nothing where statements must be', async () => {
    for (const text of ['', '{}', 'null', '[1e400]', '{"__proto__":{"seq":0}}', '{"payload":1}'])
      await expectRefused({ statements: [text], details: [] })
  })
})

describe('a hub that shows an old or another chain is refused', () => {
  test('when it ends before the head that was remembered', async () => {
    const old = fleet.directory
    await fleet.register()
    const remembered = fleet.directory.head!
    expect(() => requireNotRolledBack(fleet.directory, remembered)).not.toThrow()
    expect(() => requireNotRolledBack(old, remembered)).toThrow(expect.objectContaining(rolledBack))
    await expect(Directory.restore(old.fleet!, old.page(-1), remembered)).rejects.toMatchObject(
      rolledBack,
    )
    const empty = { head: null, statements: [], details: [] }
    await expect(Directory.restore(old.fleet!, empty, remembered)).rejects.toMatchObject(rolledBack)
  })

  test('when it differs at the head that was remembered, though it is longer', async () => {
    const fork = fleet.directory
    await fleet.register()
    const remembered = fleet.directory.head!
    const first = await fleet.sign(clusterDraft(CLUSTER, 'evil', 'A'.repeat(43)), [fleet.alice], {
      after: fork.head,
    })
    const second = await fleet.sign(hubDraft(['h:1']), [fleet.alice], { after: headOf(first) })
    const other = await fork.extend(pageOf(first, second))
    await expect(Directory.restore(fork.fleet!, other.page(-1), remembered)).rejects.toMatchObject(
      rolledBack,
    )
    await expectRefused(other.page(0), rolledBack)
    await expectRefused(other.page(-1), rolledBack)
  })

  test('when both branches of a fork come one after the other', async () => {
    const after = fleet.directory.head
    const left = await fleet.sign(hubDraft(['left:1']), [fleet.alice], { after })
    const right = await fleet.sign(hubDraft(['right:1']), [fleet.alice], { after })
    await expectRefused(pageOf(left, right))
    fleet.directory = await fleet.directory.extend(pageOf(left))
    await expectRefused(pageOf(right), rolledBack)
  })
})

describe('nobody appends what the chain does not let them', () => {
  const admins = () => [...fleet.directory.state.admins.keys()]

  test('a user who is not an admin signs a member, an admin, a hub, a revocation, groups, a grant', async () => {
    const bob = await fleet.admit('bob')
    await fleet.register()
    const drafts: Draft[] = [
      {
        type: 'member',
        detail: { action: 'add', subject: { kind: 'user', name: 'bob' }, cluster: CLUSTER },
      },
      { type: 'admin', detail: { action: 'add', user: 'bob', key: bob.id } },
      hubDraft(['evil:1']),
      clusterDraft(CLUSTER, 'evil', bob.id),
      { type: 'revoke', detail: { user: 'alice', reason: '' } },
      {
        type: 'invite',
        inviteKey: 'A'.repeat(43),
        detail: { user: 'eve', groups: [], expires: '2027-01-01T00:00:00Z', bot: false },
      },
      { type: 'groups', detail: { user: 'bob', groups: ['admins'] } },
      {
        type: 'grant',
        detail: {
          subject: { kind: 'user', name: 'bob' },
          cluster: CLUSTER,
          group: 'grant:0123456789abcdef',
          expires: '2027-01-01T00:00:00Z',
        },
      },
    ]
    for (const draft of drafts) await expectRefused(pageOf(await fleet.sign(draft, [bob])))
  })

  test('the fleet key, once it has founded the fleet', async () => {
    await expectRefused(pageOf(await fleet.sign(hubDraft(['h:1']), [fleet.fleetKey])))
  })

  test('a removed admin, from the next statement on', async () => {
    const bob = await fleet.admit('bob')
    await fleet.admin('add', 'bob', bob.id)
    await fleet.append(hubDraft(['h:1']), [bob])
    await fleet.admin('remove', 'bob', bob.id)
    expect(admins()).toEqual([fleet.alice.id])
    await expectRefused(pageOf(await fleet.sign(hubDraft(['h:2']), [bob])))
  })

  test('an admin may remove themself, but not when nobody else is left', async () => {
    const bob = await fleet.admit('bob')
    const removal = {
      type: 'admin',
      detail: { action: 'remove', user: 'alice', key: fleet.alice.id },
    } as const
    await expectRefused(pageOf(await fleet.sign(removal)))
    await fleet.admin('add', 'bob', bob.id)
    await fleet.append(removal)
    expect(admins()).toEqual([bob.id])
  })

  test('a second genesis, or one not signed by the keys that it names', async () => {
    const other = generateSigningKey()
    const device = { key: p256(other), name: 'x' }
    const detail = { fleetKey: p256(fleet.fleetKey), user: 'eve', device }
    const genesis = (signers = [fleet.fleetKey, other]) =>
      fleet.sign({ type: 'fleet', detail }, signers, { after: null })
    const found = async (signers?: Parameters<typeof genesis>[0]) =>
      Directory.empty().extend(pageOf(await genesis(signers)))
    expect((await found()).head!.seq).toBe(0)
    await expectRefused(pageOf(await genesis()), rolledBack)
    for (const signers of [
      [other, fleet.fleetKey],
      [other, other],
      [fleet.fleetKey, fleet.fleetKey],
    ])
      await expect(found(signers)).rejects.toMatchObject(invalid)
  })

  test('an admin, a statement that skips a number or names another predecessor', async () => {
    const { seq, hash } = fleet.directory.head!
    const draft = hubDraft(['h:1'])
    for (const after of [
      { seq: seq + 1, hash },
      { seq, hash: sha256('another statement') },
    ])
      await expectRefused(pageOf(await fleet.sign(draft, [fleet.alice], { after })))
    await fleet.directory.extend(
      pageOf(await fleet.sign(draft, [fleet.alice], { after: { seq, hash } })),
    )
  })

  test('a change of admins whose detail is held back, or makes no sense', async () => {
    const bob = await fleet.admit('bob')
    const draft = { type: 'admin', detail: { action: 'add', user: 'bob', key: bob.id } } as const
    const { statement, detail } = await fleet.sign(draft)
    await expectRefused({ statements: [statement.text], details: [] })
    await fleet.directory.extend({ statements: [statement.text], details: [detail] })
    const genesis = fleet.directory.page(-1).statements.slice(0, 1)
    await expect(
      Directory.empty().extend({ statements: genesis, details: [] }),
    ).rejects.toMatchObject(invalid)
  })
})

describe('an invite', () => {
  test('lets nobody in without its key, be it the hub with a key of its own', async () => {
    const invited = await fleet.invite('bob')
    const hub = { seq: invited.seq, key: (await fleet.invite('eve')).key }
    const device = generateSigningKey()
    const draft = deviceDraft('bob', hub, device)
    await expectRefused(pageOf(await fleet.sign(draft, [hub.key, device])))
  })

  test('lets one device in, and no second one', async () => {
    const invited = await fleet.invite('bob')
    await fleet.join('bob', invited)
    const second = generateSigningKey()
    const draft = deviceDraft('bob', invited, second)
    await expectRefused(pageOf(await fleet.sign(draft, [invited.key, second])))
    expect(fleet.state.users.get('bob')!.devices.size).toBe(1)
  })

  test('of a number that is no invite, or is still to come, lets nobody in', async () => {
    const invited = await fleet.invite('bob')
    const device = generateSigningKey()
    for (const seq of [0, 1_000, invited.seq + 1]) {
      const draft = deviceDraft('bob', { ...invited, seq }, device)
      await expectRefused(pageOf(await fleet.sign(draft, [invited.key, device])))
    }
  })

  test('used on the other branch of a race has to be signed again by the loser, and then fails', async () => {
    const invited = await fleet.invite('bob')
    const [first, second] = [generateSigningKey(), generateSigningKey()]
    const winner = await fleet.sign(deviceDraft('bob', invited, first), [invited.key, first])
    const loser = await fleet.sign(deviceDraft('bob', invited, second), [invited.key, second])
    fleet.directory = await fleet.directory.extend(pageOf(winner))
    await expectRefused(pageOf(loser), rolledBack)
    const again = await fleet.sign(deviceDraft('bob', invited, second), [invited.key, second])
    await expectRefused(pageOf(again))
  })
})

describe('details', () => {
  test('may come late, for any statement, and change what the chain says', async () => {
    await fleet.register()
    await fleet.member('add', 'user', 'bob')
    const bob = await fleet.admit('bob')
    const whole = fleet.directory.page(-1)
    const known = new Set([0, 1])
    const some = whole.details.filter(({ seq }) => known.has(seq))
    const partial = await Directory.restore(fleet.directory.fleet!, { ...whole, details: some })
    expect(partial.head).toEqual(fleet.directory.head)
    expect(partial.state.users.has('bob')).toBe(false)
    expect(partial.state.isLiveDevice(bob.id)).toBe(false)
    expect(partial.state.withoutEffect.size).toBe(0)
    const rest = whole.details.filter(({ seq }) => !known.has(seq)).reverse()
    const complete = await partial.extend({ statements: [], details: rest })
    expect(complete.state.isLiveDevice(bob.id)).toBe(true)
    expect(complete.state.isMember('bob', CLUSTER)).toBe(true)
    expect(partial.state.users.has('bob')).toBe(false)
  })

  test('known twice are kept once', async () => {
    const again = await fleet.directory.extend({
      statements: [],
      details: fleet.directory.page(-1).details,
    })
    expect(again.details.size).toBe(1)
  })

  test('that an admin signed and nobody can read leave the chain valid and change nothing', async () => {
    const { statement, detail } = await fleet.sign(hubDraft(['h:1']))
    const text = '{"endpoints":["h:1"],"privateEndpoints":[],"certificate":"aHVi","__proto__":{}}'
    const hash = sha256(Buffer.concat([Buffer.from(detail.salt, 'base64url'), Buffer.from(text)]))
    const payload = payloadOf(statement).replace(statement.detailHash, hash)
    const forged = forgeStatement(payload, [fleet.alice])
    const next = await fleet.directory.extend({
      statements: [forged],
      details: [{ ...detail, text }],
    })
    expect(next.state.hubs).toEqual([])
    expect(next.state.withoutEffect.get(1)).toBe('its detail makes no sense')
  })
})
