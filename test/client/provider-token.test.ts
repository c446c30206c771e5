import { createHmac, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type TokenHolder, type TokenJudge, tokenJudge } from '../../src/client/provider-token.ts'
import { newTokenSalt, tokenBinding, workloadAudience } from '../../src/protocol/token-binding.ts'
import { ForgedProvider } from './forged-provider.ts'

const FLEET = 'f'.repeat(43)
const DEVICE = 'd'.repeat(43)
const NOW = new Date('2026-03-01T12:00:00Z')
const seconds = (date: Date) => Math.floor(date.getTime() / 1000)

let provider: ForgedProvider
let judge: TokenJudge
const salt = newTokenSalt((count) => randomBytes(count))
const binding = tokenBinding(FLEET, DEVICE, salt)

beforeAll(async () => {
  provider = await ForgedProvider.start()
})
afterAll(() => provider.stop())
beforeEach(() => {
  provider.discovery = {}
  judge = tokenJudge({ now: () => NOW, proxyFor: () => undefined, cooldownMs: 0 })
})

/** Alice's, as it has to be. */
function claims(changes: Record<string, unknown> = {}) {
  const all = {
    iss: provider.issuer,
    aud: 'mcm',
    sub: '1',
    nonce: binding,
    email: 'alice@example.com',
    email_verified: true,
    groups: ['developers', 'system:masters', '__proto__'],
    iat: seconds(NOW),
    exp: seconds(NOW) + 600,
    ...changes,
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}

const holder = (token: string, changes: Partial<TokenHolder> = {}) => ({
  ...{ fleet: FLEET, device: DEVICE, salt, token },
  ...changes,
})
const judged = async (changes: Record<string, unknown> = {}) =>
  judge.judge([provider.trusted()], holder(await provider.sign(claims(changes))))

describe('a person’s token', () => {
  it('gives name, the groups of the mapping and nothing else, and until when it counts', async () => {
    expect(await judged()).toMatchObject({
      provider: 1,
      identity: { user: 'alice@example.com', bot: false, groups: ['dev'] },
      tokenTime: NOW,
      until: new Date(NOW.getTime() + 3_600_000),
    })
  })

  it.each([
    [
      'another issuer',
      { iss: 'https://evil.example.com' },
      'takes none of https://evil.example.com',
    ],
    ['another audience', { aud: 'somebody-else' }, 'takes none of'],
    ['another client beside ours', { aud: ['mcm', 'other'] }, 'given to another client'],
    ['another azp', { azp: 'other' }, 'given to another client'],
    ['no nonce', { nonce: undefined }, 'it has no nonce'],
    ['the nonce of another device', { nonce: 'x'.repeat(43) }, 'for another device'],
    ['an end that is over', { exp: seconds(NOW) - 61 }, '"exp"'],
    ['no end', { exp: undefined }, '"exp"'],
    ['no time', { iat: undefined }, '"iat"'],
    ['a time to come', { iat: seconds(NOW) + 120 }, 'in the future'],
    ['a beginning to come', { nbf: seconds(NOW) + 120 }, '"nbf"'],
    [
      'an age beyond the maximum',
      { iat: seconds(NOW) - 3_601, exp: seconds(NOW) + 9 },
      'older than 3600 s',
    ],
  ])('with %s is refused', async (_what, changes, why) => {
    await expect(judged(changes)).rejects.toThrow(why)
  })

  it.each([
    ['of another domain', { email: 'alice@evil.example' }, 'no name under @example.com'],
    ['with a domain inside a domain', { email: 'a@evil.example@example.com' }, 'no name under'],
    ['of a domain that only ends alike', { email: 'a@notexample.com' }, 'no name under'],
    ['that is a reserved name', { email: 'system:admin@example.com' }, 'no name under'],
    ['that is no text', { email: ['alice@example.com'] }, 'no claim email'],
    ['that nobody verified', { email_verified: false }, 'not verified'],
    ['of which nobody says whether it is verified', { email_verified: undefined }, 'not verified'],
    ['verified by a text', { email_verified: 'true' }, 'not verified'],
  ])('with an address %s lets nobody in', async (_what, changes, why) => {
    await expect(judged(changes)).rejects.toMatchObject({
      code: 'MCM_FORBIDDEN',
      message: expect.stringContaining(why),
    })
  })

  const people = { clientId: 'mcm', userClaim: 'preferred_username', groupsClaim: 'groups' }
  const named = async (changes: Record<string, unknown>, userClaim = people.userClaim) => {
    const trusted = provider.trusted({ people: { ...people, userClaim, groups: {} } })
    return judge.judge([trusted], holder(await provider.sign(claims(changes))))
  }

  it('names two people of one provider two ways, and one person one way only', async () => {
    const alice = await named({ preferred_username: 'alice' })
    expect(alice.identity.user).toBe('alice@example.com')
    await expect(named({ preferred_username: 'alice@example.com' })).rejects.toMatchObject({
      code: 'MCM_FORBIDDEN',
      message: expect.stringContaining('only email may hold an @'),
    })
    await expect(named({ email: 'alice' }, 'email')).rejects.toThrow('no name under @example.com')
  })

  it('of another device, or of this one in another fleet, is refused before a key is fetched', async () => {
    const token = await provider.sign(claims())
    const asked = provider.requests.length
    const fresh = tokenJudge({ now: () => NOW, proxyFor: () => undefined })
    for (const changes of [{ device: 'e'.repeat(43) }, { fleet: 'g'.repeat(43) }, { salt: 'x' }])
      await expect(fresh.judge([provider.trusted()], holder(token, changes))).rejects.toMatchObject(
        { code: 'MCM_TOKEN_REFUSED' },
      )
    expect(provider.requests.length).toBe(asked)
  })
})

describe('a signature', () => {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

  it('that is none at all is refused', async () => {
    const token = `${encode({ alg: 'none' })}.${encode(claims())}.`
    await expect(judge.judge([provider.trusted()], holder(token))).rejects.toThrow('alg')
  })

  it('made by HMAC with the public key as secret is refused', async () => {
    const signed = `${encode({ alg: 'HS256', kid: 'first' })}.${encode(claims())}`
    const secret = JSON.stringify(provider.published.get('first'))
    const mac = createHmac('sha256', secret).update(signed).digest('base64url')
    await expect(judge.judge([provider.trusted()], holder(`${signed}.${mac}`))).rejects.toThrow(
      'alg',
    )
  })

  it('by a key that the token brings along is refused', async () => {
    await provider.addKey('own', { isHidden: true })
    const token = await provider.sign(claims(), { kid: 'own' })
    await expect(judge.judge([provider.trusted()], holder(token))).rejects.toMatchObject({
      code: 'MCM_TOKEN_REFUSED',
    })
  })

  it('of changed claims is refused', async () => {
    const [header, , signature] = (await provider.sign(claims())).split('.')
    const token = `${header}.${encode(claims({ groups: ['platform'] }))}.${signature}`
    await expect(judge.judge([provider.trusted()], holder(token))).rejects.toThrow('signature')
  })

  it('by a key that came with a rotation counts, and one that was taken away does not', async () => {
    await judged()
    await provider.addKey('second', { alg: 'ES256' })
    const token = await provider.sign(claims(), { kid: 'second', alg: 'ES256' })
    expect(await judge.judge([provider.trusted()], holder(token))).toMatchObject({ provider: 1 })
    provider.published.delete('second')
    const later = tokenJudge({ now: () => NOW, proxyFor: () => undefined, cooldownMs: 0 })
    await expect(later.judge([provider.trusted()], holder(token))).rejects.toMatchObject({
      code: 'MCM_TOKEN_REFUSED',
    })
  })

  it.each(['at+jwt', 'logout+jwt'])('on a %s counts for nothing', async (typ) => {
    const token = await provider.sign(claims(), { typ })
    await expect(judge.judge([provider.trusted()], holder(token))).rejects.toThrow(typ)
  })
})

describe('discovery', () => {
  const token = () => provider.sign(claims())

  it('by another name than the statement’s is refused', async () => {
    provider.discovery = { issuer: 'https://evil.example.com' }
    await expect(judge.judge([provider.trusted()], holder(await token()))).rejects.toThrow(
      'calls itself https://evil.example.com',
    )
  })

  it('of keys without TLS is refused', async () => {
    provider.discovery = { jwks_uri: 'http://localhost/keys' }
    await expect(judge.judge([provider.trusted()], holder(await token()))).rejects.toMatchObject({
      code: 'MCM_PROVIDER_UNREACHABLE',
    })
  })

  it('over a certificate that is of no CA we know is refused', async () => {
    const { caDer: _, ...withoutCa } = provider.trusted()
    await expect(judge.judge([withoutCa], holder(await token()))).rejects.toMatchObject({
      code: 'MCM_PROVIDER_UNREACHABLE',
    })
  })

  it('that failed once is tried again', async () => {
    provider.discovery = { jwks_uri: 7 }
    await expect(judge.judge([provider.trusted()], holder(await token()))).rejects.toThrow(
      'says nothing',
    )
    provider.discovery = {}
    expect(await judge.judge([provider.trusted()], holder(await token()))).toBeDefined()
  })
})

describe('a program’s token', () => {
  const rules = [
    { user: 'deploy@example.com', claims: { sub: 'repo:a/b', ref: 'refs/heads/main' } },
    { user: 'test@example.com', claims: { sub: 'repo:a/b', ref: 'refs/heads/test' } },
  ]
  const program = (changes: Record<string, unknown> = {}) =>
    claims({
      aud: workloadAudience(FLEET, binding),
      nonce: undefined,
      email: undefined,
      sub: 'repo:a/b',
      ref: 'refs/heads/main',
      ...changes,
    })
  const trusted = () => provider.trusted({ workloads: rules })

  it('gives the one bot whose claims it has, in no group whatever it says', async () => {
    const token = await provider.sign(program({ groups: ['platform'] }))
    expect((await judge.judge([trusted()], holder(token))).identity).toEqual({
      user: 'deploy@example.com',
      bot: true,
      groups: [],
    })
  })

  it.each([
    ['a claim that is almost the rule’s', { ref: 'refs/heads/main2' }, 'no rule fits'],
    ['a claim that is a list', { ref: ['refs/heads/main'] }, 'no rule fits'],
    [
      'a second audience',
      { aud: [workloadAudience(FLEET, binding), 'other'] },
      'for another device',
    ],
    ['the fleet alone as audience', { aud: `mcm:${FLEET}` }, 'for another device'],
  ])('with %s is refused', async (_what, changes, why) => {
    const token = await provider.sign(program(changes))
    await expect(judge.judge([trusted()], holder(token))).rejects.toThrow(why)
  })

  it('is never a person’s, though it has a person’s audience and nonce', async () => {
    const token = await provider.sign(claims({ sub: 'repo:a/b', ref: 'refs/heads/main' }))
    await expect(judge.judge([trusted()], holder(token))).rejects.toThrow('program’s')
  })

  it('gives no person the name of a program', async () => {
    const token = await provider.sign(claims({ email: 'deploy@example.com' }))
    await expect(judge.judge([trusted()], holder(token))).rejects.toThrow('name of a program')
  })
})
