import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { withFleet } from '../../src/device/fleet-session.ts'
import { grantRole } from '../../src/device/grant.ts'
import { createInvite } from '../../src/device/invite.ts'
import { login } from '../../src/device/login.ts'
import { revokeUser } from '../../src/device/revoke.ts'
import { readState } from '../../src/device/state.ts'
import type { Directory } from '../../src/directory/directory.ts'
import { FakeHub } from './fake-hub.ts'
import {
  asAda,
  DAY,
  deviceAt,
  HOUR,
  inviteLink,
  joinedDevice,
  loginOptions,
  MovableWorld,
  newDevice,
  registeredCluster,
  type TestFleet,
} from './fleet.ts'
import { eachWithFleet } from './scene.ts'

let fleet: TestFleet

eachWithFleet((founded) => {
  fleet = founded
})

test('the first administrator founds the fleet, and keeps fleet key and device key here', async () => {
  const state = await readState(fleet.ada.home)
  expect(state).toMatchObject({ user: 'ada', fleet: fleet.hub.directory.fleet, secrets: 'file' })
  expect(fleet.hub.directory.statements.map(({ type }) => type)).toEqual(['fleet', 'hub'])
  expect(fleet.hub.directory.state.admins.has(state!.device.id)).toBe(true)
  expect((await readdir(fleet.ada.home.secrets)).sort()).toEqual(['device-key', 'fleet-key'])
})

test('every file of a login is for its owner alone, and no key stands outside the key directory', async () => {
  const { directory, secrets } = fleet.ada.home
  for (const name of await readdir(directory)) {
    const path = join(directory, name)
    expect((await stat(path)).mode & 0o077).toBe(0)
    if (path !== secrets && (await stat(path)).isFile())
      expect(await readFile(path, 'utf8')).not.toContain('PRIVATE KEY')
  }
})

test('a hub that has a fleet cannot be founded again', async () => {
  const eve = await newDevice(fleet.world)
  const error = await login(eve, loginOptions(fleet.hub.startLink, 'eve')).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_USAGE', exitCode: 2 })
  expect(await readState(eve.home)).toBeUndefined()
})

test('founding whose answer is lost goes on with the same fleet', async () => {
  const world = new MovableWorld()
  const hub = await FakeHub.start(world)
  const ada = await newDevice(world)
  hub.lostAnswers = 1
  await expect(login(ada, loginOptions(hub.startLink, 'ada'))).rejects.toMatchObject({
    exitCode: 6,
  })
  expect(await readState(ada.home)).toBeUndefined()
  const again = await login(ada, loginOptions(hub.startLink, 'ada'))
  expect(again.fleet).toBe(hub.directory.fleet)
  expect(await readdir(ada.home.directory)).not.toContain('pending-login.json')
  await hub.stop()
})

test('a wrong start token founds nothing and leaves nothing', async () => {
  const world = new MovableWorld()
  const hub = await FakeHub.start(world)
  const ada = await newDevice(world)
  const link = hub.startLink.replace(/token=.*/, `token=${'A'.repeat(22)}`)
  await expect(login(ada, loginOptions(link, 'ada'))).rejects.toMatchObject({
    code: 'MCM_FORBIDDEN',
  })
  expect(await readdir(ada.home.directory)).toEqual(['keys'])
  expect(await readdir(ada.home.secrets)).toEqual([])
  await hub.stop()
})

test('an invited person joins and gets a certificate for every cluster they may reach', async () => {
  const first = await registeredCluster(fleet, 'idc-k8s')
  await registeredCluster(fleet, 'other')
  const link = await inviteLink(fleet, 'bob', ['dev'])
  await asAda(fleet, (session) =>
    grantRole(session, { subject: { kind: 'group', name: 'dev' }, role: 'ro' }, ['idc-k8s']),
  )
  const bob = await newDevice(fleet.world)
  const result = await login(bob, loginOptions(link))
  expect(result).toMatchObject({ user: 'bob', groups: ['dev'], isFounder: false })
  expect(result.clusters).toMatchObject([{ name: 'idc-k8s', id: first.id }])
  expect(result.clusters[0]!.certificateUntil).toBeDefined()
  const owner = fleet.hub.directory.state.deviceOwner(result.device.id)
  expect(owner?.user.name).toBe('bob')
})

test('the invite secret is sent to nobody', async () => {
  const link = await inviteLink(fleet, 'bob')
  const secret = /secret=(.+)$/.exec(link)![1]!
  const bob = await newDevice(fleet.world)
  await login(bob, loginOptions(link))
  const everything = JSON.stringify([fleet.hub.directory.page(-1), fleet.hub.requests])
  expect(everything).not.toContain(secret)
})

