import { describe, expect, test } from 'vitest'
import { appendStatements, signDrafts } from '../../src/device/append.ts'
import { type FleetSession, openFleet, withFleet } from '../../src/device/fleet-session.ts'
import { type HubCandidate, hubCandidates } from '../../src/device/hub-connection.ts'
import {
  signHubCertificate,
  signHubCertificateWhenDue,
} from '../../src/device/sign-hub-certificate.ts'
import { withUpkeep } from '../../src/device/upkeep.ts'
import { UsageError } from '../../src/errors.ts'
import { createHubCertificate } from '../../src/pki/hub-certificate.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import { asAda, HOUR, joinedDevice, type TestFleet } from './fleet.ts'
import { eachWithFleet } from './scene.ts'

let fleet: TestFleet

eachWithFleet((founded) => {
  fleet = founded
})

async function nextCertificate(laterMs = -HOUR, endpoint = '127.0.0.1:8443') {
  const { privateKeyPem } = generateKeyPair()
  const now = () => new Date(fleet.world.now().getTime() + laterMs)
  const world = { now, random: (count: number) => fleet.world.random(count) }
  const { pem, der } = await createHubCertificate(world, privateKeyPem, [endpoint])
  return { pem, der, privateKeyPem, pin: sha256(der) }
}

/** Offered by the hub and signed by ada. */
async function signedNext(overlapMs = HOUR) {
  const next = await nextCertificate()
  fleet.hub.nextCertificate = next.der.toString('base64')
  const signed = await asAda(fleet, (session) => signHubCertificate(session, overlapMs))
  return { ...next, signed }
}

const pinSeenBy = (device: TestFleet['ada']) =>
  withFleet(device, async ({ connection }) => connection.candidate.pin)

test('what the hub has ready is signed with the one of now beside it', async () => {
  const { pin, signed } = await signedNext()
  expect(signed.pin).toBe(pin)
  const [hub] = fleet.hub.directory.state.hubs
  expect(hub).toMatchObject({ pin, previous: { pin: fleet.hub.pin } })
  expect(hub!.previous!.until.toISOString()).toContain(signed.from!.slice(0, 19))
  expect(await pinSeenBy(fleet.ada)).toBe(fleet.hub.pin)
})

test('whoever heard of it goes on when the hub changes over', async () => {
  const { pem, privateKeyPem, pin } = await signedNext()
  fleet.hub.showCertificate(pem, privateKeyPem)
  expect(await pinSeenBy(fleet.ada)).toBe(pin)
})

test('whoever slept through it learns it from the chain, and from then on by pin', async () => {
  const bob = await joinedDevice(fleet, 'bob')
  const { pem, privateKeyPem, pin } = await signedNext()
  fleet.hub.showCertificate(pem, privateKeyPem)
  fleet.world.advance(2 * HOUR)
  expect(await pinSeenBy(bob)).toBe(pin)
  const connections = fleet.hub.connections
  expect(await pinSeenBy(bob)).toBe(pin)
  expect(fleet.hub.connections).toBe(connections + 1)
})

test('a hub with a certificate that nobody signed is asked for the directory and nothing else', async () => {
  const bob = await joinedDevice(fleet, 'bob')
  const other = await nextCertificate()
  fleet.hub.showCertificate(other.pem, other.privateKeyPem)
  fleet.hub.requests.length = 0
  await expect(pinSeenBy(bob)).rejects.toMatchObject({ code: 'MCM_PIN_MISMATCH' })
  expect(new Set(fleet.hub.requests)).toEqual(new Set(['GET /v1/directory']))
})

test('a chain that was tampered with proves nothing', async () => {
  const bob = await joinedDevice(fleet, 'bob')
  const { pem, privateKeyPem } = await signedNext()
  fleet.hub.showCertificate(pem, privateKeyPem)
  fleet.hub.tamper = (page) => ({ ...page, statements: page.statements.map((text) => `${text} `) })
  await expect(pinSeenBy(bob)).rejects.toMatchObject({ code: 'MCM_PIN_MISMATCH' })
})

test('nothing is signed where nothing is ready, nor twice, nor by anybody', async () => {
  const sign = (device = fleet.ada) =>
    withFleet(device, (session) => signHubCertificate(session, HOUR))
  await expect(sign()).rejects.toMatchObject({
    hint: expect.stringContaining('--next-certificate'),
  })
  const bob = await joinedDevice(fleet, 'bob')
  await expect(sign(bob)).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
  await signedNext()
  await expect(sign()).rejects.toMatchObject({ message: expect.stringContaining('is signed') })
})

test('a certificate that is no hub’s is not signed', async () => {
  fleet.hub.nextCertificate = Buffer.from('nonsense').toString('base64')
  const sign = asAda(fleet, (session) => signHubCertificate(session, HOUR))
  await expect(sign).rejects.toMatchObject({ code: 'MCM_CERTIFICATE_UNTRUSTED' })
})

