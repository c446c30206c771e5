import { expect, test } from 'vitest'
import { readCertificateFile } from '../../src/device/certificate-file.ts'
import { certificatePath } from '../../src/device/home.ts'
import { login } from '../../src/device/login.ts'
import { whoami } from '../../src/device/whoami.ts'
import type { FakeAgent } from './fake-agent.ts'
import { DAY, type TestFleet } from './fleet.ts'
import { eachWithCluster } from './scene.ts'

let fleet: TestFleet
let agent: FakeAgent

eachWithCluster((founded, registered) => {
  fleet = founded
  agent = registered
})

async function forgetCertificate(): Promise<void> {
  const file = await readCertificateFile(certificatePath(fleet.ada.home, agent.id))
  agent.unlisted.add(file!.fingerprint)
}

test('a certificate that its agent accepts is said to be accepted', async () => {
  const { clusters } = await whoami(fleet.ada)
  expect(clusters).toEqual([
    {
      name: 'idc-k8s',
      id: agent.id,
      certificateUntil: expect.stringMatching(/^\d{4}-/),
      isAccepted: true,
    },
  ])
})

test('one that its agent has forgotten is named with the next step, which mends it', async () => {
  await forgetCertificate()
  expect((await whoami(fleet.ada)).clusters).toMatchObject([
    {
      isAccepted: false,
      problem: 'its agent no longer accepts this certificate, plain kubectl gets 401',
      hint: 'mcm login',
    },
  ])
  await login(fleet.ada, { deviceName: 'laptop', endpoint: 'public' })
  expect((await whoami(fleet.ada)).clusters).toMatchObject([{ isAccepted: true }])
})

test('one that kubectl renews anyway is asked about by nobody', async () => {
  await forgetCertificate()
  fleet.world.advance(DAY)
  const [cluster] = (await whoami(fleet.ada)).clusters
  expect(Object.keys(cluster!)).toEqual(['name', 'id', 'certificateUntil'])
})

test('without a hub nothing is said of what agents accept', async () => {
  await fleet.hub.stop()
  const { hub, clusters } = await whoami(fleet.ada)
  expect(hub.problem).toContain('cannot be reached')
  expect(clusters[0]).not.toHaveProperty('isAccepted')
})
