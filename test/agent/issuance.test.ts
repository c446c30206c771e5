import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { impersonatorRole } from '../../src/access/impersonator.ts'
import { type Issuance, openIssuance } from '../../src/agent/issuance.ts'
import { startListedNames } from '../../src/agent/listed-names.ts'
import { startPrincipals } from '../../src/agent/principals.ts'
import { signEnrolmentProof } from '../../src/directory/proofs.ts'
import { generateSigningKey, type SigningKey } from '../../src/directory/signing-key.ts'
import { formatTime } from '../../src/directory/time.ts'
import { UnreachableError } from '../../src/errors.ts'
import { type Authority, createAuthority } from '../../src/pki/authority.ts'
import { createCsr, readCsr } from '../../src/pki/csr.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { readUserCertificate } from '../../src/pki/user-certificate.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import { CLUSTER, Fleet, OTHER_CLUSTER } from '../directory/fleet.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'
import { MemoryApi } from './memory-api.ts'

const ROLE = '/apis/rbac.authorization.k8s.io/v1/clusterroles/mcm-impersonator'
const HOUR_MS = 3_600_000
const OWNER_SIGNS = 'this agent issues no certificates: the owner of the cluster signs them'
const DAY_MS = 24 * HOUR_MS
const ending: AbortController[] = []

afterEach(() => {
  for (const controller of ending.splice(0)) controller.abort()
})

interface Stage {
  readonly api: MemoryApi
  readonly world: FrozenWorld
  readonly fleet: Fleet
  /** Bob's. */
  readonly device: SigningKey
  readonly authority: Authority
  readonly issuance: Issuance
  readonly principals: ReturnType<typeof startPrincipals>
  isDirectoryFresh: boolean
}

/** A cluster in which bob is a member and listed. */
async function stage(options: { bot?: boolean; withoutAuthority?: boolean } = {}): Promise<Stage> {
  const fleet = await Fleet.found()
  await fleet.register()
  const groups = { groups: ['dev', 'ops'], bot: options.bot === true }
  const device = await fleet.join('bob', await fleet.invite('bob', groups))
  await fleet.member('add', 'user', 'bob')
  const api = new MemoryApi()
  api.put(ROLE, impersonatorRole({ users: ['mcm:bob'], groups: [] }))
  const controller = new AbortController()
  ending.push(controller)
  const world = new FrozenWorld()
  const log = new RecordedLog()
  const background = { world, log, signal: controller.signal }
  const watch = { backoff: { baseMs: 1, capMs: 2 } }
  const principals = startPrincipals(api, { cluster: CLUSTER, isIssuer: true, watch }, background)
  const names = startListedNames(api, background, watch)
  await Promise.all([principals.ready, names.ready])
  const authority = await createAuthority(world, { commonName: 'user CA' })
  const made = { api, world, fleet, device, authority, principals, isDirectoryFresh: true }
  const issuance = openIssuance({
    configuration: { cluster: CLUSTER, prefix: 'mcm:' },
    identity: options.withoutAuthority ? {} : { userAuthority: authority },
    principals,
    names,
    directory: {
      get state() {
        return fleet.state
      },
      isFresh: () => whole.isDirectoryFresh,
    },
    world,
    log,
  })
  const whole: Stage = Object.assign(made, { issuance })
  return whole
}

interface Changes {
  readonly device?: SigningKey
  readonly cluster?: string
  readonly exporter?: Buffer
  readonly time?: Date
  readonly signedCsr?: string
  readonly commonName?: string
}

/** What bob's laptop sends, and the exporter of its connection. */
async function enrolment(set: Stage, changes: Changes = {}) {
  const csr = await createCsr(generateKeyPair().privateKeyPem, changes.commonName)
  const exporter = randomBytes(32)
  const { der } = await readCsr(changes.signedCsr ?? csr)
  const proof = await signEnrolmentProof(changes.device ?? set.device, {
    cluster: changes.cluster ?? CLUSTER,
    csr: sha256(der),
    exporter: (changes.exporter ?? exporter).toString('base64url'),
    time: formatTime(changes.time ?? set.world.now()),
  })
  return { body: { csr, proof }, exporter }
}