describe('a hub whose certificate is in the last third of its life', () => {
  const YEAR = 365 * 24 * HOUR

  test('gets the next one signed by whatever an administrator does, once, and by nobody else', async () => {
    const bob = await joinedDevice(fleet, 'bob')
    const next = await nextCertificate(7 * YEAR)
    fleet.hub.nextCertificate = next.der.toString('base64')
    const due = (device = fleet.ada) => withFleet(device, signHubCertificateWhenDue)
    await due()
    expect(fleet.hub.directory.state.hubs[0]!.previous).toBeUndefined()
    fleet.world.advance(7 * YEAR)
    await due(bob)
    expect(fleet.hub.directory.state.hubs[0]!.previous).toBeUndefined()
    await due()
    const [hub] = fleet.hub.directory.state.hubs
    expect(hub).toMatchObject({ pin: next.pin, previous: { pin: fleet.hub.pin } })
    const days = (hub!.previous!.until.getTime() - fleet.world.now().getTime()) / (24 * HOUR)
    expect(Math.round(days)).toBe(30)
    await due()
    expect(fleet.hub.directory.state.hubs[0]!.seq).toBe(hub!.seq)
  })

  test('that has none ready is nobody’s obstacle, and nothing is said of it', async () => {
    fleet.world.advance(7 * YEAR)
    await asAda(fleet, signHubCertificateWhenDue)
    expect(fleet.ada.said.join()).not.toContain('certificate of the hub')
  })

  const asCommand = <T>(work: (session: FleetSession) => Promise<T>) =>
    asAda(fleet, (session) => withUpkeep(session, work))
  const previous = () => fleet.hub.directory.state.hubs[0]!.previous

  test('gets it signed after the work of a command, which waits for nothing', async () => {
    fleet.hub.nextCertificate = (await nextCertificate(7 * YEAR)).der.toString('base64')
    fleet.world.advance(7 * YEAR)
    expect(await asCommand(async () => previous())).toBeUndefined()
    expect(previous()).toMatchObject({ pin: fleet.hub.pin })
  })

  test('gets none signed by a command that fails, whose own error is what is said', async () => {
    fleet.hub.nextCertificate = (await nextCertificate(7 * YEAR)).der.toString('base64')
    fleet.world.advance(7 * YEAR)
    const failing = asCommand(() => Promise.reject(new UsageError('MCM_USAGE', 'no such thing')))
    await expect(failing).rejects.toMatchObject({ message: 'no such thing' })
    expect(previous()).toBeUndefined()
  })

  test.each([
    ['that is none', async () => Buffer.from('nonsense')],
    ['of another host', async () => (await nextCertificate(7 * YEAR, 'evil.example.com:1')).der],
    ['of a clock that is ahead', async () => (await nextCertificate(7 * YEAR + HOUR)).der],
  ])(
    'hinders no command with a next certificate %s: it is not signed, and said',
    async (_, make) => {
      fleet.hub.nextCertificate = (await make()).toString('base64')
      fleet.world.advance(7 * YEAR)
      expect(await asCommand(async () => 'done')).toBe('done')
      expect(fleet.ada.said.join()).toMatch(/is not signed: the hub's certificate is refused/)
      expect(previous()).toBeUndefined()
    },
  )

  test('gets nothing signed beside what a command has appended, when it shows the directory of before', async () => {
    await joinedDevice(fleet, 'bob')
    fleet.hub.nextCertificate = (await nextCertificate(7 * YEAR)).der.toString('base64')
    fleet.world.advance(7 * YEAR)
    let before = fleet.hub.directory
    const revoking = asCommand(async (session) => {
      before = fleet.hub.directory
      const detail = { user: 'bob', reason: '' }
      await appendStatements(session, ({ key }) => [{ type: 'revoke', detail, signers: [key] }])
      fleet.hub.directory = before
    })
    await revoking
    expect(fleet.ada.said.join()).toMatch(/is not signed: the hub shows a directory that ends at/)
    expect(fleet.hub.directory.head).toEqual(before.head)
  })
})

test('a certificate that was replaced at once is over at once: nobody tries its pin any more', async () => {
  const stolen = fleet.hub.pin
  const { pem, privateKeyPem, pin } = await nextCertificate()
  fleet.hub.showCertificate(pem, privateKeyPem)
  const bold = (candidates: HubCandidate[]) => candidates.map((each) => ({ ...each, pin }))
  const session = await openFleet(fleet.ada, bold)
  expect((await signHubCertificate(session, HOUR)).from).toBeUndefined()
  session.hub.close()
  await withFleet(fleet.ada, async ({ state, directory }) => {
    const pins = hubCandidates(state, directory, fleet.world.now()).map((each) => each.pin)
    expect(pins).toContain(pin)
    expect(pins).not.toContain(stolen)
  })
})

test('an administrator who signs it while another changes where the hub is undoes nothing', async () => {
  const next = await nextCertificate()
  fleet.hub.nextCertificate = next.der.toString('base64')
  const [hub] = fleet.hub.directory.state.hubs
  const moved = ['127.0.0.1:1', ...hub!.endpoints]
  fleet.hub.beforeAppend = () =>
    asAda(fleet, async ({ device, directory, key }) => {
      const certificate = hub!.certificateDer.toString('base64')
      const detail = { endpoints: moved, privateEndpoints: [], certificate }
      const drafts = [{ type: 'hub', detail, signers: [key] }] as const
      const update = await signDrafts(device.world, directory.head, drafts)
      fleet.hub.directory = await directory.extend(update)
    })
  await asAda(fleet, (session) => signHubCertificate(session, HOUR))
  expect(fleet.hub.directory.state.hubs[0]).toMatchObject({ pin: next.pin, endpoints: moved })
})
