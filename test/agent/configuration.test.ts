import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { AGENT_SECRET_KEYS, agentManifest } from '../../src/access/manifest.ts'
import { configurationFromSecret, readConfiguration } from '../../src/agent/configuration.ts'
import { Secret } from '../../src/secret.ts'

const PAIRING = 'S'.repeat(43)
const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'

function files(changes: Record<string, string | undefined> = {}): Map<string, string> {
  const good = {
    'hub.json': JSON.stringify({ endpoints: ['hub.example.org:8443'], pin: 'p'.repeat(43) }),
    cluster: 'c-abcdefgh22',
    fleet: 'f'.repeat(43),
    joinToken: 'join-token',
    pairingSecret: PAIRING,
    prefix: 'mcm:',
  }
  const entries = Object.entries({ ...good, ...changes })
  return new Map(entries.filter((entry): entry is [string, string] => entry[1] !== undefined))
}

function problemOf(changes: Record<string, string | undefined>): string {
  try {
    readConfiguration(files(changes))
  } catch (error) {
    expect(error).toMatchObject({ code: 'MCM_STATE_DAMAGED' })
    return (error as Error).message
  }
  return 'none'
}

describe('the agent’s configuration', () => {
  it('is read from the very Secret that the manifest writes', () => {
    const objects = agentManifest({
      cluster: 'c-abcdefgh22',
      hub: { endpoints: ['hub.example.org:8443', '[2001:db8::1]:443'], pin: 'p'.repeat(43) },
      fleet: 'f'.repeat(43),
      joinToken: new Secret('join-token'),
      pairingSecret: new Secret(PAIRING),
      prefix: 'mcm:',
      owner: 'alice',
      userCaPem: PEM,
    })
    const secret = objects.find(({ kind }) => kind === 'Secret')!
    const read = configurationFromSecret(secret as { data?: Record<string, string> })
    expect(read).toMatchObject({
      cluster: 'c-abcdefgh22',
      fleet: 'f'.repeat(43),
      hub: { endpoints: ['hub.example.org:8443', '[2001:db8::1]:443'], pin: 'p'.repeat(43) },
      prefix: 'mcm:',
      userCaPem: PEM,
    })
    expect(read.joinToken?.reveal()).toBe('join-token')
    expect(read.pairingSecret.reveal()).toBe(PAIRING)
  })

  it('takes files as editors leave them, and lives without join token and owner’s user CA', () => {
    const read = readConfiguration(
      files({ cluster: 'c-abcdefgh22\n', joinToken: undefined, userCa: '\n' }),
    )
    expect(read.cluster).toBe('c-abcdefgh22')
    expect(read.joinToken).toBeUndefined()
    expect(read.userCaPem).toBeUndefined()
  })

  it.each([
    [{ cluster: undefined }, 'cluster is missing'],
    [{ cluster: '../c-abcdefgh22' }, 'cluster is damaged'],
    [{ cluster: 'c-ABCDEFGH22' }, 'cluster is damaged'],
    [{ fleet: 'short' }, 'fleet is damaged'],
    [{ 'hub.json': '{' }, 'hub.json is damaged'],
    [{ 'hub.json': '{"endpoints":[],"pin":"x"}' }, 'hub.json is damaged'],
    [{ 'hub.json': `{"endpoints":["evil/x:1"],"pin":"${'p'.repeat(43)}"}` }, 'hub.json is damaged'],
    [{ pairingSecret: 'too-short' }, 'pairingSecret is damaged'],
    [
      { pairingSecret: undefined, cluster: undefined },
      'cluster is missing, pairingSecret is missing',
    ],
    [{ prefix: 'system:' }, 'prefix is damaged'],
    [{ prefix: 'mcm' }, 'prefix is damaged'],
    [{ userCa: 'no pem' }, 'userCa is damaged'],
  ])('is refused with %j, naming the file: %s', (changes, problem) => {
    expect(problemOf(changes)).toContain(problem)
  })

  it('never shows a secret: not in an error, not when it is printed', () => {
    expect(problemOf({ pairingSecret: 'geheim!' })).not.toContain('geheim')
    expect(inspect(readConfiguration(files()), { depth: 9 })).not.toContain(PAIRING)
    expect(JSON.stringify(readConfiguration(files()))).not.toContain('join-token')
  })

  it('ignores whatever else stands beside it', () => {
    expect(() => readConfiguration(files({ '..data': 'x', ca: 'y' }))).not.toThrow()
    expect(Object.values(AGENT_SECRET_KEYS)).toHaveLength(7)
  })
})
