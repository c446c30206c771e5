import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import {
  type ConnectionOptions,
  connect,
  createServer,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Authority, createAuthority } from '../../src/pki/authority.ts'
import { parseCertificate } from '../../src/pki/certificate.ts'
import { derValue, TAG } from '../../src/pki/der.ts'
import { createHubCertificate } from '../../src/pki/hub-certificate.ts'
import { generateKeyPair, type KeyPair, readPrivateKey } from '../../src/pki/key-pair.ts'
import { pemOf } from '../../src/pki/mint.ts'
import { peerKeyId } from '../../src/pki/peer.ts'
import {
  createKeyCertificate,
  issueServerCertificate,
  issueUserCertificate,
} from '../../src/pki/profiles.ts'
import { readUserCertificate } from '../../src/pki/user-certificate.ts'
import {
  alternatives,
  attribute,
  DEVICE,
  extension,
  forgeCertificate,
  keyIdentifierOfKey,
  nameOf,
  usages,
} from './forge.ts'

/** Real handshakes in Node's TLS. OpenSSL looks at the real clock, so these certificates do as well. */
const world = { now: () => new Date(), random: (bytes: number) => randomBytes(bytes) }
const CLUSTER_HOST = 'c-aaaaaaaaaa.clusters.mcm.internal'
const closers: (() => unknown)[] = []
let serverCa: Authority

beforeAll(async () => {
  serverCa = await createAuthority(world, { commonName: 'mcm server CA c-aaaaaaaaaa' })
})
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