test('a cluster that is down is reported, and the login stands', async () => {
  const agent = await registeredCluster(fleet, 'idc-k8s')
  await registeredCluster(fleet, 'edge')
  const link = await inviteLink(fleet, 'bob')
  await asAda(fleet, (session) =>
    grantRole(session, { subject: { kind: 'user', name: 'bob' }, role: 'ro' }, ['idc-k8s', 'edge']),
  )
  fleet.hub.agents.delete(agent.id)
  const bob = await newDevice(fleet.world)
  const { clusters } = await login(bob, loginOptions(link))
  expect(clusters.map(({ name, problem }) => [name, problem === undefined])).toEqual([
    ['edge', true],
    ['idc-k8s', false],
  ])
  expect(clusters[1]!.problem).toContain('no agent')
})

test('logging in again with the same link is harmless and fetches what is missing', async () => {
  const link = await inviteLink(fleet, 'bob')
  const bob = await newDevice(fleet.world)
  const first = await login(bob, loginOptions(link))
  const again = await login(bob, loginOptions(link))
  expect(again.device).toEqual(first.device)
  expect(fleet.hub.directory.state.users.get('bob')!.devices.size).toBe(1)
})

test('a second fleet on the same machine is refused, with the way out', async () => {
  const world = new MovableWorld()
  const other = await FakeHub.start(world)
  const error = await login(fleet.ada, loginOptions(other.startLink, 'ada')).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_USAGE' })
  expect(error.hint).toContain('MCM_HOME')
  await other.stop()
})

test('an invite works once: the second machine is told, and nothing is written there', async () => {
  const link = await inviteLink(fleet, 'bob')
  await login(await newDevice(fleet.world), loginOptions(link))
  const eve = await newDevice(fleet.world)
  const error = await login(eve, loginOptions(link)).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_INVITE_USED', exitCode: 4 })
  expect(await readdir(eve.home.directory)).toEqual([])
})

test('of two machines that use one invite at once, one joins and one is told', async () => {
  const link = await inviteLink(fleet, 'bob')
  const outcomes = await Promise.allSettled(
    (await Promise.all([1, 2].map(() => newDevice(fleet.world)))).map((device) =>
      login(device, loginOptions(link)),
    ),
  )
  expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  expect(fleet.hub.directory.state.users.get('bob')!.devices.size).toBe(1)
})

test('an expired invite is refused before anything is written or sent', async () => {
  const link = await inviteLink(fleet, 'bob')
  fleet.world.advance(DAY + HOUR)
  const bob = await newDevice(fleet.world)
  fleet.hub.requests.length = 0
  const error = await login(bob, loginOptions(link)).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_INVITE_EXPIRED', exitCode: 4 })
  expect(error.message).toContain('bob')
  expect(await readdir(bob.home.directory)).toEqual([])
  expect(fleet.hub.requests.every((request) => request.startsWith('GET'))).toBe(true)
})

test('the invite of somebody who was revoked meanwhile is worth nothing', async () => {
  const link = await inviteLink(fleet, 'bob')
  await asAda(fleet, (session) => revokeUser(session, 'bob', 'left'))
  const bob = await newDevice(fleet.world)
  await expect(login(bob, loginOptions(link))).rejects.toMatchObject({ code: 'MCM_INVITE_EXPIRED' })
})

test('joining whose answer is lost goes on with the same key, and the invite is not spent in vain', async () => {
  const link = await inviteLink(fleet, 'bob')
  const bob = await newDevice(fleet.world)
  fleet.hub.lostAnswers = 1
  await expect(login(bob, loginOptions(link))).rejects.toMatchObject({ exitCode: 6 })
  expect(await readState(bob.home)).toBeUndefined()
  const sameMachine = await deviceAt(bob.home.directory, fleet.world)
  const result = await login(sameMachine, loginOptions(link))
  expect(result.user).toBe('bob')
  expect(fleet.hub.directory.state.users.get('bob')!.devices.size).toBe(1)
  expect(await readdir(bob.home.directory)).not.toContain('pending-login.json')
})

test('a faster statement of somebody else only makes the device sign again', async () => {
  const link = await inviteLink(fleet, 'bob')
  const bob = await newDevice(fleet.world)
  fleet.hub.beforeAppend = async () => void (await inviteLink(fleet, 'carol'))
  expect((await login(bob, loginOptions(link))).user).toBe('bob')
})

