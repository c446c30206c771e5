import { beforeEach, describe, expect, it } from 'vitest'
import type { Admission } from '../../src/directory/admission.ts'
import { withAdmitted } from '../../src/directory/admitted-directory.ts'
import { parseDetail } from '../../src/directory/details.ts'
import { Directory } from '../../src/directory/directory.ts'
import type { ProviderDetail } from '../../src/directory/provider.ts'
import { generateSigningKey, type SigningKey } from '../../src/directory/signing-key.ts'
import { visibleDetails } from '../../src/directory/visibility.ts'
import { CLUSTER, Fleet, OTHER_CLUSTER, p256 } from './fleet.ts'

const ALICE = 'ann@example.com'
let fleet: Fleet

beforeEach(async () => {
  fleet = await Fleet.found()
  await fleet.register()
})

function corp(changes: Record<string, unknown> = {}) {
  return {
    action: 'set',
    name: 'corp',
    issuer: 'https://id.example.com',
    domain: 'example.com',
    maximumAge: 3600,
    people: {
      ...{ clientId: 'mcm', scopes: ['email'], userClaim: 'email', groupsClaim: 'groups' },
      groups: { developers: 'dev' },
    },
    workloads: [],
    ...changes,
  }
}

const set = (changes: Record<string, unknown> = {}) =>
  fleet.append({ type: 'oidc', detail: corp(changes) as ProviderDetail })

function admission(key: SigningKey, changes: Partial<Admission> = {}): Admission {
  return {
    provider: fleet.state.providers.get('corp')?.seq ?? -1,
    user: ALICE,
    bot: false,
    groups: ['dev'],
    device: { id: key.id, key: p256(key), name: 'laptop' },
    tokenHash: 't'.repeat(43),
    tokenTime: fleet.timeOf(),
    until: new Date(fleet.timeOf().getTime() + 3_600_000),
    ...changes,
  }
}

const effectOf = (seq: number) => fleet.state.withoutEffect.get(seq)

describe('an oidc statement', () => {
  it('is shown to everybody, and a later one of its name replaces it', async () => {
    await set()
    const seq = await set({ maximumAge: 7200 })
    expect(fleet.state.providers.get('corp')).toMatchObject({ seq, maximumAge: 7200 })
    const stranger = generateSigningKey()
    const seen = visibleDetails(fleet.directory, { kind: 'device', key: stranger.id })
    expect(seen.map((each) => each.seq)).toContain(seq)
  })

  it.each([
    ['http', { issuer: 'http://id.example.com' }],
    ['a query', { issuer: 'https://id.example.com/?x' }],
    ['a password', { issuer: 'https://a:b@id.example.com' }],
    ['a group with a colon', { people: { ...corp().people, groups: { x: 'system:masters' } } }],
    ['a program outside its domain', { workloads: [{ user: 'ci@other', claims: { sub: 'x' } }] }],
    ['a program without sub', { workloads: [{ user: 'ci@example.com', claims: { ref: 'x' } }] }],
    ['an age beyond 30 days', { maximumAge: 31 * 24 * 3600 }],
    ['an empty domain', { domain: '' }],
  ])('with %s makes no sense', (_what, changes) => {
    expect(parseDetail('oidc', JSON.stringify(corp()))).toBeDefined()
    expect(parseDetail('oidc', JSON.stringify(corp(changes)))).toBeUndefined()
  })

  it('and invites never give the same name, whichever came first', async () => {
    await fleet.invite(ALICE)
    expect(effectOf(await set())).toBe(`${ALICE} was invited`)
    await set({ domain: 'example.org' })
    const { seq } = await fleet.invite('bob@example.org')
    expect(effectOf(seq)).toBe('provider corp gives names under @example.org')
  })

  it('shares its domain with no other', async () => {
    await set()
    expect(effectOf(await set({ name: 'other' }))).toBe(
      'another provider gives names under @example.com',
    )
  })
})

