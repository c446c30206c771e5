import { afterEach, beforeEach } from 'vitest'
import { grantRole } from '../../src/device/grant.ts'
import type { FakeAgent } from './fake-agent.ts'
import {
  asAda,
  foundedFleet,
  joinedDevice,
  registeredCluster,
  removeDevices,
  type TestDevice,
  type TestFleet,
} from './fleet.ts'

/** What most tests of a person's machine begin with. */

/** A founded fleet for each test of a file, taken away after it. */
export function eachWithFleet(take: (fleet: TestFleet) => void): void {
  let hub: TestFleet['hub'] | undefined
  beforeEach(async () => {
    const fleet = await foundedFleet()
    hub = fleet.hub
    take(fleet)
  })
  afterEach(async () => {
    await hub?.stop()
    await removeDevices()
  })
}

/** The same with cluster idc-k8s in it, and its agent. */
export function eachWithCluster(take: (fleet: TestFleet, agent: FakeAgent) => void): void {
  let fleet: TestFleet
  eachWithFleet((founded) => {
    fleet = founded
  })
  beforeEach(async () => take(fleet, await registeredCluster(fleet, 'idc-k8s')))
}

/** Somebody who has joined and may read everything in idc-k8s. */
export async function readersDevice(fleet: TestFleet, user: string): Promise<TestDevice> {
  const device = await joinedDevice(fleet, user)
  const grant = { subject: { kind: 'user', name: user }, role: 'ro' } as const
  await asAda(fleet, (session) => grantRole(session, grant, ['idc-k8s']))
  return device
}
