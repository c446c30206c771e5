import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { impersonatorRole } from '../../src/access/impersonator.ts'
import { type Issuance, openIssuance } from '../../src/agent/issuance.ts'
import { issueLimit } from '../../src/agent/issue-limit.ts'
import { startListedNames } from '../../src/agent/listed-names.ts'
import { type Principals, startPrincipals } from '../../src/agent/principals.ts'
import { type TokenAdmissions, tokenAdmissions } from '../../src/agent/token-admissions.ts'
import { signEnrolmentProof } from '../../src/directory/proofs.ts'
import type { ProviderDetail } from '../../src/directory/provider.ts'
import { generateSigningKey, type SigningKey } from '../../src/directory/signing-key.ts'
import { formatTime } from '../../src/directory/time.ts'
import { type Authority, createAuthority } from '../../src/pki/authority.ts'
import { createCsr, readCsr } from '../../src/pki/csr.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { readUserCertificate } from '../../src/pki/user-certificate.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import { newTokenSalt, tokenBinding } from '../../src/protocol/token-binding.ts'
import { ForgedProvider } from '../client/forged-provider.ts'
import { CLUSTER, Fleet } from '../directory/fleet.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'
import { MemoryApi } from './memory-api.ts'

const ROLE = '/apis/rbac.authorization.k8s.io/v1/clusterroles/mcm-impersonator'
const HOUR_MS = 3_600_000
const ALICE = 'alice@example.com'

let provider: ForgedProvider
const ending: AbortController[] = []
beforeAll(async () => {
  provider = await ForgedProvider.start()
})
afterAll(() => provider.stop())
afterEach(() => {
  for (const controller of ending.splice(0)) controller.abort()
})

interface Replica {
  readonly principals: Principals
  readonly tokens: TokenAdmissions
  readonly issuance: Issuance
}

interface Stage extends Replica {
  readonly api: MemoryApi
  readonly world: FrozenWorld
  readonly fleet: Fleet
  readonly authority: Authority
  /** Another replica of the agent, or this one after a restart. */
  another(): Promise<Replica>
}

function corp(changes: Partial<ProviderDetail> = {}): ProviderDetail {
  const groups = { developers: 'dev' }
  return {
    action: 'set',
    name: 'corp',
    issuer: provider.issuer,
    domain: 'example.com',
    ca: provider.caDer.toString('base64'),
    maximumAge: 6 * 3600,
    people: { clientId: 'mcm', scopes: [], userClaim: 'email', groupsClaim: 'groups', groups },
    workloads: [],
    ...changes,
  }
}

/** A cluster whose members are group dev, and which can speak for alice. */
async function stage(): Promise<Stage> {
  const fleet = await Fleet.found()
  await fleet.register()
  await fleet.append({ type: 'oidc', detail: corp() })
  await fleet.member('add', 'group', 'dev')
  const api = new MemoryApi()
  api.put(ROLE, impersonatorRole({ users: [`mcm:${ALICE}`], groups: ['mcm:dev'] }))
  const world = new FrozenWorld('2026-03-01T12:00:00Z')
  const authority = await createAuthority(world, { commonName: 'user CA' })
  const another = () => replica({ api, world, fleet, authority })
  return { api, world, fleet, authority, another, ...(await another()) }
}

async function replica(
  shared: Pick<Stage, 'api' | 'world' | 'fleet' | 'authority'>,
): Promise<Replica> {
  const { api, world, fleet, authority } = shared
  const controller = new AbortController()
  ending.push(controller)
  const log = new RecordedLog()
  const background = { world, log, signal: controller.signal }
  const watch = { backoff: { baseMs: 1, capMs: 2 } }
  const principals = startPrincipals(api, { cluster: CLUSTER, isIssuer: true, watch }, background)
  const names = startListedNames(api, background, watch)
  await Promise.all([principals.ready, names.ready])
  const tokens = tokenAdmissions({
    fleet: fleet.directory.fleet!,
    directory: fleet,
    principals,
    world,
    proxyFor: () => undefined,
  })
  const directory = {
    get state() {
      return tokens.directory().state
    },
    isFresh: () => true,
  }
  const issuance = openIssuance({
    configuration: { cluster: CLUSTER, prefix: 'mcm:' },
    identity: { userAuthority: authority },
    ...{ principals, names, tokens, directory, world, log },
  })
  return { principals, tokens, issuance }
}

interface Claims {
  readonly email?: string
  readonly groups?: readonly string[]
  /** Seconds before now. */
  readonly age?: number
}

/** A token for a key, and its salt. */
async function tokenFor({ world, fleet }: Stage, key: SigningKey, claims: Claims = {}) {
  const { email = ALICE, groups = ['developers'], age = 0 } = claims
  const salt = newTokenSalt((count) => randomBytes(count))
  const iat = Math.floor(world.now().getTime() / 1000) - age
  const nonce = tokenBinding(fleet.directory.fleet!, key.id, salt)
  const times = { iat, exp: iat + 600 }
  const subject = { sub: email, email, email_verified: true, groups: [...groups] }
  const token = await provider.sign({
    ...{ iss: provider.issuer, aud: 'mcm', nonce },
    ...subject,
    ...times,
  })
  return { token, salt, name: 'laptop' }
}