describe('a provider of which a later statement is withheld', () => {
  async function shownWithout(seq: number) {
    const page = fleet.directory.page(-1)
    const details = page.details.filter((each) => each.seq !== seq)
    return Directory.restore(fleet.directory.fleet!, { ...page, details })
  }

  it.each([
    ['its removal', { action: 'remove', name: 'corp' }],
    ['fewer groups', corp({ people: { ...corp().people, groups: {} } })],
  ])('is not believed, nor whom it admitted: %s', async (_what, detail) => {
    await set()
    const old = admission(generateSigningKey())
    const seq = await fleet.append({ type: 'oidc', detail: detail as ProviderDetail })
    const seen = await shownWithout(seq)
    expect(seen.state.providers.size).toBe(0)
    expect(seen.admitting([old]).state.users.has(ALICE)).toBe(false)
    const later = await set()
    expect((await shownWithout(seq)).state.providers.get('corp')).toMatchObject({ seq: later })
    await fleet.append({ type: 'revoke', detail: { user: ALICE, reason: '' } })
    const kept = await shownWithout(later)
    expect(kept.state.providers.size).toBe(0)
  })

  it('keeps the names it gives: whom an admin revoked meanwhile stays out', async () => {
    await set()
    const withheld = await set({ maximumAge: 7200 })
    await fleet.append({ type: 'revoke', detail: { user: ALICE, reason: '' } })
    const provider = await set()
    const seen = await shownWithout(withheld)
    const token = admission(generateSigningKey(), { provider, tokenTime: fleet.timeOf() })
    expect(seen.state.providers.get('corp')).toMatchObject({ seq: provider })
    expect(seen.admitting([token]).state.users.has(ALICE)).toBe(false)
  })
})

describe('an admission', () => {
  it('makes a member of whoever has a group that is one, and of nobody else', async () => {
    await set()
    await fleet.member('add', 'group', 'dev')
    const key = generateSigningKey()
    const { state } = fleet.directory.admitting([admission(key)])
    expect(state.isMember(ALICE, CLUSTER)).toBe(true)
    expect(state.isMember(ALICE, OTHER_CLUSTER)).toBe(false)
    expect(state.deviceOwner(key.id)?.user.name).toBe(ALICE)
    expect(fleet.state.isMember(ALICE, CLUSTER)).toBe(false)
  })

  it.each([
    ['of a provider that is another by now', () => ({ provider: 0 })],
    ['of a name outside the domain', () => ({ user: 'alice' })],
    ['of the founder', () => ({ user: 'alice', provider: fleet.state.providers.get('corp')!.seq })],
  ])('%s counts for nothing', async (_what, changes) => {
    await set()
    const key = generateSigningKey()
    const { state } = fleet.directory.admitting([admission(key, changes())])
    expect(state.deviceOwner(key.id)).toBeUndefined()
  })

  it('never takes over a device that somebody was invited with', async () => {
    await set()
    const { state } = fleet.directory.admitting([admission(fleet.alice)])
    expect(state.deviceOwner(fleet.alice.id)?.user.name).toBe('alice')
  })

  it('is carried along as the chain grows, and stays out of what is shown', async () => {
    await set()
    const key = generateSigningKey()
    const own = fleet.directory.admitting([admission(key)])
    const { statement, detail } = await fleet.sign({
      type: 'member',
      detail: { action: 'add', subject: { kind: 'user', name: ALICE }, cluster: CLUSTER },
    })
    const grown = await own.extend({ statements: [statement.text], details: [detail] })
    expect(grown.state.isMember(ALICE, CLUSTER)).toBe(true)
    expect(JSON.stringify(grown.page(-1))).not.toContain(key.id)
  })

  it('ends when its time is over, without anybody saying so', async () => {
    await set()
    let now = fleet.timeOf()
    const admitted = withAdmitted(() => now)
    const list = [admission(generateSigningKey())]
    const before = admitted(fleet.directory, list)
    expect(before.state.users.has(ALICE)).toBe(true)
    expect(admitted(fleet.directory, list)).toBe(before)
    now = list[0]!.until
    expect(admitted(fleet.directory, list).state.users.has(ALICE)).toBe(false)
  })
})

