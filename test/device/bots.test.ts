import { expect, test } from 'vitest'
import { createBot } from '../../src/device/bots.ts'
import { withFleet } from '../../src/device/fleet-session.ts'
import { login } from '../../src/device/login.ts'
import { asAda, DAY, joinedDevice, loginOptions, newDevice, type TestFleet } from './fleet.ts'
import { eachWithFleet } from './scene.ts'

let fleet: TestFleet
eachWithFleet((founded) => {
  fleet = founded
})

const create = (user: string) =>
  asAda(fleet, (session) => createBot(session, { user, expiresInMs: DAY }))

test('a bot comes in by its link, in no group, and again on another machine', async () => {
  for (const machine of ['runner-1', 'runner-2']) {
    const { link } = await create('deploy')
    const runner = await newDevice(fleet.world)
    await login(runner, { ...loginOptions(link.reveal()), deviceName: machine })
    const { users } = await withFleet(runner, async ({ directory }) => directory.state)
    expect(users.get('deploy')).toMatchObject({ bot: true, groups: [] })
  }
})

test('no bot has the name of a person, who would lose their groups by it', async () => {
  await joinedDevice(fleet, 'bob', ['dev'])
  await expect(create('bob')).rejects.toMatchObject({
    code: 'MCM_USAGE',
    message: 'bob is the name of a person',
  })
  await asAda(fleet, async ({ directory }) =>
    expect(directory.state.users.get('bob')).toMatchObject({ bot: false, groups: ['dev'] }),
  )
})
