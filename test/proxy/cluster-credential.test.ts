import { beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { type Authority, createAuthority } from '../../src/pki/authority.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { issueUserCertificate } from '../../src/pki/profiles.ts'
import type { Credential } from '../../src/proxy/cluster.ts'
import { type ClusterCredential, clusterCredential } from '../../src/proxy/cluster-credential.ts'

const HOUR_MS = 3_600_000
const START = new Date('2026-01-01T00:00:00Z')
const CLUSTER = { id: 'c-aaaaaaaaaa', name: 'idc', host: 'h', serverCaPem: '' }

let authority: Authority
let now: Date
let asked: (string | undefined)[]
let failure: Error | undefined
let hangs = false
let changes: Credential[]
let log: string[]
let subject: ClusterCredential

const world = { now: () => now, random: (length: number) => new Uint8Array(length) }

beforeAll(async () => {
  now = START
  authority = await createAuthority(world, { commonName: 'users' })
})

beforeEach(() => {
  now = START
  asked = []
  failure = undefined
  changes = []
  log = []
  const write = (event: string) => void log.push(event)
  const deps = {
    world,
    log: { info: write, warn: write, error: write },
    ways: { credential },
  }
  subject = clusterCredential(deps, CLUSTER, (credential) => changes.push(credential))
})

/** Twelve hours from now on, started five minutes before. */
async function credential(_id: string, refused?: string): Promise<Credential> {
  asked.push(refused)
  if (hangs) await new Promise(() => {})
  if (failure) throw failure
  const key = generateKeyPair()
  const names = { user: 'bob', groups: [], device: 'd'.repeat(43) }
  const issued = await issueUserCertificate(world, authority, { ...key, ...names }, 12 * 3600)
  return { certPem: issued.pem, keyPem: key.privateKeyPem, notAfter: issued.notAfter, ...names }
}

function advance(hours: number): void {
  now = new Date(now.getTime() + hours * HOUR_MS)
}

it('is asked for once, whoever waits, and kept', async () => {
  const all = await Promise.all([subject.current(), subject.current(), subject.current()])
  expect(new Set(all).size).toBe(1)
  expect(await subject.current()).toBe(all[0])
  expect(asked).toEqual([undefined])
  expect(changes).toEqual([all[0]])
})

it('is renewed in the background at two thirds of its life, and nobody waits', async () => {
  const first = await subject.current()
  advance(7)
  subject.renewWhenDue()
  expect(asked).toHaveLength(1)
  advance(1.1)
  subject.renewWhenDue()
  expect(await subject.current()).toBe(first)
  await expect.poll(() => changes.length).toBe(2)
  expect(await subject.current()).toBe(changes[1])
})

it('stays while it cannot be renewed, which is tried once a minute', async () => {
  const first = await subject.current()
  advance(9)
  failure = new Error('no hub answers')
  for (let second = 0; second < 120; second += 5) {
    subject.renewWhenDue()
    await expect.poll(() => log.length).toBe(asked.length - 1)
    expect(await subject.current()).toBe(first)
    advance(5 / 3600)
  }
  expect(asked).toHaveLength(3)
})

it('is not used in its last half minute, nor after', async () => {
  const first = await subject.current()
  now = new Date(first.notAfter.getTime() - 29_000)
  failure = new Error('login needed')
  await expect(subject.current()).rejects.toThrow('login needed')
  failure = undefined
  expect(await subject.current()).not.toBe(first)
})

it('fails for everybody who waited, and is asked for anew by the next', async () => {
  failure = new Error('login needed')
  const all = await Promise.allSettled([subject.current(), subject.current()])
  expect(all.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  failure = undefined
  await subject.current()
  expect(asked).toHaveLength(2)
})

it('that was refused is replaced, telling which one it was', async () => {
  const first = await subject.current()
  subject.refuse(first)
  const second = await subject.current()
  expect(asked).toEqual([undefined, first.certPem])
  subject.refuse(first)
  expect(await subject.current()).toBe(second)
  advance(13)
  await subject.current()
  expect(asked.at(-1)).toBeUndefined()
})

it('that never comes is asked for anew after twenty seconds', async () => {
  vi.useFakeTimers()
  try {
    hangs = true
    const first = subject.current()
    const outcome = expect(first).rejects.toMatchObject({ code: 'MCM_TIMEOUT' })
    await vi.advanceTimersByTimeAsync(20_000)
    await outcome
    hangs = false
    await subject.current()
    expect(asked).toHaveLength(2)
  } finally {
    vi.useRealTimers()
  }
})

it('of a CA that is being replaced is exchanged by whoever asks next, and serves while there is no other', async () => {
  const first = await subject.current()
  subject.replace()
  failure = new Error('no hub')
  expect(await subject.current()).toBe(first)
  failure = undefined
  const second = await subject.current()
  expect(second.certPem).not.toBe(first.certPem)
  expect(await subject.current()).toBe(second)
  expect(asked).toHaveLength(3)
})

it('is replaced ahead of its time when its CA is, though nobody asks for it', async () => {
  const first = await subject.current()
  subject.renewWhenDue()
  expect(asked).toHaveLength(1)
  subject.replace()
  subject.renewWhenDue()
  await vi.waitFor(() => expect(changes).toHaveLength(2))
  expect(await subject.current()).not.toBe(first)
  subject.renewWhenDue()
  expect(asked).toHaveLength(2)
})
