import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { withFleet } from '../../src/device/fleet-session.ts'
import { localProxy } from '../../src/device/local-proxy.ts'
import { logout } from '../../src/device/logout.ts'
import { prepareRegistration } from '../../src/device/register.ts'
import { Secret } from '../../src/secret.ts'
import type { SecretStore } from '../../src/store/secrets.ts'
import { foundedFleet, registeredCluster, removeDevices, type TestFleet } from './fleet.ts'

let fleet: TestFleet

beforeEach(async () => {
  fleet = await foundedFleet()
  await registeredCluster(fleet, 'idc-k8s')
  await localProxy(fleet.ada)
})

afterEach(async () => {
  await fleet.hub.stop()
  await removeDevices()
})

test('everything of mcm goes, and each thing is named', async () => {
  const { deleted } = await logout(fleet.ada)
  expect(await readdir(fleet.ada.home.directory)).toEqual([])
  expect(deleted).toContain(join(fleet.ada.home.secrets, 'device-key'))
  expect(deleted).toContain(join(fleet.ada.home.secrets, 'fleet-key'))
  expect(deleted).toContain(fleet.ada.home.state)
})

test('files of others in that directory stay', async () => {
  const own = join(fleet.ada.home.directory, 'notes.txt')
  await writeFile(own, 'mine')
  await logout(fleet.ada)
  expect(await readdir(fleet.ada.home.directory)).toEqual(['notes.txt'])
})

test('it is the way out of damaged state, and harmless a second time', async () => {
  await writeFile(fleet.ada.home.state, 'nonsense')
  await logout(fleet.ada)
  expect(await logout(fleet.ada)).toEqual({ deleted: [] })
})

test('in a keychain the secrets of a registration under way go as well', async () => {
  const items = new Map<string, Secret<string>>()
  const secrets: SecretStore = {
    kind: 'keychain',
    get: async (name) => items.get(name) ?? fleet.ada.secrets.get(name),
    set: async (name, value) => void items.set(name, value),
    delete: async (name) => items.delete(name),
  }
  const device = { ...fleet.ada, secrets }
  const options = { name: 'edge', labels: {}, endpoint: 'public' } as const
  await withFleet(device, (session) => prepareRegistration(session, options))
  items.set('device-key', new Secret('x'))
  expect(items.size).toBe(3)
  const { deleted } = await logout(device)
  expect([...items.keys()]).toEqual([])
  expect(deleted).toContain('keychain: device-key')
})
