import { expect, test } from 'vitest'
import { createBot } from '../../src/device/bots.ts'
import { withFleet } from '../../src/device/fleet-session.ts'
import { createInvite } from '../../src/device/invite.ts'
import { login } from '../../src/device/login.ts'
import {
  asAda,
  DAY,
  joinedDevice,
  loginOptions,
  newDevice,
  registeredCluster,
  type TestFleet,
} from './fleet.ts'
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

test('a bot is invited into no group, and its name is nobody’s but a bot’s', async () => {
  const invite = (options: { user: string; groups?: string[]; bot: boolean }) =>
    asAda(fleet, (session) => createInvite(session, { ...options, expiresInMs: DAY }))
  await expect(invite({ user: 'deploy', groups: ['dev'], bot: true })).rejects.toMatchObject({
    code: 'MCM_USAGE',
    message: 'deploy is to be a bot, and bots are in no group',
  })
  await create('deploy')
  await expect(invite({ user: 'deploy', groups: ['dev'], bot: false })).rejects.toMatchObject({
    message: 'deploy is the name of a bot',
    hint: expect.stringContaining('mcm bots create deploy'),
  })
})

test('a bot’s longer life is asked of each cluster that is named, before anything is signed', async () => {
  const agent = await registeredCluster(fleet, 'prod')
  agent.facts = { ...agent.facts, botMaximumLife: 86_400 }
  const grant = { role: 'ro', clusters: ['prod'] }
  const ask = () =>
    asAda(fleet, (session) =>
      createBot(session, { user: 'deploy', expiresInMs: DAY, lifetimeSeconds: 30 * 86_400, grant }),
    )
  await expect(ask()).rejects.toMatchObject({
    message: 'the owner of prod allows bots 1d at most',
    hint: expect.stringContaining('mcm bots create deploy --for 1d'),
  })
  await asAda(fleet, async ({ directory }) =>
    expect(directory.state.users.has('deploy')).toBe(false),
  )
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

test('neither becomes the other by an invite, and a bot is invited into no group', async () => {
  await joinedDevice(fleet, 'bob', ['dev'])
  const invite = (user: string, options: { bot: boolean; groups?: string[] }) =>
    asAda(fleet, (session) => createInvite(session, { user, expiresInMs: DAY, ...options }))
  await invite('deploy', { bot: true })
  const { head } = fleet.hub.directory
  await expect(invite('bob', { bot: true })).rejects.toThrow('bob is the name of a person')
  await expect(invite('deploy', { bot: false })).rejects.toThrow('deploy is the name of a bot')
  await expect(invite('backup', { bot: true, groups: ['dev'] })).rejects.toThrow(/in no group/)
  expect(fleet.hub.directory.head).toEqual(head)
})
