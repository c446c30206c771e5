import { afterEach, expect, test, vi } from 'vitest'
import type { DirectoryState, HubRecord } from '../../src/directory/state.ts'
import {
  type CertificateChange,
  followCertificate,
  type OwnCertificate,
} from '../../src/hub/certificate-change.ts'
import { FrozenWorld, RecordedLog } from '../agent/frozen-world.ts'
import { hubIdentity } from '../client/certificates.ts'

const running: CertificateChange[] = []
afterEach(() => {
  for (const change of running.splice(0)) change.stop()
})

async function stage(hasNext = true) {
  const [first, second] = [await hubIdentity(), await hubIdentity()]
  const own = ({ certPem, keyPem }: typeof first): OwnCertificate => ({ pem: certPem, keyPem })
  const world = new FrozenWorld(new Date().toISOString())
  const facts = { hubs: [] as Partial<HubRecord>[], taken: 0, made: 0 }
  const change = followCertificate({
    world,
    log: new RecordedLog(),
    certificate: own(first),
    successor: {
      waiting: hasNext ? own(second) : undefined,
      make: async () => {
        facts.made += 1
        return own(second)
      },
      take: async () => {
        facts.taken += 1
      },
    },
    state: () => ({ hubs: facts.hubs }) as unknown as DirectoryState,
  })
  running.push(change)
  const shown: string[] = []
  change.onChange(({ pem }) => shown.push(pem))
  return { first, second, world, facts, change, shown }
}

const soon = (assertion: () => void) => vi.waitFor(assertion, { interval: 20, timeout: 10_000 })

test('a certificate that waits is offered, and shown from the signed moment on', async () => {
  const { second, world, facts, change, shown } = await stage()
  expect(change.next()).toBe(second.der.toString('base64'))
  const until = new Date(world.now().getTime() + 3_600_000)
  const before = { pin: '', certificateDer: Buffer.alloc(0), until, graceUntil: until }
  facts.hubs = [{ pin: second.pin, previous: before }]
  change.look()
  expect(shown).toEqual([])
  world.advance(3_600_000)
  change.look()
  await soon(() => expect(shown).toEqual([second.certPem]))
  expect(change.next()).toBeUndefined()
  await soon(() => expect(facts.taken).toBe(1))
})

test('a hub that was down at that moment shows it from its start on', async () => {
  const { second, facts, change } = await stage()
  facts.hubs = [{ pin: second.pin }]
  change.look()
  await soon(() => expect(change.current.pem).toBe(second.certPem))
})

test('one that nobody has signed is never shown', async () => {
  const { first, second, facts, change, world } = await stage()
  facts.hubs = [{ pin: first.pin }]
  world.advance(20 * 86_400_000)
  change.look()
  expect(change.current.pem).toBe(first.certPem)
  expect(change.next()).toBe(second.der.toString('base64'))
})

test('the next one is made by itself when two thirds of a life are over', async () => {
  const { second, facts, change, world } = await stage(false)
  expect(change.next()).toBeUndefined()
  world.advance(2_400 * 86_400_000)
  change.look()
  expect(facts.made).toBe(0)
  world.advance(50 * 86_400_000)
  change.look()
  await soon(() => expect(change.next()).toBe(second.der.toString('base64')))
  expect(facts.made).toBe(1)
})
