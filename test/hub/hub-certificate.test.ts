import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { withFleet } from '../../src/device/fleet-session.ts'
import { login } from '../../src/device/login.ts'
import { signHubCertificate } from '../../src/device/sign-hub-certificate.ts'
import { hubIdentity, nextHubIdentity } from '../../src/hub/data.ts'
import { startHub } from '../../src/hub/hub.ts'
import { ensureStartToken } from '../../src/hub/start-token.ts'
import { hubStore, openHubDatabase } from '../../src/hub/store.ts'
import { openSuccessor } from '../../src/hub/successor.ts'
import { HOUR, loginOptions, MovableWorld, newDevice, removeDevices } from '../device/fleet.ts'
import { TestLog } from './stage.ts'

/** A hub that lives through a change of its certificate, and an admin who signs it. */

const ENDPOINTS = ['127.0.0.1:8443']
const world = new MovableWorld()
let directory: string
let stop: () => Promise<void>
let port: number

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mcm-hub-certificate-'))
  port = 0
})
afterEach(async () => {
  await stop()
  await removeDevices()
  await rm(directory, { recursive: true, force: true })
})

async function start(wantsNext = false) {
  const database = await openHubDatabase(join(directory, 'hub.db'))
  const { certificate } = await hubIdentity(world, directory, ENDPOINTS, false)
  const successor = await openSuccessor(world, directory, ENDPOINTS, wantsNext)
  const deps = { world, log: new TestLog(), database, certificate, successor }
  const hub = await startHub(deps, { host: '127.0.0.1', port, version: '1' })
  port = hub.address.port
  stop = async () => {
    await hub.stop()
    await database.destroy()
  }
  return ensureStartToken(hubStore(database), world)
}

test('a certificate is offered, signed, shown from its time on, and still after a restart', async () => {
  const own = await hubIdentity(world, directory, ENDPOINTS, false)
  const token = await start(true)
  const next = await nextHubIdentity(world, directory, ENDPOINTS)
  const ada = await newDevice(world)
  const link = `mcm://127.0.0.1:${port}/start#pin=${own.pin}&token=${token!.reveal()}`
  await login(ada, loginOptions(link, 'ada'))
  const pin = () => withFleet(ada, async ({ connection }) => connection.candidate.pin)
  const signed = await withFleet(ada, (session) => signHubCertificate(session, HOUR))
  expect(signed.pin).toBe(next.pin)
  expect(await pin()).toBe(own.pin)
  world.advance(HOUR)
  await expect.poll(pin).toBe(next.pin)
  await expect
    .poll(async () => (await hubIdentity(world, directory, ENDPOINTS, false)).pin)
    .toBe(next.pin)
  await stop()
  await start()
  expect(await pin()).toBe(next.pin)
})
