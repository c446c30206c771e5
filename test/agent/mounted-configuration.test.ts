import { expect, test } from 'vitest'
import { readMountedConfiguration } from '../../src/agent/mounted-configuration.ts'

const FILES: Readonly<Record<string, string>> = {
  'hub.json': JSON.stringify({ endpoints: ['hub.example.com:8443'], pin: 'p'.repeat(43) }),
  cluster: 'c-aaaaaaaaaa\n',
  fleet: 'f'.repeat(43),
  pairingSecret: 's'.repeat(43),
  prefix: 'mcm:',
}

function read(files: Readonly<Record<string, string>>) {
  return readMountedConfiguration('/etc/mcm/agent', async (path) => {
    expect(path.startsWith('/etc/mcm/agent/')).toBe(true)
    return files[path.slice('/etc/mcm/agent/'.length)]
  })
}

test('each key of the Secret is a file; those that may be missing may be missing', async () => {
  const configuration = await read(FILES)
  expect(configuration).toMatchObject({ cluster: 'c-aaaaaaaaaa', prefix: 'mcm:' })
  expect(configuration.joinToken).toBeUndefined()
  expect((await read({ ...FILES, joinToken: 'j' })).joinToken?.reveal()).toBe('j')
})

test('a file that is missing is named', async () => {
  const { fleet: _, ...rest } = FILES
  await expect(read(rest)).rejects.toThrow('fleet is missing')
})
