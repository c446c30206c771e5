import { readdir } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { listClusters, removeCluster, showCluster } from '../../src/device/clusters.ts'
import { withFleet } from '../../src/device/fleet-session.ts'
import { registrationPath } from '../../src/device/home.ts'
import { completeRegistration, prepareRegistration } from '../../src/device/register.ts'
import { readRegistration } from '../../src/device/registration.ts'
import { Secret } from '../../src/secret.ts'
import { asAda, deviceAt, HOUR, joinedDevice, registeredCluster, type TestFleet } from './fleet.ts'
import { eachWithFleet } from './scene.ts'

let fleet: TestFleet

eachWithFleet((founded) => {
  fleet = founded
})

const options = (name: string) => ({ name, labels: { region: 'eu' }, endpoint: 'public' }) as const
const prepare = (name: string) =>
  asAda(fleet, (session) => prepareRegistration(session, options(name)))

test('a registered cluster stands in the directory with what the agent published, and its owner reaches it', async () => {
  const { registration } = await prepare('idc-k8s')
  const agent = await fleet.hub.registerAgent(registration.id, registration.pairingSecret)
  const done = await asAda(fleet, (session) => completeRegistration(session, options('idc-k8s'), 0))
  expect(done).toMatchObject({ id: agent.id, name: 'idc-k8s', labels: { region: 'eu' } })
  expect(done.certificateUntil).toBeDefined()
  const cluster = fleet.hub.directory.state.clusters.get(agent.id)!
  expect(cluster.serverCaDer.equals(agent.serverCa.certificateDer)).toBe(true)
  expect(cluster.agentKey).toBe(agent.key.id)
  expect(fleet.hub.directory.state.isMember('ada', agent.id)).toBe(true)
})

test('the manifest carries what the agent needs, and the pairing secret goes nowhere else', async () => {
  const { registration, objects } = await prepare('idc-k8s')
  const text = JSON.stringify(objects)
  const pairing = registration.pairingSecret.reveal()
  expect(Buffer.from(pairing, 'base64url')).toHaveLength(32)
  expect(text).toContain(Buffer.from(pairing).toString('base64'))
  expect(text).toContain(
    Buffer.from(JSON.stringify({ endpoints: [fleet.hub.endpoint], pin: fleet.hub.pin })).toString(
      'base64',
    ),
  )
  expect(JSON.stringify([fleet.hub.requests, fleet.hub.directory.page(-1)])).not.toContain(pairing)
})

test('running it again goes on with the same id and the same secrets', async () => {
  const first = await prepare('idc-k8s')
  const again = await withFleet(await deviceAt(fleet.ada.home.directory, fleet.world), (session) =>
    prepareRegistration(session, options('idc-k8s')),
  )
  expect(again.isResumed).toBe(true)
  expect(again.registration.id).toBe(first.registration.id)
  expect(again.registration.pairingSecret.reveal()).toBe(first.registration.pairingSecret.reveal())
})

test('when no agent comes in time the error says how to go on, and nothing is lost', async () => {
  await prepare('idc-k8s')
  const error = await asAda(fleet, (session) =>
    completeRegistration(session, options('idc-k8s'), 0),
  ).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_TIMEOUT', exitCode: 6 })
  expect(error.hint).toContain('mcm register idc-k8s')
  expect(await readRegistration(fleet.ada, 'idc-k8s')).toBeDefined()
})

test('a registration whose token ran out is begun anew', async () => {
  const first = await prepare('idc-k8s')
  fleet.world.advance(2 * HOUR)
  const again = await prepare('idc-k8s')
  expect(again.isResumed).toBe(false)
  expect(again.registration.id).not.toBe(first.registration.id)
})

test('interrupted after the signature it only finishes', async () => {
  const { registration } = await prepare('idc-k8s')
  await fleet.hub.registerAgent(registration.id, registration.pairingSecret)
  fleet.hub.lostAnswers = 1
  await expect(
    asAda(fleet, (session) => completeRegistration(session, options('idc-k8s'), 0)),
  ).rejects.toMatchObject({ exitCode: 6 })
  const head = fleet.hub.directory.head
  await prepare('idc-k8s')
  const done = await asAda(fleet, (session) => completeRegistration(session, options('idc-k8s'), 0))
  expect(done.id).toBe(registration.id)
  expect(fleet.hub.directory.head).toEqual(head)
})