describe('a revocation', () => {
  it('of a provider’s name or of a key that nobody knows is shown to every agent', async () => {
    await set()
    const seqs = [
      await fleet.append({ type: 'revoke', detail: { user: ALICE, reason: '' } }),
      await fleet.append({
        type: 'revoke',
        detail: { device: generateSigningKey().id, reason: '' },
      }),
    ]
    const seen = visibleDetails(fleet.directory, { kind: 'agent', cluster: CLUSTER })
    for (const seq of seqs) {
      expect(effectOf(seq)).toBeUndefined()
      expect(seen.map((each) => each.seq)).toContain(seq)
    }
  })

  it('of a name keeps out every token of before, also when an admin names the user again', async () => {
    await set()
    const key = generateSigningKey()
    const old = admission(key)
    await fleet.append({ type: 'revoke', detail: { user: ALICE, reason: '' } })
    await fleet.member('add', 'user', ALICE)
    expect(fleet.directory.admitting([old]).state.users.has(ALICE)).toBe(false)
    const fresh = admission(key, { tokenTime: fleet.timeOf() })
    expect(fleet.directory.admitting([fresh]).state.isMember(ALICE, CLUSTER)).toBe(true)
  })
})

describe('the end of one’s own device', () => {
  it('may be signed by another device of the same user', async () => {
    const [lost, kept] = [
      await fleet.join('bob', await fleet.invite('bob')),
      await fleet.join('bob', await fleet.invite('bob')),
    ]
    const seq = await fleet.append(
      { type: 'removal', detail: { device: lost.id, reason: 'lost' } },
      [kept],
    )
    expect(effectOf(seq)).toBeUndefined()
    expect(fleet.state.isLiveDevice(lost.id)).toBe(false)
    expect(fleet.state.isLiveDevice(kept.id)).toBe(true)
  })

  it('has no effect for a device of somebody else, an admin’s, or by one that is revoked', async () => {
    const bob = await fleet.join('bob', await fleet.invite('bob'))
    const carol = await fleet.join('carol', await fleet.invite('carol'))
    const other = await fleet.join('alice', await fleet.invite('alice'))
    const end = (device: string, signer: SigningKey) =>
      fleet.append({ type: 'removal', detail: { device, reason: '' } }, [signer])
    expect(effectOf(await end(carol.id, bob))).toBe('it is for a device of somebody else')
    expect(effectOf(await end(fleet.alice.id, other))).toBe('it is for an admin’s device')
    await fleet.append({ type: 'revoke', detail: { device: bob.id, reason: '' } })
    expect(effectOf(await end(bob.id, bob))).toBe('its signer has been revoked')
    expect(fleet.state.isLiveDevice(carol.id)).toBe(true)
  })

  it('is signed by nobody who never joined', async () => {
    const bob = await fleet.join('bob', await fleet.invite('bob'))
    const end = { type: 'removal', detail: { device: bob.id, reason: '' } } as const
    await expect(fleet.append(end, [generateSigningKey()])).rejects.toMatchObject({
      code: 'MCM_DIRECTORY_INVALID',
    })
  })

  it('is shown to the agents of the user’s clusters', async () => {
    const [lost, kept] = [
      await fleet.join('bob', await fleet.invite('bob')),
      await fleet.join('bob', await fleet.invite('bob')),
    ]
    await fleet.member('add', 'user', 'bob')
    const end = { type: 'removal', detail: { device: lost.id, reason: '' } } as const
    const seq = await fleet.append(end, [kept])
    const seen = visibleDetails(fleet.directory, { kind: 'agent', cluster: CLUSTER })
    expect(seen.map((each) => each.seq)).toContain(seq)
  })
})