type Shown = Awaited<ReturnType<typeof tokenFor>>

async function enrol({ world }: Stage, { issuance }: Replica, key: SigningKey, oidc?: Shown) {
  const csr = await createCsr(generateKeyPair().privateKeyPem)
  const exporter = randomBytes(32)
  const { der } = await readCsr(csr)
  const proof = await signEnrolmentProof(key, {
    cluster: CLUSTER,
    csr: sha256(der),
    exporter: exporter.toString('base64url'),
    time: formatTime(world.now()),
  })
  return issuance.enrol({ csr, proof, ...(oidc ? { oidc } : {}) }, exporter)
}

function read({ authority }: Stage, pem: string) {
  const der = Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64')
  return readUserCertificate(der, authority.certificateDer)
}

/** Time passes, and the watches of all replicas have brought news meanwhile. */
async function pass(set: Stage, ms: number, replicas: readonly Replica[] = [set]): Promise<void> {
  set.world.advance(ms)
  const areFresh = () => replicas.every(({ principals }) => principals.isFresh())
  for (let turn = 0; turn < 100 && !areFresh(); turn++) {
    set.api.bookmark()
    await new Promise(setImmediate)
  }
  expect(areFresh()).toBe(true)
}

const principalsOf = ({ api }: Stage) =>
  api.calls.filter(({ verb, path }) => verb === 'create' && path.includes('secrets')).length

describe('a person with a token', () => {
  it('gets a certificate with name and mapped groups, no longer than the token’s age allows', async () => {
    const set = await stage()
    const key = generateSigningKey()
    const { certificate } = await enrol(set, set, key, await tokenFor(set, key, { age: 60 }))
    const { user, groups, device, notAfter } = read(set, certificate)
    expect({ user, groups, device }).toEqual({ user: ALICE, groups: ['dev'], device: key.id })
    expect(notAfter.getTime()).toBe(set.world.now().getTime() + 6 * HOUR_MS - 60_000)
  })

  it('comes back by the device key alone, also at another replica and after the provider forgot', async () => {
    const set = await stage()
    const key = generateSigningKey()
    const shown = await tokenFor(set, key)
    await enrol(set, set, key, shown)
    const other = await set.another()
    await pass(set, HOUR_MS, [set, other])
    expect(read(set, (await enrol(set, other, key)).certificate).user).toBe(ALICE)
    const published = [...provider.published]
    provider.published.clear()
    try {
      expect(read(set, (await enrol(set, other, key, shown)).certificate).user).toBe(ALICE)
    } finally {
      for (const [id, jwk] of published) provider.publish(id, jwk)
    }
  })

  it('is a stranger when the time of the token is over, until there is a new one', async () => {
    const set = await stage()
    const key = generateSigningKey()
    await enrol(set, set, key, await tokenFor(set, key))
    await pass(set, 6 * HOUR_MS)
    expect(set.tokens.directory().state.isMember(ALICE, CLUSTER)).toBe(false)
    await expect(enrol(set, set, key)).rejects.toMatchObject({ code: 'MCM_DEVICE_UNKNOWN' })
    const { certificate } = await enrol(set, set, key, await tokenFor(set, key))
    expect(read(set, certificate).user).toBe(ALICE)
  })

  it('leaves a group on every device as soon as a newer token does not have it', async () => {
    const set = await stage()
    await set.fleet.member('add', 'user', ALICE)
    const [laptop, phone] = [generateSigningKey(), generateSigningKey()]
    await enrol(set, set, laptop, await tokenFor(set, laptop))
    set.world.advance(1_000)
    await enrol(set, set, phone, await tokenFor(set, phone, { groups: [] }))
    expect(set.tokens.directory().state.deviceOwner(laptop.id)?.user.groups).toEqual([])
    const older = await tokenFor(set, laptop, { age: 30 })
    expect(read(set, (await enrol(set, set, laptop, older)).certificate).groups).toEqual([])
  })

  it('who is no member leaves nothing behind', async () => {
    const set = await stage()
    const key = generateSigningKey()
    const before = principalsOf(set)
    const shown = await tokenFor(set, key, { groups: ['marketing'] })
    await expect(enrol(set, set, key, shown)).rejects.toMatchObject({
      code: 'MCM_NO_GRANT',
      message: expect.stringContaining('no member of this cluster'),
    })
    expect(principalsOf(set)).toBe(before)
  })

  it('whom the cluster does not speak for is told so', async () => {
    const set = await stage()
    const key = generateSigningKey()
    const shown = await tokenFor(set, key, { email: 'carol@example.com' })
    await expect(enrol(set, set, key, shown)).rejects.toThrow('carol@example.com has no grant')
  })
})

