import { expect, test } from 'vitest'
import { listProviders, setProvider } from '../../src/device/providers.ts'
import { asAda, type TestFleet } from './fleet.ts'
import { eachWithFleet } from './scene.ts'

let fleet: TestFleet
eachWithFleet((founded) => {
  fleet = founded
})

const people = (secret: { clientSecret?: string }) => ({
  ...{ clientId: 'mcm', ...secret, scopes: ['email'] },
  ...{ userClaim: 'email', groupsClaim: 'groups', groups: { developers: 'dev' } },
})
const set = (secret: { clientSecret?: string } = {}) =>
  asAda(fleet, (session) =>
    setProvider(session, {
      ...{ name: 'corp', issuer: 'https://id.example.com', domain: 'example.com' },
      ...{ maximumAge: 3600, workloads: [], people: people(secret) },
    }),
  )

test('a client secret is in the statement, which everybody reads, and in no list', async () => {
  const provider = await set({ clientSecret: 'not a secret' })
  expect(provider.people).toMatchObject({ clientId: 'mcm', hasClientSecret: true })
  await asAda(fleet, async (session) => {
    expect(JSON.stringify(listProviders(session))).not.toContain('not a secret')
    const { people: stated } = session.directory.state.providers.get('corp')!
    expect(stated?.clientSecret).toBe('not a secret')
  })
})

test('a client without one stays without', async () => {
  expect((await set()).people).toMatchObject({ clientId: 'mcm', hasClientSecret: false })
})