test('afterwards neither pairing secret nor join token is left here', async () => {
  const agent = await registeredCluster(fleet, 'idc-k8s')
  const names = await readdir(fleet.ada.home.secrets)
  expect(names.filter((name) => /pairing|join/.test(name))).toEqual([])
  expect(await readdir(fleet.ada.home.registrations)).toEqual([])
  expect(names.some((name) => name.includes(agent.id))).toBe(true)
})

test('a hub that substitutes its own CA at registration is found out, and nothing is signed', async () => {
  const { registration } = await prepare('idc-k8s')
  await fleet.hub.registerAgent(registration.id, new Secret('B'.repeat(43)))
  const head = fleet.hub.directory.head
  await expect(
    asAda(fleet, (session) => completeRegistration(session, options('idc-k8s'), 0)),
  ).rejects.toMatchObject({ code: 'MCM_PAIRING_MISMATCH', exitCode: 7 })
  expect(fleet.hub.directory.head).toEqual(head)
})

test('a publication for another cluster is refused', async () => {
  const { registration } = await prepare('idc-k8s')
  const agent = await fleet.hub.registerAgent('c-aaaaaaaaaa', registration.pairingSecret)
  fleet.hub.publications.set(registration.id, await agent.publication(registration.pairingSecret))
  await expect(
    asAda(fleet, (session) => completeRegistration(session, options('idc-k8s'), 0)),
  ).rejects.toMatchObject({ code: 'MCM_PAIRING_MISMATCH' })
})

test('an id that another cluster has is refused before anything is written', async () => {
  const agent = await registeredCluster(fleet, 'idc-k8s')
  fleet.hub.clusterIds = [agent.id]
  await expect(prepare('other')).rejects.toMatchObject({ code: 'MCM_DIRECTORY_INVALID' })
  expect(await readRegistration(fleet.ada, 'other')).toBeUndefined()
})

test.each(['../../etc', 'c-x/y'])('an id like %s from the hub never becomes a path', async (id) => {
  fleet.hub.clusterIds = [id]
  await expect(prepare('other')).rejects.toMatchObject({ code: 'MCM_DIRECTORY_INVALID' })
})

test('a name that is taken is refused, with the way out', async () => {
  await registeredCluster(fleet, 'idc-k8s')
  const error = await prepare('idc-k8s').catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_USAGE', exitCode: 2 })
  expect(error.hint).toContain('mcm clusters remove idc-k8s')
})

test('only an administrator may register', async () => {
  const bob = await joinedDevice(fleet, 'bob')
  const error = await withFleet(bob, (session) => prepareRegistration(session, options('x'))).catch(
    (e) => e,
  )
  expect(error).toMatchObject({ code: 'MCM_FORBIDDEN', exitCode: 5 })
  expect(error.hint).toContain('ada')
})

test('a damaged registration file is named with a next step', async () => {
  await prepare('idc-k8s')
  const { writeFile } = await import('node:fs/promises')
  await writeFile(registrationPath(fleet.ada.home, 'idc-k8s'), 'nonsense')
  await expect(prepare('idc-k8s')).rejects.toMatchObject({ code: 'MCM_STATE_DAMAGED', exitCode: 8 })
})

test('the list shows what the directory and the hub say, removing ends it', async () => {
  const agent = await registeredCluster(fleet, 'idc-k8s')
  const [listed] = await asAda(fleet, listClusters)
  expect(listed).toMatchObject({ name: 'idc-k8s', status: 'connected', isMember: true })
  const shown = await asAda(fleet, (session) => showCluster(session, agent.id))
  expect(shown.members).toEqual([{ kind: 'user', name: 'ada' }])
  const removed = await asAda(fleet, (session) => removeCluster(session, 'idc-k8s', 'old'))
  expect(removed.left.join()).toContain('mcm-system')
  expect(await asAda(fleet, listClusters)).toEqual([])
  const keys = await readdir(fleet.ada.home.secrets)
  expect(keys.filter((name) => name.includes(agent.id))).toEqual([])
})

test('an agent that may speak for anybody is marked wherever the cluster is listed', async () => {
  const wide = { ...options('wide'), impersonateAny: true }
  const { registration } = await asAda(fleet, (session) => prepareRegistration(session, wide))
  await fleet.hub.registerAgent(registration.id, registration.pairingSecret)
  await asAda(fleet, (session) => completeRegistration(session, wide, 0))
  expect((await asAda(fleet, listClusters))[0]).toMatchObject({ impersonatesAny: true })
})