test('a hub with another certificate is not talked to', async () => {
  const other = await FakeHub.start(fleet.world)
  const link = (await inviteLink(fleet, 'bob')).replace(fleet.hub.endpoint, other.endpoint)
  const bob = await newDevice(fleet.world)
  const error = await login(bob, loginOptions(link)).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_PIN_MISMATCH', exitCode: 7 })
  expect(other.requests).toEqual([])
  expect(await readdir(bob.home.directory)).toEqual([])
  await other.stop()
})

test('endpoints are tried in order: the second one serves when the first is dead', async () => {
  const link = (await inviteLink(fleet, 'bob')).replace('mcm://', 'mcm://127.0.0.1:1,')
  const bob = await newDevice(fleet.world)
  expect((await login(bob, loginOptions(link))).user).toBe('bob')
})

test('when no endpoint answers all of them are named', async () => {
  const link = (await inviteLink(fleet, 'bob')).replace(
    fleet.hub.endpoint,
    '127.0.0.1:1,127.0.0.1:2',
  )
  const error = await login(await newDevice(fleet.world), loginOptions(link)).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_HUB_UNREACHABLE', exitCode: 6 })
  expect(error.message).toContain('127.0.0.1:1')
  expect(error.message).toContain('127.0.0.1:2')
})

test('a hub that serves another fleet than the link names is refused', async () => {
  const link = await inviteLink(fleet, 'bob')
  fleet.hub.claimedFleet = 'A'.repeat(43)
  const bob = await newDevice(fleet.world)
  const error = await login(bob, loginOptions(link)).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_DIRECTORY_INVALID', exitCode: 7 })
  expect(await readdir(bob.home.directory)).toEqual([])
})

test.each([
  ['drops the genesis', (page: Page) => ({ ...page, statements: page.statements.slice(1) })],
  ['drops the invite', (page: Page) => withoutLast(page)],
  ['edits a signature', (page: Page) => ({ ...page, statements: page.statements.map(flip) })],
  ['names another head', (page: Page) => ({ ...page, head: { seq: 1, hash: 'A'.repeat(43) } })],
  ['edits a detail', (page: Page) => ({ ...page, details: page.details.map(renamed) })],
])('a hub that %s is refused before anything is written', async (_what, tamper) => {
  const link = await inviteLink(fleet, 'bob')
  fleet.hub.tamper = tamper as never
  const bob = await newDevice(fleet.world)
  const error = await login(bob, loginOptions(link)).catch((e) => e)
  expect([4, 7]).toContain(error.exitCode)
  expect(await readdir(bob.home.directory)).toEqual([])
})

test('a clock that is ten minutes off is said with both times, before anything is written', async () => {
  const link = await inviteLink(fleet, 'bob')
  fleet.hub.skewMs = -11 * 60_000
  const bob = await newDevice(fleet.world)
  const error = await login(bob, loginOptions(link)).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_CLOCK_SKEW', exitCode: 7 })
  expect(error.message.match(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g)).toHaveLength(2)
  expect(error.message).toContain('11 minutes ahead')
  expect(await readdir(bob.home.directory)).toEqual([])
})

test('without a link a device that is logged in renews everything', async () => {
  const agent = await registeredCluster(fleet, 'idc-k8s')
  const before = agent.issued
  const { link: _link, ...options } = loginOptions(fleet.hub.startLink)
  expect((await login(fleet.ada, options)).clusters).toHaveLength(1)
  expect(agent.issued).toBe(before + 1)
})

test('a second device keeps the groups of the first, unless the invite says otherwise', async () => {
  await joinedDevice(fleet, 'bob', ['dev'])
  const options = { user: 'bob', expiresInMs: HOUR, bot: false }
  await withFleet(fleet.ada, (session) => createInvite(session, options))
  expect(fleet.hub.directory.state.users.get('bob')!.groups).toEqual(['dev'])
})

type Page = ReturnType<Directory['page']>

function flip(text: string): string {
  return text.replace(
    /"signature":"(.)/,
    (_all, first) => `"signature":"${first === 'A' ? 'B' : 'A'}`,
  )
}

function renamed<T extends { text: string }>(detail: T): T {
  return { ...detail, text: detail.text.replace('bob', 'eve') }
}

function withoutLast(page: Page): Page {
  const statements = page.statements.slice(0, -1)
  const details = page.details.filter(({ seq }) => seq < statements.length)
  return { ...page, statements, details }
}
