import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ProviderDetail } from '../../src/directory/provider.ts'
import { generateSigningKey, type SigningKey } from '../../src/directory/signing-key.ts'
import { newTokenSalt, tokenBinding } from '../../src/protocol/token-binding.ts'
import { ForgedProvider } from '../client/forged-provider.ts'
import { p256 } from '../directory/fleet.ts'
import { Stage, type TestCluster } from './stage.ts'

const ANN = 'ann@example.com'
const HOUR_MS = 3_600_000

let provider: ForgedProvider
let stage: Stage
let cluster: TestCluster
let directory: string

beforeAll(async () => {
  provider = await ForgedProvider.start()
})
afterAll(() => provider.stop())
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mcm-hub-guests-'))
  stage = await Stage.founded({}, join(directory, 'hub.db'))
  await stage.append({ type: 'oidc', detail: corp() })
  cluster = await stage.cluster()
  await memberGroup('add')
})
afterEach(async () => {
  await stage.stop()
  await rm(directory, { recursive: true })
})

function corp(changes: Partial<ProviderDetail> = {}): ProviderDetail {
  return {
    action: 'set',
    name: 'corp',
    issuer: provider.issuer,
    domain: 'example.com',
    ca: provider.caDer.toString('base64'),
    maximumAge: 3600,
    people: {
      ...{ clientId: 'mcm', scopes: [], userClaim: 'email', groupsClaim: 'groups' },
      groups: { developers: 'dev' },
    },
    workloads: [],
    ...changes,
  }
}

async function memberGroup(action: 'add' | 'remove'): Promise<void> {
  const subject = { kind: 'group', name: 'dev' } as const
  await stage.append({ type: 'member', detail: { action, subject, cluster: cluster.id } })
}

/** What ann's device sends. */
async function shown(key: SigningKey, email = ANN) {
  const salt = newTokenSalt((count) => randomBytes(count))
  const iat = Math.floor(stage.world.now().getTime() / 1000)
  const token = await provider.sign({
    ...{ iss: provider.issuer, aud: 'mcm', sub: email, iat, exp: iat + 600 },
    ...{ email, email_verified: true, groups: ['developers'] },
    nonce: tokenBinding(stage.directory.fleet!, key.id, salt),
  })
  return { token, salt, device: { key: p256(key), name: 'laptop' } }
}

async function admitted(key = generateSigningKey(), email = ANN): Promise<SigningKey> {
  const api = await stage.api(key)
  await api.admit(await shown(key, email))
  api.close()
  return key
}

describe('whoever has a token of the provider', () => {
  it('is a stranger before, and reads, sees and reaches their clusters after', async () => {
    await stage.agent(cluster)
    const key = generateSigningKey()
    const before = await stage.api(key)
    const all = { after: -1, details: 'all' } as const
    await expect(before.directory(all)).rejects.toMatchObject({ code: 'MCM_DEVICE_UNKNOWN' })
    expect(await before.admit(await shown(key))).toEqual({
      user: ANN,
      until: '2026-03-01T13:00:00Z',
    })
    const api = await stage.api(key)
    const page = await api.directory(all)
    expect(page.details.some(({ text }) => text.includes(`"id":"${cluster.id}"`))).toBe(true)
    expect(await api.presence()).toMatchObject([{ id: cluster.id }])
    const stream = await api.connect(cluster.authority)
    stream.destroy()
  })

  it('sees nothing of clusters and people that are not theirs', async () => {
    const other = await stage.cluster('alice')
    await stage.admit('bob')
    const api = await stage.api(await admitted())
    const { details } = await api.directory({ after: -1, details: 'all' })
    const text = JSON.stringify(details)
    expect(text).not.toContain(other.id)
    expect(text).not.toContain('bob')
    await expect(api.connect(other.authority)).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
    await expect(api.newCluster('mine')).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
  })

  it('is still in when the hub has restarted, and out when the time is over', async () => {
    const key = await admitted()
    await stage.stop()
    await stage.start()
    expect(await (await stage.api(key)).presence()).toHaveLength(1)
    stage.world.forward(HOUR_MS)
    await expect((await stage.api(key)).presence()).rejects.toMatchObject({
      code: 'MCM_DEVICE_UNKNOWN',
    })
  })

  it('is out at once when an admin revokes name or device, or removes the provider', async () => {
    const ends = [
      async (key: SigningKey) => {
        await stage.append({ type: 'revoke', detail: { device: key.id, reason: '' } })
      },
      async () => {
        await stage.append({ type: 'revoke', detail: { user: 'bo@example.com', reason: '' } })
      },
      async () => {
        await stage.append({ type: 'oidc', detail: { action: 'remove', name: 'corp' } })
      },
    ]
    for (const [index, end] of ends.entries()) {
      const email = ['al@example.com', 'bo@example.com', 'cy@example.com'][index]!
      const key = await admitted(generateSigningKey(), email)
      const api = await stage.api(key)
      await api.presence()
      await end(key)
      await expect(api.presence()).rejects.toMatchObject({ code: 'MCM_DEVICE_UNKNOWN' })
    }
  })

  it('whose relay runs loses it when the group is no member any more', async () => {
    await stage.agent(cluster)
    const api = await stage.api(await admitted())
    const stream = await api.connect(cluster.authority)
    stream.on('error', () => {})
    const gone = new Promise((resolve) => stream.once('close', resolve))
    stream.resume()
    await memberGroup('remove')
    await gone
  })
})

