import { createAuthority } from '../../src/pki/authority.ts'
import { createHubCertificate } from '../../src/pki/hub-certificate.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { createKeyCertificate, issueServerCertificate } from '../../src/pki/profiles.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import type { World } from '../../src/world.ts'

/** Real time, because TLS looks at dates; random bytes from the real source. */
export const world: World = {
  now: () => new Date(),
  random: (count) => crypto.getRandomValues(new Uint8Array(count)),
}

/** A hub's own certificate and what is pinned of it. */
export async function hubIdentity(endpoints: readonly string[] = ['127.0.0.1:1', 'localhost:1']) {
  const { privateKeyPem } = generateKeyPair()
  const { pem, der } = await createHubCertificate(world, privateKeyPem, endpoints)
  return { certPem: pem, keyPem: privateKeyPem, pin: sha256(der), der }
}

/** A key and its self-signed certificate, as devices and agents present them. */
export async function keyIdentity() {
  const { privateKeyPem } = generateKeyPair()
  return { keyPem: privateKeyPem, certPem: await createKeyCertificate(world, privateKeyPem) }
}

/** An agent's certificate for one host, and the CA it comes from. */
export async function agentIdentity(host: string) {
  const serverCa = await createAuthority(world, { commonName: 'server CA' })
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const { pem } = await issueServerCertificate(world, serverCa, { publicKeyDer, host }, 3600)
  return { certPem: pem, keyPem: privateKeyPem, serverCa }
}
