import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { addAdmin, removeAdmin } from '../../src/device/admins.ts'
import { requireDeviceKey } from '../../src/device/device-key.ts'
import { revokeDevice, revokeUser } from '../../src/device/revoke.ts'
import { requireState } from '../../src/device/state.ts'
import { Directory } from '../../src/directory/directory.ts'
import { generateSigningKey } from '../../src/directory/signing-key.ts'
import { signStatement } from '../../src/directory/statement.ts'
import { visibleDetails } from '../../src/directory/visibility.ts'
import {
  asAda,
  foundedFleet,
  joinedDevice,
  registeredCluster,
  removeDevices,
  type TestDevice,
  type TestFleet,
} from './fleet.ts'

/** An administrator who was revoked, together with a hub that shows people only what it must. */

let fleet: TestFleet
let bob: TestDevice
let carol: TestDevice

beforeEach(async () => {
  fleet = await foundedFleet()
  await registeredCluster(fleet, 'idc-k8s')
  bob = await joinedDevice(fleet, 'bob')
  carol = await joinedDevice(fleet, 'carol')
  await asAda(fleet, (session) => addAdmin(session, 'bob'))
})

afterEach(async () => {
  await fleet.hub.stop()
  await removeDevices()
})

/** The directory as carol verifies it: the whole chain, and only the details that concern her. */
async function seenByCarol(): Promise<Directory> {
  const { directory } = fleet.hub
  const { id } = (await requireState(carol.home)).device
  const page = directory.page(-1)
  const details = visibleDetails(directory, { kind: 'device', key: id })
  return Directory.restore(directory.fleet!, { ...page, details })
}

/** What bob signs, on top of what carol has seen: himself, or whoever he likes, into any cluster. */
async function signedByBob(seen: Directory) {
  const key = await requireDeviceKey(bob, await requireState(bob.home))
  const detail = { user: 'mallory', groups: [], expires: '2099-01-01T00:00:00Z', bot: false }
  const draft = {
    type: 'invite' as const,
    detail,
    inviteKey: generateSigningKey().id,
    after: seen.head,
    time: fleet.ada.world.now(),
    salt: randomBytes(16),
  }
  const { statement, detail: envelope } = await signStatement(draft, [key])
  return { statements: [statement.text], details: [envelope] }
}

const bobsKey = async () => (await requireState(bob.home)).device.id

test('before, what bob signs is believed by everybody', async () => {
  const seen = await seenByCarol()
  expect(seen.state.admins.has(await bobsKey())).toBe(true)
  await expect(seen.extend(await signedByBob(seen))).resolves.toBeDefined()
})

test.each<[string, () => Promise<unknown>]>([
  ['user', () => asAda(fleet, (session) => revokeUser(session, 'bob', 'left'))],
  [
    'device',
    async () => {
      const { id } = (await requireState(bob.home)).device
      return asAda(fleet, (session) => revokeDevice(session, 'bob', id, 'lost'))
    },
  ],
])(
  'revoked as a %s, nobody believes what he signs, whose revocation they may not read',
  async (_, revoke) => {
    await revoke()
    const seen = await seenByCarol()
    expect([...seen.known.values()].filter((known) => known?.type === 'revoke')).toEqual([])
    expect(seen.state.admins.has(await bobsKey())).toBe(false)
    await expect(seen.extend(await signedByBob(seen))).rejects.toMatchObject({
      code: 'MCM_DIRECTORY_INVALID',
    })
  },
)

test('an administrator is revoked by another one, not by themself', async () => {
  await expect(asAda(fleet, (session) => revokeUser(session, 'ada', ''))).rejects.toMatchObject({
    code: 'MCM_USAGE',
  })
  expect(fleet.hub.directory.state.users.get('ada')?.revoked).toBeUndefined()
})

test('an administrator with two devices can stop being one, own key last', async () => {
  const phone = await joinedDevice(fleet, 'ada')
  await asAda(fleet, (session) => addAdmin(session, 'ada'))
  const keys = [fleet.ada, phone].map(async ({ home }) => (await requireState(home)).device.id)
  const { admins: before } = fleet.hub.directory.state
  for (const key of await Promise.all(keys)) expect(before.has(key)).toBe(true)
  await asAda(fleet, (session) => removeAdmin(session, 'ada'))
  const { admins } = (await seenByCarol()).state
  expect([...admins.keys()]).toEqual([await bobsKey()])
})