describe('nobody comes in', () => {
  it('with the token of another device, or with the key of another', async () => {
    const [own, other] = [generateSigningKey(), generateSigningKey()]
    const api = await stage.api(own)
    const theirs = await shown(other)
    await expect(api.admit(theirs)).rejects.toMatchObject({ code: 'MCM_DEVICE_UNKNOWN' })
    const mixed = { ...theirs, device: { key: p256(own), name: 'laptop' } }
    await expect(api.admit(mixed)).rejects.toMatchObject({ code: 'MCM_TOKEN_REFUSED' })
    await expect(api.presence()).rejects.toMatchObject({ code: 'MCM_DEVICE_UNKNOWN' })
  })

  it('who was revoked, with a token of later', async () => {
    await stage.append({ type: 'revoke', detail: { user: ANN, reason: '' } })
    const key = generateSigningKey()
    stage.world.forward(60_000)
    await expect((await stage.api(key)).admit(await shown(key))).rejects.toMatchObject({
      message: expect.stringContaining('revoked'),
    })
  })

  it('without any token, and what is no token is no crash', async () => {
    const api = await stage.api(generateSigningKey())
    for (const body of [{}, { token: 7 }, { token: '', salt: '', device: { key: null, name: '' } }])
      await expect(api.admit(body as never)).rejects.toMatchObject({ exitCode: expect.any(Number) })
    expect(await (await stage.api()).info()).toBeDefined()
  })
})

describe('the detail of a provider', () => {
  it('is shown to whoever knows its hash, while it stands', async () => {
    const api = await stage.api()
    const hash = stage.directory.statements.find(({ type }) => type === 'oidc')!.detailHash
    expect((await api.providerDetail(hash)).text).toContain(provider.issuer)
    const others = stage.directory.statements.filter(({ type }) => type !== 'oidc')
    for (const { detailHash } of others)
      await expect(api.providerDetail(detailHash)).rejects.toMatchObject({ exitCode: 3 })
    await stage.append({ type: 'oidc', detail: corp({ maximumAge: 7200 }) })
    await expect(api.providerDetail(hash)).rejects.toMatchObject({ exitCode: 3 })
  })
})

it('devices that tokens admitted are listed to their owner, and all of them to an admin', async () => {
  const ann = await admitted()
  const bo = await admitted(generateSigningKey(), 'bo@example.com')
  const listed = async (key: SigningKey) =>
    (await (await stage.api(key)).admittedDevices()).map(({ id }) => id)
  expect(await listed(ann)).toEqual([ann.id])
  expect(await listed(stage.alice)).toEqual([ann.id, bo.id])
})

it('a device is ended by its owner or an admin, and by nobody else', async () => {
  const ann = await admitted()
  const bo = await admitted(generateSigningKey(), 'bo@example.com')
  const own = await stage.api(ann)
  await expect(own.endAdmitted(bo.id)).rejects.toMatchObject({ exitCode: 3 })
  const lost = await admitted()
  await own.endAdmitted(lost.id)
  await (await stage.api(stage.alice)).endAdmitted(bo.id)
  for (const key of [lost, bo])
    await expect((await stage.api(key)).presence()).rejects.toMatchObject({
      code: 'MCM_DEVICE_UNKNOWN',
    })
  await stage.stop()
  await stage.start()
  await expect((await stage.api(lost)).presence()).rejects.toMatchObject({
    code: 'MCM_DEVICE_UNKNOWN',
  })
  expect(await (await stage.api(ann)).presence()).toHaveLength(1)
})

it('a device that was ended stays out, with whatever token and after a restart', async () => {
  const ann = await admitted()
  const lost = await admitted()
  await (await stage.api(ann)).endAdmitted(lost.id)
  const comesBack = async () => (await stage.api(lost)).admit(await shown(lost))
  await expect(comesBack()).rejects.toMatchObject({ code: 'MCM_TOKEN_REFUSED' })
  await stage.stop()
  await stage.start()
  await expect(comesBack()).rejects.toMatchObject({
    code: 'MCM_TOKEN_REFUSED',
    message: expect.stringContaining('ended by its owner'),
  })
})

it('what a stranger calls their device moves no cursor in anybody’s list', async () => {
  const key = generateSigningKey()
  const { device, ...token } = await shown(key)
  await (await stage.api(key)).admit({ ...token, device: { ...device, name: '\u001b[2Jmine' } })
  const [listed] = await (await stage.api(stage.alice)).admittedDevices()
  expect(listed).toMatchObject({ id: key.id, name: 'unnamed' })
})
