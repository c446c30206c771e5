import { afterEach, beforeEach } from 'vitest'
import type { FakeAgent } from './fake-agent.ts'
import { foundedFleet, registeredCluster, removeDevices, type TestFleet } from './fleet.ts'

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
