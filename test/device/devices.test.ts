import { expect, test } from 'vitest'
import { listDevices, removeDevice } from '../../src/device/devices.ts'
import { withFleet } from '../../src/device/fleet-session.ts'
import { login } from '../../src/device/login.ts'
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
