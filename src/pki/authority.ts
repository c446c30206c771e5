/**
 * pki knows keys, certificates and requests: how ours are made, and how strictly a foreign one is
 * read. It must not know who is in the directory, what anybody may do, or where anything is kept.
 * PEM strings, DER Buffers and Dates go in and out; nothing of the certificate library does.
 * Its invariant: everything is P-256 with SHA-256, and no certificate made here except an
 * authority's own can sign another.
 */
import { X509Certificate } from 'node:crypto'
import { messageOf, StateError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import type { World } from '../world.ts'
import { type Certificate, OID, p256PublicKey, parseCertificate } from './certificate.ts'
import { readDer, TAG } from './der.ts'
import { generateKeyPair, publicKeyDerOf, readPrivateKey } from './key-pair.ts'
import { mint, pemOf } from './mint.ts'

/** A CA of one cluster and one purpose, or of one local proxy. */
export interface Authority {
  readonly certificatePem: string
  readonly certificateDer: Buffer
  readonly privateKeyPem: Secret<string>
  readonly notAfter: Date
}

const DAY_MS = 86_400_000
export const BACKDATE_MS = 300_000

/**
 * A new CA: P-256, CA:true with path length 0, keyCertSign, both critical (RFC 5280 §4.2.1.3, §4.2.1.9).
 * `commonName`: up to 64 characters that tell this CA from every other. Valid 3650 days unless said.
 */
export async function createAuthority(
  world: World,
  options: { readonly commonName: string; readonly validityDays?: number },
): Promise<Authority> {
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const now = wholeSeconds(world.now()).getTime()
  const { der, pem, notAfter } = await mint(world, {
    subject: { commonName: options.commonName },
    publicKeyDer,
    signingKey: readPrivateKey(privateKeyPem),
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(now + (options.validityDays ?? 3650) * DAY_MS),
    role: { kind: 'authority' },
  })
  return { certificatePem: pem, certificateDer: der, privateKeyPem, notAfter }
}

/** A stored CA; certificate and key must belong together. @throws StateError MCM_STATE_DAMAGED */
export function loadAuthority(certificatePem: string, privateKeyPem: Secret<string>): Authority {
  const certificate = storedCertificate(certificatePem)
  const publicKeyDer = publicKeyDerOf(readPrivateKey(privateKeyPem))
  if (!publicKeyDer.equals(certificate.publicKeyDer))
    throw damaged('its key belongs to another certificate')
  if (!isAuthority(certificate)) throw damaged('it is not a CA')
  const { der, notAfter } = certificate
  return {
    certificatePem: pemOf('CERTIFICATE', der),
    certificateDer: der,
    privateKeyPem,
    notAfter,
  }
}

/** Whole seconds: X.509 times have no fractions, and what we say must be what the certificate says. */
export function wholeSeconds(time: Date): Date {
  return new Date(Math.floor(time.getTime() / 1000) * 1000)
}

/** The subject key identifier as hex, undefined when there is none. @throws DerError */
export function keyIdentifierOf(certificate: Certificate): string | undefined {
  const extension = certificate.extensions.get(OID.subjectKeyIdentifier)
  return extension && readDer(extension.value, TAG.octetString).content.toString('hex')
}

function storedCertificate(certificatePem: string): Certificate {
  try {
    const certificate = parseCertificate(new X509Certificate(certificatePem).raw)
    p256PublicKey(certificate.publicKeyDer)
    return certificate
  } catch (error) {
    throw damaged(messageOf(error))
  }
}

/** SEQUENCE { TRUE, … }: the CA flag of basic constraints is set. */
function isAuthority(certificate: Certificate): boolean {
  const constraints = certificate.extensions.get(OID.basicConstraints)
  return constraints?.value.subarray(2, 5).equals(Buffer.from('0101ff', 'hex')) ?? false
}

function damaged(why: string): StateError {
  return new StateError('MCM_STATE_DAMAGED', `a stored CA cannot be used: ${why}`)
}
