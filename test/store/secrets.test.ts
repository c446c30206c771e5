import { chmod, mkdtemp, readdir, readFile, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { beforeEach, expect, test } from 'vitest'
import { Secret } from '../../src/secret.ts'
import { type Keychain, openSecretStore } from '../../src/store/secrets.ts'

let directory: string
let said: string[]

beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'mcm-secrets-')), 'keys')
  said = []
})

const options = (keychain: 'auto' | 'never' | 'require') => ({
  directory,
  keychain,
  service: 'mcm',
  notify: (message: string) => said.push(message),
})

function memoryKeychain(): Keychain & { items: Map<string, string> } {
  const items = new Map<string, string>()
  return {
    items,
    getPassword: async (service, account) => items.get(`${service}/${account}`) ?? null,
    setPassword: async (service, account, value) => void items.set(`${service}/${account}`, value),
    deletePassword: async (service, account) => items.delete(`${service}/${account}`),
  }
}

const noKeychain = async () => Promise.reject(new Error('Cannot autolaunch D-Bus\nsecond line'))

test('a working keychain keeps the secret and no file is written', async () => {
  const keychain = memoryKeychain()
  const store = await openSecretStore(options('auto'), async () => keychain)
  await store.set('device-key', new Secret('PEM'))
  expect(store.kind).toBe('keychain')
  expect((await store.get('device-key'))?.reveal()).toBe('PEM')
  expect(keychain.items.get('mcm/device-key')).toBe('PEM')
  expect(await readdir(directory).catch(() => [])).toEqual([])
  expect(said).toEqual([])
})

test('without a keychain secrets become private files, and that is said once', async () => {
  const store = await openSecretStore(options('auto'), noKeychain)
  await store.set('device-key', new Secret('PEM'))
  expect(store.kind).toBe('file')
  expect(await readFile(join(directory, 'device-key'), 'utf8')).toBe('PEM')
  expect((await stat(join(directory, 'device-key'))).mode & 0o777).toBe(0o600)
  expect((await stat(directory)).mode & 0o777).toBe(0o700)
  expect(said).toHaveLength(1)
  expect(said[0]).toContain('Cannot autolaunch D-Bus')
  expect(said[0]).not.toContain('second line')
})

test('a keychain that is required and missing is an error, never files', async () => {
  const error = await openSecretStore(options('require'), noKeychain).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_KEYCHAIN_UNAVAILABLE', exitCode: 8 })
  expect(await readdir(directory).catch(() => [])).toEqual([])
})

test('never asks no keychain at all', async () => {
  const store = await openSecretStore(options('never'), async () => {
    throw new Error('must not be loaded')
  })
  expect(store.kind).toBe('file')
  expect(said).toEqual([])
})

test('a keychain that fails later says so without the secret', async () => {
  const keychain = memoryKeychain()
  const store = await openSecretStore(options('auto'), async () => keychain)
  keychain.setPassword = async () => Promise.reject(new Error('locked'))
  const error = await store.set('device-key', new Secret('THE-KEY')).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_KEYCHAIN_UNAVAILABLE' })
  expect(inspect(error, { depth: 9 })).not.toContain('THE-KEY')
})

test('deleting a secret says whether there was one', async () => {
  const store = await openSecretStore(options('never'))
  await store.set('x', new Secret('1'))
  expect(await store.delete('x')).toBe(true)
  expect(await store.delete('x')).toBe(false)
  expect(await store.get('x')).toBeUndefined()
})

test('a name cannot leave the directory', async () => {
  const store = await openSecretStore(options('never'))
  for (const name of ['../x', 'a/b', '', '.hidden', 'a'.repeat(300)]) {
    await expect(store.set(name, new Secret('1'))).rejects.toThrow('cannot be used')
  }
})

test('a directory left open by somebody is closed again before a key is put into it', async () => {
  const store = await openSecretStore(options('never'))
  await store.set('x', new Secret('1'))
  await chmod(directory, 0o755)
  await store.set('y', new Secret('2'))
  expect((await stat(directory)).mode & 0o777).toBe(0o700)
})
