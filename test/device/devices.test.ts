import { describe, expect, test } from 'vitest'
import { listDevices, removeDevice } from '../../src/device/devices.ts'
import { withFleet } from '../../src/device/fleet-session.ts'
import { login } from '../../src/device/login.ts'
import { setProvider } from '../../src/device/providers.ts'
import { requireState } from '../../src/device/state.ts'
import {
  asAda,
  inviteLink,
  joinedDevice,
  loginOptions,
  newDevice,
  type TestFleet,
} from './fleet.ts'
import { eachWithFleet } from './scene.ts'

let fleet: TestFleet
eachWithFleet((founded) => {
  fleet = founded
})

/** Bob with two machines. */
async function bobTwice() {
  const laptop = await joinedDevice(fleet, 'bob')
  const tablet = await newDevice(fleet.world)
  const options = loginOptions(await inviteLink(fleet, 'bob'))
  await login(tablet, { ...options, deviceName: 'tablet' })
  return { laptop, tablet }
}

test('a person sees their own devices, an administrator everybody’s', async () => {
  const { tablet } = await bobTwice()
  const own = await withFleet(tablet, listDevices)
  expect(own.map(({ user, name, isThis }) => ({ user, name, isThis }))).toEqual([
    { user: 'bob', name: 'laptop', isThis: false },
    { user: 'bob', name: 'tablet', isThis: true },
  ])
  const all = await asAda(fleet, listDevices)
  expect(all.map(({ user, isAdmin }) => ({ user, isAdmin }))).toEqual([
    { user: 'ada', isAdmin: true },
    { user: 'bob', isAdmin: false },
    { user: 'bob', isAdmin: false },
  ])
})

test('whoever has lost a device ends it with another one, and needs no administrator', async () => {
  const { laptop, tablet } = await bobTwice()
  const removed = await withFleet(tablet, (session) =>
    removeDevice(session, { device: 'laptop' }, 'lost on the train'),
  )
  expect(removed).toMatchObject({ user: 'bob', name: 'laptop', problems: [] })
  await expect(withFleet(laptop, listDevices)).rejects.toMatchObject({ code: 'MCM_REVOKED' })
  expect(await withFleet(tablet, listDevices)).toHaveLength(1)
})

test('nobody ends the device they are on, nor one of somebody else', async () => {
  const { tablet } = await bobTwice()
  const { device } = await requireState(fleet.ada.home)
  const remove = (wanted: { device: string; user?: string }) =>
    withFleet(tablet, (session) => removeDevice(session, wanted, ''))
  await expect(remove({ device: 'tablet' })).rejects.toMatchObject({ code: 'MCM_USAGE' })
  await expect(remove({ device: device.id })).rejects.toMatchObject({ code: 'MCM_NOT_FOUND' })
  await expect(remove({ device: 'phone' })).rejects.toMatchObject({
    hint: expect.stringContaining('mcm devices'),
  })
})

test('an administrator ends anybody’s, named well enough', async () => {
  const { laptop } = await bobTwice()
  await joinedDevice(fleet, 'carol')
  await expect(
    asAda(fleet, (session) => removeDevice(session, { device: 'laptop' }, '')),
  ).rejects.toMatchObject({ message: expect.stringContaining('devices match') })
  await asAda(fleet, (session) => removeDevice(session, { user: 'bob', device: 'laptop' }, 'left'))
  await expect(withFleet(laptop, listDevices)).rejects.toMatchObject({ code: 'MCM_REVOKED' })
})

describe('of logins by token the hub’s unsigned list', () => {
  const ANN = 'ann@example.com'
  const STRANGER = 'k'.repeat(43)

  async function withList(...shown: { id: string; user: string }[]) {
    const workloads = [{ user: 'ci@example.com', claims: { sub: 'x' } }]
    const wish = { name: 'corp', issuer: 'https://id.example.com', domain: 'example.com' }
    await asAda(fleet, (session) => setProvider(session, { ...wish, maximumAge: 3600, workloads }))
    const time = '2030-01-01T00:00:00Z'
    const rest = { name: 'old-laptop', bot: false, since: time, until: time }
    fleet.hub.routes.set('GET /v1/devices', () => shown.map((each) => ({ ...each, ...rest })))
  }

  test('names no key that statements know, and nobody under no provider', async () => {
    const bob = await requireState((await joinedDevice(fleet, 'bob')).home)
    const ada = await requireState(fleet.ada.home)
    await withList(
      { id: bob.device.id, user: ANN },
      { id: ada.device.id, user: ANN },
      { id: STRANGER, user: 'bob' },
    )
    const wanted = { user: ANN, device: 'old-laptop' }
    const remove = asAda(fleet, (session) => removeDevice(session, wanted, ''))
    await expect(remove).rejects.toMatchObject({ code: 'MCM_NOT_FOUND' })
    const listed = await asAda(fleet, listDevices)
    expect(listed.map(({ user }) => user).sort()).toEqual(['ada', 'bob'])
  })

  test('is acted on only after the whole id was shown', async () => {
    await withList({ id: STRANGER, user: ANN })
    const before = fleet.hub.directory.head!.seq
    const remove = asAda(fleet, (session) =>
      removeDevice(session, { device: 'old-laptop' }, '', async ({ id }) => {
        throw new Error(`asked about ${id}`)
      }),
    )
    await expect(remove).rejects.toThrow(`asked about ${STRANGER}`)
    expect(fleet.hub.directory.head!.seq).toBe(before)
  })

  test('need not have it: an administrator ends a key by its id and name', async () => {
    await withList()
    fleet.hub.routes.set(`DELETE /v1/devices/${STRANGER}`, () => ({}))
    const wanted = { user: ANN, device: STRANGER }
    const removed = await asAda(fleet, (session) => removeDevice(session, wanted, 'stolen'))
    expect(removed).toMatchObject({ user: ANN, id: STRANGER, isSigned: true })
    const { seq } = fleet.hub.directory.head!
    expect(fleet.hub.directory.details.get(seq)?.text).toContain(STRANGER)
    const invited = { user: 'bob', device: STRANGER }
    await expect(
      asAda(fleet, (session) => removeDevice(session, invited, '')),
    ).rejects.toMatchObject({ code: 'MCM_NOT_FOUND' })
  })
})
