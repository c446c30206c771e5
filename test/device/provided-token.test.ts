import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { REFRESH_TOKEN } from '../../src/device/home.ts'
import { keepTokens, obtainToken } from '../../src/device/provided-token.ts'
import { generateSigningKey } from '../../src/directory/signing-key.ts'
import { browse } from '../client/browse.ts'
import { RealProvider } from '../client/real-provider.ts'
import { MovableWorld, newDevice, type TestDevice } from './fleet.ts'

/** Tokens of a real provider, which takes each refresh token back when it is used. */

const FLEET = 'f'.repeat(43)
const key = generateSigningKey()
let provider: RealProvider
let device: TestDevice
beforeAll(async () => {
  provider = await RealProvider.start()
  provider.account = { email: 'ann@example.com', email_verified: true, groups: [] }
})
afterAll(() => provider.stop())
beforeEach(async () => {
  device = {
    ...(await newDevice(new MovableWorld())),
    openBrowser: async (url: URL) => void (await browse(url)),
  }
})

const trusted = (domain = 'example.com') => ({
  ...{ seq: 1, name: 'corp', issuer: provider.issuer, domain, caDer: provider.caDer },
  ...{ maximumAge: 3600, workloads: [] },
  people: {
    ...{ clientId: 'mcm', scopes: ['email', 'offline_access'] },
    ...{ userClaim: 'email', groupsClaim: 'groups', groups: {} },
  },
})

test('the next refresh token is kept, also where what came with it lets nobody in', async () => {
  const place = { fleet: FLEET, key }
  const first = await obtainToken(device, place, trusted(), { kind: 'person' })
  await keepTokens(device, first)
  const refresh = async (domain?: string) => {
    const refreshToken = (await device.secrets.get(REFRESH_TOKEN))!
    const source = { kind: 'refresh', refreshToken, salt: first.salt } as const
    return obtainToken(device, place, trusted(domain), source)
  }
  await expect(refresh('elsewhere.example')).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
  const kept = await device.secrets.get(REFRESH_TOKEN)
  expect(kept?.reveal()).not.toBe(first.refreshToken?.reveal())
  expect((await refresh()).judged.identity.user).toBe('ann@example.com')
})

test('a refresh token that was used by somebody else ends the login', async () => {
  const place = { fleet: FLEET, key }
  const { refreshToken, salt } = await obtainToken(device, place, trusted(), { kind: 'person' })
  const source = { kind: 'refresh', refreshToken: refreshToken!, salt } as const
  await obtainToken(device, place, trusted(), source)
  await expect(obtainToken(device, place, trusted(), source)).rejects.toMatchObject({
    code: 'MCM_TOKEN_REFUSED',
  })
})
