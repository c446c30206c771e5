import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  hubIdentity,
  nextHubIdentity,
  takeNextIdentity,
  waitingHubIdentity,
} from '../../src/hub/data.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { realWorld } from '../../src/runtime.ts'

let directory: string
const world = realWorld()

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mcm-hub-data-'))
})

afterEach(() => rm(directory, { recursive: true, force: true }))

const open = (endpoints: string[], renew = false) => hubIdentity(world, directory, endpoints, renew)

test('the first start makes a certificate and a private key, later starts keep them', async () => {
  const first = await open(['hub.example.com:8443'])
  expect((await stat(join(directory, 'hub-key.pem'))).mode & 0o777).toBe(0o600)
  const second = await open(['hub.example.com:8443'])
  expect(second.pin).toBe(first.pin)
  expect(second.certificate.keyPem.reveal()).toBe(first.certificate.keyPem.reveal())
})

test('two starts at once agree on one certificate', async () => {
  const both = await Promise.all([1, 2].map(() => open(['hub.example.com:8443'])))
  expect(both[0]!.pin).toBe(both[1]!.pin)
})

test('another port or fewer names need no other certificate, another name does and is refused', async () => {
  const first = await open(['hub.example.com:8443', '10.0.0.5:8443'])
  expect((await open(['hub.example.com:443'])).pin).toBe(first.pin)
  await expect(open(['other.example.com:8443'])).rejects.toMatchObject({
    code: 'MCM_USAGE',
    hint: expect.stringContaining('--new-certificate'),
  })
  expect((await open(['other.example.com:8443'], true)).pin).not.toBe(first.pin)
})

test('a certificate without its key, or a damaged one, is said and not replaced', async () => {
  await open(['hub.example.com:8443'])
  await rm(join(directory, 'hub-key.pem'))
  await expect(open(['hub.example.com:8443'])).rejects.toMatchObject({ code: 'MCM_STATE_DAMAGED' })
  await writeFile(join(directory, 'hub-key.pem'), 'x')
  await writeFile(join(directory, 'hub-certificate.pem'), 'nonsense')
  await expect(open(['hub.example.com:8443'])).rejects.toMatchObject({ code: 'MCM_STATE_DAMAGED' })
  expect(await readFile(join(directory, 'hub-certificate.pem'), 'utf8')).toBe('nonsense')
})

test.each([
  ['damaged', () => 'nonsense'],
  ['another', () => generateKeyPair().privateKeyPem.reveal()],
])('a key that is %s is said before anybody is served, and not replaced', async (_, keyPem) => {
  await open(['hub.example.com:8443'])
  const key = keyPem()
  await writeFile(join(directory, 'hub-key.pem'), key)
  await expect(open(['hub.example.com:8443'])).rejects.toMatchObject({
    code: 'MCM_STATE_DAMAGED',
    exitCode: 8,
    message: expect.not.stringContaining('nonsense'),
  })
  expect(await readFile(join(directory, 'hub-key.pem'), 'utf8')).toBe(key)
})

test.each(['*.example.com:8443', 'hub.internal:8443'])(
  'the name %s is refused',
  async (endpoint) => {
    await expect(open([endpoint])).rejects.toMatchObject({ exitCode: 2 })
  },
)

test('the next certificate waits beside, the same for whoever asks, and takes the place of the first', async () => {
  const endpoints = ['hub.example.com:8443']
  const first = await open(endpoints)
  expect(await waitingHubIdentity(directory)).toBeUndefined()
  const next = await nextHubIdentity(world, directory, endpoints)
  expect((await nextHubIdentity(world, directory, endpoints)).pin).toBe(next.pin)
  expect((await waitingHubIdentity(directory))?.pin).toBe(next.pin)
  expect((await open(endpoints)).pin).toBe(first.pin)
  await takeNextIdentity(directory)
  expect((await open(endpoints)).pin).toBe(next.pin)
  expect(await waitingHubIdentity(directory)).toBeUndefined()
})

test('a crash while the next certificate takes its place is mended at the next start', async () => {
  const endpoints = ['hub.example.com:8443']
  await open(endpoints)
  const next = await nextHubIdentity(world, directory, endpoints)
  await writeFile(join(directory, 'hub-key.pem'), next.certificate.keyPem.reveal())
  expect((await open(endpoints)).pin).toBe(next.pin)
  expect(await waitingHubIdentity(directory)).toBeUndefined()
})

test('whoever replaces a certificate at once has no next one ready that lay beside it', async () => {
  const endpoints = ['hub.example.com:8443']
  await open(endpoints)
  await nextHubIdentity(world, directory, endpoints)
  await open(endpoints, true)
  expect(await waitingHubIdentity(directory)).toBeUndefined()
})