async function enrol(set: Stage, changes: Changes = {}) {
  const { body, exporter } = await enrolment(set, changes)
  return set.issuance.enrol(body, exporter)
}

function read(set: Stage, pem: string) {
  const der = Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64')
  return readUserCertificate(der, set.authority.certificateDer)
}

/** Time passes, and the watches have brought news meanwhile. */
async function pass(set: Stage, ms: number): Promise<void> {
  set.world.advance(ms)
  for (let turn = 0; turn < 50 && !set.principals.isFresh(); turn++) {
    set.api.bookmark()
    await new Promise(setImmediate)
  }
  expect(set.principals.isFresh()).toBe(true)
}

describe('enrolment', () => {
  it('gives a device of the directory a certificate of twelve hours, listed before it is handed out', async () => {
    const set = await stage()
    const issued = await enrol(set)
    const certificate = read(set, issued.certificate)
    expect(certificate).toMatchObject({
      user: 'bob',
      groups: ['dev', 'ops'],
      device: set.device.id,
      fingerprint: issued.fingerprint,
    })
    expect(certificate.notAfter.getTime()).toBe(set.world.now().getTime() + 12 * HOUR_MS)
    expect(set.principals.find(issued.fingerprint)).toEqual({
      user: 'bob',
      device: set.device.id,
    })
  })

  it('takes nothing but the key from the request', async () => {
    const set = await stage()
    const issued = await enrol(set, { commonName: 'system:admin' })
    expect(read(set, issued.certificate).user).toBe('bob')
  })

  it('gives a bot a day', async () => {
    const set = await stage({ bot: true })
    const { notAfter } = await enrol(set)
    expect(notAfter.getTime()).toBe(set.world.now().getTime() + DAY_MS)
  })

  it.each([
    ['made for another connection', { exporter: Buffer.alloc(32) }],
    ['made for another cluster', { cluster: OTHER_CLUSTER }],
  ])('refuses a proof %s', async (_, changes) => {
    const set = await stage()
    await expect(enrol(set, changes)).rejects.toMatchObject({ code: 'MCM_DEVICE_UNKNOWN' })
    expect(set.api.count('create')).toBe(0)
  })

  it('refuses a proof that was made for another request: nobody swaps the key in between', async () => {
    const set = await stage()
    const victims = await createCsr(generateKeyPair().privateKeyPem)
    await expect(enrol(set, { signedCsr: victims })).rejects.toMatchObject({
      code: 'MCM_DEVICE_UNKNOWN',
    })
  })

  it('refuses a proof by a key that is no device', async () => {
    const set = await stage()
    await expect(enrol(set, { device: generateSigningKey() })).rejects.toMatchObject({
      code: 'MCM_DEVICE_UNKNOWN',
      httpStatus: 401,
    })
  })

  it('refuses whatever is not a request with a proof', async () => {
    const set = await stage()
    const { body, exporter } = await enrolment(set)
    for (const bad of [undefined, null, 'x', {}, { ...body, csr: 7 }, { csr: body.csr }])
      await expect(set.issuance.enrol(bad, exporter)).rejects.toMatchObject({
        code: 'MCM_BAD_REQUEST',
      })
    for (const bad of [
      { ...body, proof: 'a.b.c' },
      { ...body, proof: body.proof.slice(0, -8) },
    ])
      await expect(set.issuance.enrol(bad, exporter)).rejects.toMatchObject({
        code: 'MCM_DEVICE_UNKNOWN',
      })
    await expect(set.issuance.enrol(body, exporter.subarray(1))).rejects.toThrow('32 bytes')
  })

  it('tells a device whose clock is far off that it is', async () => {
    const set = await stage()
    const now = set.world.now().getTime()
    await expect(enrol(set, { time: new Date(now - 11 * 60_000) })).rejects.toMatchObject({
      code: 'MCM_CLOCK_SKEW',
    })
    await expect(enrol(set, { time: new Date(now + 4 * 60_000) })).resolves.toBeDefined()
  })

  it('refuses a device and a user that the directory has revoked', async () => {
    const first = await stage()
    await first.fleet.revoke({ device: first.device.id })
    await expect(enrol(first)).rejects.toMatchObject({ code: 'MCM_REVOKED', httpStatus: 403 })
    const second = await stage()
    await second.fleet.revoke({ user: 'bob' })
    await expect(enrol(second)).rejects.toMatchObject({ code: 'MCM_REVOKED' })
  })

  it('refuses a device that was revoked here, whatever a hub shows', async () => {
    const set = await stage()
    await set.principals.revoke({ user: 'bob', device: set.device.id })
    await expect(enrol(set)).rejects.toMatchObject({ code: 'MCM_REVOKED' })
  })

  it('lets a user who was revoked come back with a later invite and a new device', async () => {
    const set = await stage()
    await enrol(set)
    await set.principals.revoke({ user: 'bob' })
    await expect(enrol(set)).rejects.toMatchObject({ code: 'MCM_REVOKED' })
    await pass(set, HOUR_MS)
    const key = generateSigningKey()
    const invited = await set.fleet.invite('bob')
    const draft = { user: 'bob', name: 'new', key: key.jwk as never }
    const signers = [invited.key, key]
    const later = new Date(set.world.now().getTime() - 60_000)
    await set.fleet.append({ type: 'device', invite: invited.seq, detail: draft }, signers, later)
    await expect(enrol(set, { device: key })).resolves.toMatchObject({ user: 'bob' })
    await expect(enrol(set)).rejects.toMatchObject({ code: 'MCM_REVOKED' })
  })

  it('refuses a user who is no member of this cluster', async () => {
    const set = await stage()
    await set.fleet.member('remove', 'user', 'bob')
    await expect(enrol(set)).rejects.toMatchObject({
      code: 'MCM_NO_GRANT',
      message: expect.stringContaining('no grant on this cluster'),
    })
  })

  it('refuses a member who is not on the list, after having read the list anew', async () => {
    const set = await stage()
    set.api.areWatchesFrozen = true
    const carol = await set.fleet.admit('carol')
    await set.fleet.member('add', 'user', 'carol')
    await expect(enrol(set, { device: carol })).rejects.toMatchObject({
      code: 'MCM_NO_GRANT',
      httpStatus: 403,
    })
    set.world.advance(2_000)
    set.api.put(ROLE, impersonatorRole({ users: ['mcm:bob', 'mcm:carol'], groups: [] }))
    await expect(enrol(set, { device: carol })).resolves.toMatchObject({ user: 'carol' })
  })

  it('is not satisfied with a list on which only the user’s group stands', async () => {
    const set = await stage()
    set.world.advance(2_000)
    set.api.put(ROLE, impersonatorRole({ users: [], groups: ['mcm:dev', 'mcm:ops'] }))
    await new Promise(setImmediate)
    await expect(enrol(set)).rejects.toMatchObject({ code: 'MCM_NO_GRANT' })
  })

  it('is not possible where the owner keeps the key, and says so before it looks at anything', async () => {
    const set = await stage({ withoutAuthority: true })
    const refusal = { code: 'MCM_FORBIDDEN', message: OWNER_SIGNS }
    await expect(enrol(set)).rejects.toMatchObject(refusal)
    await expect(set.issuance.enrol('nonsense', Buffer.alloc(32))).rejects.toMatchObject(refusal)
    expect(set.api.count('create')).toBe(0)
  })

  it('hands out nothing that could not be recorded', async () => {
    const set = await stage()
    set.api.fault = (verb) =>
      verb === 'create' ? new UnreachableError('MCM_TIMEOUT', 'etcd is full') : undefined
    await expect(enrol(set)).rejects.toMatchObject({ httpStatus: 503 })
    expect(set.principals.certificatesOf('bob')).toEqual([])
  })

  it('waits for memory that is up to date: nobody can tell who was revoked', async () => {
    const set = await stage()
    set.isDirectoryFresh = false
    await expect(enrol(set)).rejects.toMatchObject({ httpStatus: 503 })
    set.isDirectoryFresh = true
    set.world.advance(45_001)
    await expect(enrol(set)).rejects.toMatchObject({ httpStatus: 503 })
  })

  it('gives one device no more than thirty at once, and leaves the others their own', async () => {
    const set = await stage()
    for (let count = 0; count < 30; count++) await enrol(set)
    await expect(enrol(set)).rejects.toMatchObject({ httpStatus: 503 })
    const phone = await set.fleet.join('bob', await set.fleet.invite('bob'))
    await expect(enrol(set, { device: phone })).resolves.toBeDefined()
    set.world.advance(10_000)
    await expect(enrol(set)).resolves.toBeDefined()
    await expect(enrol(set)).rejects.toMatchObject({ httpStatus: 503 })
  })
})