describe('nobody gets in', () => {
  it('with the token of another device', async () => {
    const set = await stage()
    const [own, stolen] = [generateSigningKey(), generateSigningKey()]
    const shown = await tokenFor(set, stolen)
    await expect(enrol(set, set, own, shown)).rejects.toMatchObject({ code: 'MCM_TOKEN_REFUSED' })
    await enrol(set, set, stolen, shown)
    await expect(enrol(set, set, own, shown)).rejects.toMatchObject({ code: 'MCM_TOKEN_REFUSED' })
  })

  it('by a provider that was removed, nor by what it has admitted before', async () => {
    const set = await stage()
    const key = generateSigningKey()
    await enrol(set, set, key, await tokenFor(set, key))
    await set.fleet.append({ type: 'oidc', detail: { action: 'remove', name: 'corp' } })
    await expect(enrol(set, set, key)).rejects.toMatchObject({ code: 'MCM_DEVICE_UNKNOWN' })
    const shown = await tokenFor(set, key)
    await expect(enrol(set, set, key, shown)).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
  })

  it('by what a provider admitted before its statement was changed', async () => {
    const set = await stage()
    const key = generateSigningKey()
    await enrol(set, set, key, await tokenFor(set, key))
    await set.fleet.append({ type: 'oidc', detail: corp({ maximumAge: 3600 }) })
    await expect(enrol(set, set, key)).rejects.toMatchObject({ code: 'MCM_DEVICE_UNKNOWN' })
    expect(await enrol(set, set, key, await tokenFor(set, key))).toMatchObject({ user: ALICE })
  })

  it('whom an admin has revoked, whatever token they bring, until an admin names them again', async () => {
    const set = await stage()
    const key = generateSigningKey()
    await enrol(set, set, key, await tokenFor(set, key))
    await set.fleet.append({ type: 'revoke', detail: { user: ALICE, reason: '' } })
    await expect(enrol(set, set, key)).rejects.toMatchObject({ code: 'MCM_DEVICE_UNKNOWN' })
    const other = generateSigningKey()
    const shown = await tokenFor(set, other)
    await expect(enrol(set, set, other, shown)).rejects.toMatchObject({
      code: 'MCM_DEVICE_UNKNOWN',
    })
    await set.fleet.member('add', 'user', ALICE)
    expect(await enrol(set, set, other, shown)).toMatchObject({ user: ALICE })
  })

  it('by a device that an admin has revoked, though the directory has never heard of it', async () => {
    const set = await stage()
    const key = generateSigningKey()
    const shown = await tokenFor(set, key)
    await enrol(set, set, key, shown)
    await set.fleet.append({ type: 'revoke', detail: { device: key.id, reason: '' } })
    await expect(enrol(set, set, key)).rejects.toMatchObject({ code: 'MCM_DEVICE_UNKNOWN' })
    await expect(enrol(set, set, key, await tokenFor(set, key))).rejects.toMatchObject({
      code: 'MCM_DEVICE_UNKNOWN',
    })
  })

  it('by a device that its owner has ended before it ever came here', async () => {
    const set = await stage()
    const [laptop, lost] = [generateSigningKey(), generateSigningKey()]
    await enrol(set, set, laptop, await tokenFor(set, laptop))
    await set.principals.revoke({ device: lost.id, user: ALICE })
    for (const replica of [set, await set.another()])
      await expect(enrol(set, replica, lost, await tokenFor(set, lost))).rejects.toMatchObject({
        code: 'MCM_REVOKED',
      })
    expect(await enrol(set, set, laptop)).toMatchObject({ user: ALICE })
  })

  it('by a device that was ended here, also with its certificate of before', async () => {
    const set = await stage()
    const key = generateSigningKey()
    const { fingerprint } = await enrol(set, set, key, await tokenFor(set, key))
    await set.principals.revoke({ device: key.id })
    expect(set.principals.find(fingerprint)).toBeUndefined()
    await expect(enrol(set, set, key, await tokenFor(set, key))).rejects.toMatchObject({
      code: 'MCM_REVOKED',
    })
  })

  it('faster with a new key for each token than the limit of a user allows', async () => {
    const set = await stage()
    const limit = issueLimit(set.world)
    for (let turn = 0; turn < 120; turn++) limit(ALICE, `key ${turn}`)
    expect(() => limit(ALICE, 'one more key')).toThrow('too many certificates')
    expect(() => limit('bob@example.com', 'another')).not.toThrow()
  })

  it('whom this agent alone has revoked, by whatever device', async () => {
    const set = await stage()
    const [laptop, phone] = [generateSigningKey(), generateSigningKey()]
    await enrol(set, set, laptop, await tokenFor(set, laptop))
    await set.principals.revoke({ user: ALICE })
    for (const key of [laptop, phone])
      await expect(enrol(set, set, key, await tokenFor(set, key))).rejects.toMatchObject({
        code: 'MCM_REVOKED',
      })
  })
})

it('a program’s keys of yesterday do not pile up in its Secret', async () => {
  const set = await stage()
  for (let day = 0; day < 3; day++) {
    const key = generateSigningKey()
    await enrol(set, set, key, await tokenFor(set, key))
    await pass(set, 24 * HOUR_MS)
  }
  expect(set.principals.admissions()).toHaveLength(1)
})
