import { createPrivateKey, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { derValue, TAG } from '../../src/pki/der.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { pemOf } from '../../src/pki/mint.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import { formatLink } from '../../src/protocol/link.ts'
import {
  alternatives,
  attribute,
  extension,
  forgeCertificate,
  nameOf,
  usages,
} from '../pki/forge.ts'
import { MCM, runProgram } from './program.ts'

const [DNS, IP] = [0x82, 0x87]
const LOOPBACK = Buffer.of(127, 0, 0, 1)
const name = nameOf([attribute('commonName', 'mcm hub')])

function constraints(...permitted: Buffer[]): Buffer {
  const subtrees = permitted.map((subtree) => derValue(TAG.sequence, subtree))
  const excluded = derValue(TAG.sequence, derValue(DNS, Buffer.from('internal')))
  const value = derValue(TAG.sequence, derValue(0xa0, ...subtrees), derValue(0xa1, excluded))
  return extension('nameConstraints', value, true)
}

const loopback = derValue(IP, LOOPBACK, Buffer.alloc(4, 0xff))
const dns = (host: string) => derValue(DNS, Buffer.from(host))
const GOOD = {
  basicConstraints: extension('basicConstraints', '3000', true),
  keyUsage: extension('keyUsage', '03020780', true),
  usage: usages('serverAuth'),
  names: alternatives([IP, LOOPBACK]),
  constraints: constraints(loopback),
}

/** What each would let a hub do in some client: sign for a cluster, or be one. */
const BAD: readonly (readonly [string, Partial<Record<keyof typeof GOOD, Buffer | undefined>>])[] =
  [
    ['is a CA', { basicConstraints: extension('basicConstraints', '30030101ff', true) }],
    ['may sign certificates', { keyUsage: extension('keyUsage', '03020284', true) }],
    ['has no name constraints', { constraints: undefined }],
    [
      'has a wildcard',
      {
        names: alternatives([IP, LOOPBACK], [DNS, '*.example.com']),
        constraints: constraints(loopback, dns('*.example.com')),
      },
    ],
    [
      'has a name of the inner layer',
      {
        names: alternatives([IP, LOOPBACK], [DNS, 'c-aaaaaaaaaa.clusters.mcm.internal']),
        constraints: constraints(loopback, dns('c-aaaaaaaaaa.clusters.mcm.internal')),
      },
    ],
  ]

describe('mcm login with a link of a hub whose pinned certificate', () => {
  let home: string
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'mcm-test-login-'))
  })
  afterEach(() => rm(home, { recursive: true, force: true }))

  /** Serves such a certificate and logs in there: how it ended, and what arrived in clear. */
  async function login(parts: Partial<Record<keyof typeof GOOD, Buffer | undefined>>) {
    const { privateKeyPem, publicKeyDer } = generateKeyPair()
    const der = forgeCertificate({
      version: Buffer.of(2),
      serial: Buffer.from('5a'.repeat(16), 'hex'),
      hash: 'sha256',
      issuer: name,
      subject: name,
      notBefore: '200101000000Z',
      notAfter: '491231000000Z',
      publicKeyDer,
      extensions: Object.values({ ...GOOD, ...parts }).filter((each) => each !== undefined),
      signingKey: createPrivateKey(privateKeyPem.reveal()),
    })
    let heard = ''
    const certificate = { cert: pemOf('CERTIFICATE', der), key: privateKeyPem.reveal() }
    const server = createServer({ ...certificate, ALPNProtocols: ['h2'] }, (socket) => {
      socket.on('error', () => {})
      socket.once('data', (chunk) => {
        heard += String(chunk)
        socket.destroy()
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const link = formatLink({
      kind: 'join',
      endpoints: [`127.0.0.1:${port}`],
      hubPin: sha256(der),
      fleet: sha256(der),
      secret: randomBytes(16).toString('base64url'),
    })
    const env = { MCM_HOME: home, MCM_KEYCHAIN: 'never', HOME: home }
    const result = await runProgram(process.execPath, [MCM, 'login', link], { env })
    server.close()
    return { ...result, heard }
  }

  test('is as it must be: talks to it', async () => {
    expect((await login({})).heard).toMatch(/^PRI \* HTTP\/2/)
  })

  test.each(BAD)('%s: says nothing to it and keeps nothing', async (_, parts) => {
    const { exitCode, stderr, heard } = await login(parts)
    expect({ exitCode, heard }).toEqual({ exitCode: 7, heard: '' })
    expect(stderr).toContain("the hub's certificate is refused")
    expect(await readdir(home)).not.toContain('state.json')
  })
})