describe('coming back after a while', () => {
  it('works for a laptop that was closed over the holidays', async () => {
    const set = await stage()
    await enrol(set)
    await pass(set, 14 * DAY_MS)
    await expect(enrol(set)).resolves.toBeDefined()
  })

  it('ends thirty days after the last certificate, until an admin makes the user a member anew', async () => {
    const set = await stage()
    const { notAfter } = await enrol(set)
    await pass(set, notAfter.getTime() + 30 * DAY_MS + 1_000 - set.world.now().getTime())
    await expect(enrol(set)).rejects.toMatchObject({
      code: 'MCM_CERTIFICATE_EXPIRED',
      hint: expect.stringContaining('invite'),
    })
    await set.fleet.member('remove', 'user', 'bob')
    await set.fleet.append(
      {
        type: 'member',
        detail: { action: 'add', subject: { kind: 'user', name: 'bob' }, cluster: CLUSTER },
      },
      [set.fleet.alice],
      set.world.now(),
    )
    await expect(enrol(set)).resolves.toBeDefined()
  })

  it('works on the last second of the thirty days', async () => {
    const set = await stage()
    const { notAfter } = await enrol(set)
    await pass(set, notAfter.getTime() + 30 * DAY_MS - set.world.now().getTime())
    await expect(enrol(set)).resolves.toBeDefined()
  })

  it('is allowed to a bot for ninety days', async () => {
    const set = await stage({ bot: true })
    await enrol(set)
    await pass(set, 90 * DAY_MS)
    await expect(enrol(set)).resolves.toBeDefined()
    await pass(set, 92 * DAY_MS)
    await expect(enrol(set)).rejects.toMatchObject({ code: 'MCM_CERTIFICATE_EXPIRED' })
  })

  it('is not asked of a device that comes for the first time', async () => {
    const set = await stage()
    await pass(set, 60 * DAY_MS)
    await expect(enrol(set)).resolves.toBeDefined()
  })
})

describe('renewal', () => {
  it('takes the device key anew, and gives the groups that the directory says now', async () => {
    const set = await stage()
    const first = await enrol(set)
    await set.fleet.invite('bob', { groups: ['ops'] })
    const second = await enrol(set)
    expect(second.fingerprint).not.toBe(first.fingerprint)
    expect(read(set, second.certificate).groups).toEqual(['ops'])
    expect(set.principals.find(first.fingerprint)).toBeDefined()
  })

  it('refuses a request whose key is not P-256, or that is none', async () => {
    const set = await stage()
    const { body, exporter } = await enrolment(set)
    for (const csr of ['', 'rubbish', '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END'])
      await expect(set.issuance.enrol({ ...body, csr }, exporter)).rejects.toMatchObject({
        code: 'MCM_BAD_REQUEST',
      })
  })
})
