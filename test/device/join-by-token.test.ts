import { readFile, rm, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { appendStatements } from '../../src/device/append.ts'
import { removeDevice } from '../../src/device/devices.ts'
import { withFleet } from '../../src/device/fleet-session.ts'
import { ID_TOKEN } from '../../src/device/home.ts'
import { login } from '../../src/device/login.ts'
import { isStanding, renewLogin } from '../../src/device/provided-renewal.ts'
import { type Provider, removeProvider, setProvider } from '../../src/device/providers.ts'
import { readState, requireState, writeState } from '../../src/device/state.ts'
import { IdentityError, NotFoundError } from '../../src/errors.ts'
import { ForgedProvider } from '../client/forged-provider.ts'
import {
  asAda,
  joinedDevice,
  newDevice,
  registeredCluster,
  type TestDevice,
  type TestFleet,
} from './fleet.ts'
import { eachWithFleet } from './scene.ts'

const BOT = 'deploy@ci.example.com'

let fleet: TestFleet
let ci: ForgedProvider
let provider: Provider
/** What the hub was told. */
let admissions: unknown[]

beforeAll(async () => {
  ci = await ForgedProvider.start()
})
afterAll(() => ci.stop())
eachWithFleet((founded) => {
  fleet = founded
})
beforeEach(async () => {
  provider = await asAda(fleet, (session) => setProvider(session, wish()))
  admissions = []
  fleet.hub.routes.set('GET /v1/oidc', (query) => detailOf(query.get('detail') ?? ''))
  fleet.hub.routes.set('POST /v1/oidc', (_query, body) => {
    admissions.push(body)
    return { user: BOT, until: '2030-01-01T00:00:00Z' }
  })
})

function wish() {
  const workloads = [{ user: BOT, claims: { sub: ci.job } }]
  const where = { name: 'ci', issuer: ci.issuer, domain: 'ci.example.com', caPem: ci.caPem }
  return { ...where, maximumAge: 3600, workloads }
}

function detailOf(hash: string) {
  const { statements, details } = fleet.hub.directory
  const statement = statements.find(({ detailHash }) => detailHash === hash)
  if (statement) return details.get(statement.seq)!
  throw new NotFoundError('MCM_NOT_FOUND', 'no such provider')
}

/** A machine of the CI system; `asked` counts how often a token was asked for. */
async function runner(run = (audience: string) => ci.mint(audience)) {
  const asked: string[] = []
  const device: TestDevice = {
    ...(await newDevice(fleet.world)),
    runCommand: async (_line, { MCM_AUDIENCE = '' }) => {
      asked.push(MCM_AUDIENCE)
      return run(MCM_AUDIENCE)
    },
  }
  return { device, asked }
}

const options = (link = provider.link) => ({
  ...{ link, deviceName: 'runner', endpoint: 'public' as const },
  token: { kind: 'command', command: './token' } as const,
})

describe('a link to a provider', () => {
  test('brings in whom the provider names, with a token for this very key', async () => {
    const { device, asked } = await runner()
    expect(await login(device, options())).toMatchObject({ user: BOT, groups: [] })
    const state = await requireState(device.home)
    expect(state.provided).toMatchObject({ provider: 'ci', command: './token' })
    expect(asked).toEqual([expect.stringContaining(`mcm:${state.fleet}:`)])
    expect(admissions).toHaveLength(1)
    expect(await readFile(device.home.state, 'utf8')).not.toContain(
      (admissions[0] as { token: string }).token,
    )
  })

  test('leads to no other provider than its own, whatever the hub shows', async () => {
    const evil = {
      ...wish(),
      issuer: 'https://evil.example.com',
      name: 'other',
      domain: 'x.example',
    }
    const workloads = [{ user: 'deploy@x.example', claims: { sub: 'x' } }]
    const other = await asAda(fleet, (session) => setProvider(session, { ...evil, workloads }))
    fleet.hub.routes.set('GET /v1/oidc', () => detailOf(hashOf(other.link)))
    const { device, asked } = await runner()
    await expect(login(device, options())).rejects.toMatchObject({ code: 'MCM_DIRECTORY_INVALID' })
    expect(asked).toEqual([])
    expect(await readState(device.home)).toBeUndefined()
  })

  test('leads to no other fleet', async () => {
    fleet.hub.claimedFleet = 'x'.repeat(43)
    const { device, asked } = await runner()
    await expect(login(device, options())).rejects.toMatchObject({ code: 'MCM_DIRECTORY_INVALID' })
    expect(asked).toEqual([])
  })

  test('of a provider that was taken away meanwhile is worth nothing, though the hub plays along', async () => {
    const { device } = await runner()
    const statement = detailOf(hashOf(provider.link))
    await asAda(fleet, (session) => removeProvider(session, 'ci'))
    fleet.hub.routes.set('GET /v1/oidc', () => statement)
    await expect(login(device, options())).rejects.toMatchObject({ code: 'MCM_DIRECTORY_INVALID' })
    expect(await readState(device.home)).toBeUndefined()
  })

  test('with a token of somebody else changes nothing on a device that is logged in', async () => {
    const { device } = await runner()
    await login(device, options())
    const [state, token] = [await readState(device.home), await device.secrets.get(ID_TOKEN)]
    const other = { user: 'other@ci.example.com', claims: { sub: 'other' } }
    const both = { ...wish(), workloads: [...wish().workloads, other] }
    const { link } = await asAda(fleet, (session) => setProvider(session, both))
    const job = ci.job
    ci.job = 'other'
    try {
      await expect(login(device, options(link))).rejects.toMatchObject({ code: 'MCM_USAGE' })
    } finally {
      ci.job = job
    }
    expect(admissions).toHaveLength(1)
    expect(await readState(device.home)).toEqual(state)
    expect((await device.secrets.get(ID_TOKEN))?.reveal()).toBe(token?.reveal())
  })

  test.each(['token', 'directory'])(
    'takes back nothing that was seen while the %s was on its way',
    async (awaited) => {
      let meanwhile = async () => {}
      const { device } = await runner(async (audience) => {
        if (awaited === 'token') await meanwhile()
        return ci.mint(audience)
      })
      const step: TestDevice['progress']['step'] = async (label, work) => {
        const done = await work()
        if (awaited === 'directory' && /verifying the directory/.test(label)) await meanwhile()
        return done
      }
      const slow = { ...device, progress: { ...device.progress, step } }
      const seesMore = async (user: string) => {
        await joinedDevice(fleet, user)
        await withFleet(device, async () => {})
      }
      await login(slow, options())
      meanwhile = () => seesMore('bob')
      expect(await login(slow, options())).toMatchObject({ user: BOT })
      const before = fleet.hub.directory
      expect((await requireState(device.home)).head).toEqual(before.head)
      meanwhile = async () => {
        await seesMore('carol')
        fleet.hub.directory = before
      }
      const rolledBack = { code: 'MCM_DIRECTORY_ROLLED_BACK' }
      await expect(login(slow, options())).rejects.toMatchObject(rolledBack)
      expect((await requireState(device.home)).head.seq).toBeGreaterThan(before.head!.seq)
    },
  )

  test('changes nothing for somebody who was invited', async () => {
    const bob = await joinedDevice(fleet, 'bob')
    expect(await login(bob, options())).toMatchObject({ user: 'bob' })
    expect((await requireState(bob.home)).provided).toBeUndefined()
  })
})

test('a lost device of a login is not called ended while a cluster does not know it', async () => {
  const lost = 'k'.repeat(43)
  const ended: string[] = []
  fleet.hub.routes.set('GET /v1/devices', () => [])
  fleet.hub.routes.set(`DELETE /v1/devices/${lost}`, () => {
    ended.push(lost)
    return {}
  })
  const { id: cluster } = await registeredCluster(fleet, 'idc-k8s')
  // The hub of this test shows them everything and lets nobody through who was not invited.
  fleet.hub.tamper = (page) => ({ ...page, details: [...fleet.hub.directory.details.values()] })
  await asAda(fleet, (session) =>
    appendStatements(session, ({ key }) => [
      {
        type: 'member',
        detail: { action: 'add', subject: { kind: 'user', name: BOT }, cluster },
        signers: [key],
      },
    ]),
  )
  const { device } = await runner()
  await login(device, options())
  const removed = await withFleet(device, (session) => removeDevice(session, { device: lost }, ''))
  expect(removed).toMatchObject({ id: lost, isSigned: false, problems: [{ cluster: 'idc-k8s' }] })
  expect(ended).toEqual([lost])
})

describe('a token that was made beforehand', () => {
  const prepared = { kind: 'command', command: 'cat token', isAudienceFixed: true } as const
  const from = () => ({ ...options(), token: prepared })

  /** A machine with one token in a file, for the audience that was last written down. */
  async function prepare() {
    const written = { audience: 'mcm' }
    const { device } = await runner(() => ci.mint(written.audience))
    const error = await login(device, from()).catch((caught: unknown) => caught)
    return { device, written, error }
  }

  test('is for the key of this machine: the first try names the audience, the second is in', async () => {
    const { device, written, error } = await prepare()
    expect(error).toMatchObject({
      code: 'MCM_USAGE',
      message: 'the token is not for the key of this machine',
    })
    expect(admissions).toEqual([])
    written.audience = /mcm:\S+/.exec((error as { hint: string }).hint)![0]
    expect(await login(device, from())).toMatchObject({ user: BOT, groups: [] })
    const before = await requireState(device.home)
    expect(before.provided).toMatchObject({ command: 'cat token', isAudienceFixed: true })
    await writeState(device.home, {
      ...before,
      provided: {
        ...before.provided!,
        admission: { ...before.provided!.admission, until: new Date(0) },
      },
    })
    const after = await renewLogin(device)
    expect(isStanding(after, fleet.world.now())).toBe(true)
    expect(after.provided).toMatchObject({ salt: before.provided!.salt, isAudienceFixed: true })
  })

  test('is worth nothing on another machine, nor for a fixed audience that names no key', async () => {
    const { written, error } = await prepare()
    written.audience = /mcm:\S+/.exec((error as { hint: string }).hint)![0]
    const { device: thief } = await runner(() => ci.mint(written.audience))
    await expect(login(thief, from())).rejects.toMatchObject({ code: 'MCM_USAGE' })
    const { device: loose } = await runner(() => ci.mint('mcm'))
    await expect(login(loose, options())).rejects.toMatchObject({ code: 'MCM_TOKEN_REFUSED' })
    expect(admissions).toEqual([])
  })
})

describe('a login that has ended', () => {
  async function ended(device: TestDevice): Promise<void> {
    const state = await requireState(device.home)
    const admission = { ...state.provided!.admission, until: new Date(0) }
    await writeState(device.home, { ...state, provided: { ...state.provided!, admission } })
  }

  test('is renewed once, however many ask', async () => {
    const { device, asked } = await runner()
    await login(device, options())
    await ended(device)
    const states = await Promise.all(Array.from({ length: 8 }, () => renewLogin(device)))
    expect(states.every((state) => isStanding(state, fleet.world.now()))).toBe(true)
    expect(asked).toHaveLength(2)
  })

  test.each([
    ['is gone', (path: string) => rm(path)],
    ['does not lead to what was seen', (path: string) => writeFile(path, '{"head":')],
  ])(
    'whose copy of the directory %s is renewed by the link alone, which is said',
    async (_how, spoil) => {
      const { device, asked } = await runner()
      await login(device, options())
      await ended(device)
      await spoil(device.home.directoryCache)
      const error = {
        code: 'MCM_LOGIN_ENDED',
        message: expect.stringContaining('directory.json is missing or cannot be used'),
        hint: expect.stringMatching(/mcm login --oidc 'mcm:.* with the link of ci/),
      }
      await expect(renewLogin(device)).rejects.toMatchObject(error)
      const { link: _, ...without } = options()
      // As who waited meanwhile, and then as who tries it again.
      await expect(login(device, without)).rejects.toMatchObject(error)
      fleet.world.advance(1_000)
      await expect(login(device, without)).rejects.toMatchObject(error)
      expect(asked).toHaveLength(1)
      expect(await login(device, options())).toMatchObject({ user: BOT })
      await ended(device)
      fleet.world.advance(1_000)
      expect(isStanding(await renewLogin(device), fleet.world.now())).toBe(true)
    },
  )

  test('that cannot be renewed is tried once for all who wait', async () => {
    let isRefused = false
    const { device, asked } = await runner((audience) => {
      if (isRefused) throw new IdentityError('MCM_TOKEN_REFUSED', 'the job may not')
      return ci.mint(audience)
    })
    await login(device, options())
    await ended(device)
    isRefused = true
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => renewLogin(device)))
    const codes = results.map((each) => each.status === 'rejected' && each.reason.code)
    expect(codes.filter((code) => code === 'MCM_TOKEN_REFUSED')).toHaveLength(1)
    expect(codes.filter((code) => code === 'MCM_LOGIN_ENDED')).toHaveLength(7)
    expect(asked).toHaveLength(2)
  })
})

const hashOf = (link: string) => new URLSearchParams(link.split('#')[1]).get('detail')!