/** A TLS 1.3 server on a free port; every connection's server side is pushed to `seen`. */
async function serve(options: TlsOptions, seen: TLSSocket[] = []): Promise<number> {
  const server = createServer({ minVersion: 'TLSv1.3', ...options }, (socket) => {
    socket.on('error', () => {})
    seen.push(socket)
    socket.end('hello')
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => server.close())
  return (server.address() as AddressInfo).port
}

/** Connects and reads to the end: what the server said, or the code of the failure. */
async function greet(port: number, options: ConnectionOptions): Promise<string> {
  const socket = connect({ ...options, host: '127.0.0.1', port })
  closers.push(() => socket.destroy())
  try {
    let text = ''
    for await (const chunk of socket) text += chunk
    return text
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

describe('a bundle of the hub’s leaf and the cluster’s server CA', () => {
  const hubKey = generateKeyPair()
  const key = hubKey.privateKeyPem.reveal()

  test('lets the hub in under its name', async () => {
    const hub = await createHubCertificate(world, hubKey.privateKeyPem, ['hub.example.com:8443'])
    const port = await serve({ key, cert: hub.pem })
    const ca = [hub.pem, serverCa.certificatePem]
    expect(await greet(port, { ca, servername: 'hub.example.com' })).toBe('hello')
    expect(await greet(port, { ca, servername: CLUSTER_HOST })).toBe('ERR_TLS_CERT_ALTNAME_INVALID')
  })

  test('lets the hub in under its address', async () => {
    const hub = await createHubCertificate(world, hubKey.privateKeyPem, ['127.0.0.1:8443'])
    const port = await serve({ key, cert: hub.pem })
    expect(await greet(port, { ca: [hub.pem, serverCa.certificatePem] })).toBe('hello')
  })

  test('lets the agent in under the cluster host', async () => {
    const hub = await createHubCertificate(world, hubKey.privateKeyPem, ['hub.example.com:8443'])
    const agentKey = generateKeyPair()
    const { publicKeyDer } = agentKey
    const subject = { publicKeyDer, host: CLUSTER_HOST }
    const { pem } = await issueServerCertificate(world, serverCa, subject, 3600)
    const port = await serve({ key: agentKey.privateKeyPem.reveal(), cert: pem })
    const ca = [hub.pem, serverCa.certificatePem]
    expect(await greet(port, { ca, servername: CLUSTER_HOST })).toBe('hello')
    expect(await greet(port, { ca: [hub.pem], servername: CLUSTER_HOST })).not.toBe('hello')
  })

  test.each([
    ['by name', ['hub.example.com:8443']],
    ['by address', ['127.0.0.1:8443']],
    ['by both', ['hub.example.com:8443', '127.0.0.1:8443']],
  ])('refuses a cluster host that a hub reached %s has signed for itself', async (_, endpoints) => {
    const hub = await createHubCertificate(world, hubKey.privateKeyPem, endpoints)
    const forged = generateKeyPair()
    const cert = pemOf('CERTIFICATE', signByHub(hub.der, hubKey, forged))
    const ca = [hub.pem, serverCa.certificatePem]
    for (const chain of [cert, cert + hub.pem]) {
      const port = await serve({ key: forged.privateKeyPem.reveal(), cert: chain })
      expect(await greet(port, { ca, servername: CLUSTER_HOST })).not.toBe('hello')
    }
  })
})

test('the forged certificate is a good one but for its signer', async () => {
  const forged = generateKeyPair()
  const key = { ...forged, privateKeyPem: serverCa.privateKeyPem }
  const cert = pemOf('CERTIFICATE', signByHub(serverCa.certificateDer, key, forged))
  const port = await serve({ key: forged.privateKeyPem.reveal(), cert })
  const ca = [serverCa.certificatePem]
  expect(await greet(port, { ca, servername: CLUSTER_HOST })).toBe('hello')
})

describe('a user certificate', () => {
  test('passes a handshake with the longest of names, and the server reads it from the DER', async () => {
    const userCa = await createAuthority(world, { commonName: 'mcm user CA' })
    const user = `Ł${'ń'.repeat(125)}`
    const { seen, port } = await serveUsers(userCa)
    const { publicKeyDer, privateKeyPem } = generateKeyPair()
    const subject = { publicKeyDer, user, groups: ['dev', '運用'], device: DEVICE }
    const { pem } = await issueUserCertificate(world, userCa, subject, 3600)
    const client = { rejectUnauthorized: false, cert: pem, key: privateKeyPem.reveal() }
    expect(await greet(port, client)).toBe('hello')
    const peer = seen[0]!.getPeerX509Certificate()!
    expect(readUserCertificate(peer.raw, userCa.certificateDer)).toMatchObject({
      user,
      groups: ['dev', '運用'],
    })
  })

  test('of another cluster’s CA ends in the handshake', async () => {
    const [ours, theirs] = await Promise.all([
      createAuthority(world, { commonName: 'mcm user CA' }),
      createAuthority(world, { commonName: 'mcm user CA' }),
    ])
    const { seen, port } = await serveUsers(ours)
    const { publicKeyDer, privateKeyPem } = generateKeyPair()
    const subject = { publicKeyDer, user: 'bob', groups: [], device: DEVICE }
    const { pem } = await issueUserCertificate(world, theirs, subject, 3600)
    const client = { rejectUnauthorized: false, cert: pem, key: privateKeyPem.reveal() }
    expect(await greet(port, client)).not.toBe('hello')
    expect(seen).toEqual([])
  })

  /** An agent's way to serve: strict TLS with the user CA. */
  async function serveUsers(userCa: Authority) {
    const seen: TLSSocket[] = []
    const { publicKeyDer, privateKeyPem } = generateKeyPair()
    const subject = { publicKeyDer, host: CLUSTER_HOST }
    const { pem } = await issueServerCertificate(world, serverCa, subject, 3600)
    const key = privateKeyPem.reveal()
    const strict = { requestCert: true, rejectUnauthorized: true, ca: [userCa.certificatePem] }
    return { seen, port: await serve({ key, cert: pem, ...strict }, seen) }
  }
})

test('a key’s certificate tells a hub which key the peer holds', async () => {
  const seen: TLSSocket[] = []
  const hub = generateKeyPair()
  const { pem } = await createHubCertificate(world, hub.privateKeyPem, ['127.0.0.1:1'])
  const options = { key: hub.privateKeyPem.reveal(), cert: pem }
  const lax = { requestCert: true, rejectUnauthorized: false }
  const port = await serve({ ...options, ...lax }, seen)
  const device = generateKeyPair()
  const cert = await createKeyCertificate(world, device.privateKeyPem)
  const client = { ca: [pem], cert, key: device.privateKeyPem.reveal() }
  expect(await greet(port, client)).toBe('hello')
  const der = Buffer.from(cert.split('\n').slice(1, -2).join(''), 'base64')
  expect(peerKeyId(seen[0]!.getPeerX509Certificate()!.raw)).toBe(peerKeyId(der))
})

/** What a hub turned hostile would make: a certificate for the cluster host, signed by the hub's key. */
function signByHub(issuerDer: Buffer, issuerKey: KeyPair, leaf: KeyPair): Buffer {
  const issuer = parseCertificate(issuerDer)
  const identifier = derValue(0x80, keyIdentifierOfKey(issuer.publicKeyDer))
  return forgeCertificate({
    version: Buffer.of(2),
    serial: Buffer.from('5b'.repeat(16), 'hex'),
    hash: 'sha256',
    issuer: issuer.subject,
    subject: nameOf([attribute('commonName', CLUSTER_HOST)]),
    notBefore: '200101000000Z',
    notAfter: '491231235959Z',
    publicKeyDer: leaf.publicKeyDer,
    signingKey: readPrivateKey(issuerKey.privateKeyPem),
    extensions: [
      extension('basicConstraints', '3000', true),
      extension('keyUsage', '03020780', true),
      usages('serverAuth'),
      alternatives([0x82, CLUSTER_HOST]),
      extension('authorityKeyIdentifier', derValue(TAG.sequence, identifier)),
    ],
  })
}
