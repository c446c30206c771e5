import { messageOf, UsageError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { isSignedBy, p256PublicKey, parseName } from './certificate.ts'
import { DerReader, readDer, readWholeBytes, TAG } from './der.ts'
import { readPrivateKey } from './key-pair.ts'
import { mintRequest, pemOf } from './mint.ts'

/**
 * Certificate requests (PKCS #10, RFC 2986). A request proves that whoever sends it holds the key;
 * everything else it asks for is read past and never returned, so nobody can grant it by mistake.
 */

const MAX_REQUEST_CHARACTERS = 8192
const ATTRIBUTES = 0xa0
const PEM =
  /^\s*-----BEGIN CERTIFICATE REQUEST-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE REQUEST-----\s*$/

/** A request for this key as PEM. The name is for people who look at it; no issuer reads it. */
export async function createCsr(
  privateKeyPem: Secret<string>,
  commonName = 'mcm',
): Promise<string> {
  const der = await mintRequest(readPrivateKey(privateKeyPem), { commonName })
  return pemOf('CERTIFICATE REQUEST', der)
}

/**
 * The key of a request, its signature checked (RFC 2986 §4.2): P-256 with SHA-256, at most 8 KiB of PEM.
 * @throws UsageError MCM_BAD_REQUEST
 */
export async function readCsr(pem: string): Promise<{ der: Buffer; publicKeyDer: Buffer }> {
  try {
    return parseRequest(derOf(pem))
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw badRequest(messageOf(error))
  }
}

function derOf(pem: string): Buffer {
  if (pem.length > MAX_REQUEST_CHARACTERS) throw badRequest('it is over 8 KiB')
  const base64 = PEM.exec(pem)?.[1]?.replaceAll(/\s/g, '')
  if (!base64) throw badRequest('it is not one PEM block CERTIFICATE REQUEST')
  const der = Buffer.from(base64, 'base64')
  if (der.toString('base64') !== base64) throw badRequest('its base64 is damaged')
  return der
}

function parseRequest(der: Buffer): { der: Buffer; publicKeyDer: Buffer } {
  const parts = new DerReader(readDer(der, TAG.sequence).content)
  const info = parts.take(TAG.sequence)
  const signatureAlgorithm = parts.take(TAG.sequence).raw
  const signature = readWholeBytes(parts.take(TAG.bitString).content)
  parts.end()
  const publicKeyDer = publicKeyOfInfo(new DerReader(info.content))
  const signed = { toBeSigned: info.raw, signature, signatureAlgorithm }
  if (!isSignedBy(signed, p256PublicKey(publicKeyDer)))
    throw badRequest('its signature is not ECDSA with SHA-256 by its own key')
  return { der, publicKeyDer }
}

function publicKeyOfInfo(fields: DerReader): Buffer {
  const version = fields.take(TAG.integer).content
  if (version.length !== 1 || version[0] !== 0) throw badRequest('it is not version 1')
  parseName(fields.take(TAG.sequence).raw)
  const publicKeyDer = fields.take(TAG.sequence).raw
  fields.takeIf(ATTRIBUTES)
  fields.end()
  return publicKeyDer
}

function badRequest(why: string): UsageError {
  return new UsageError('MCM_BAD_REQUEST', `the certificate request cannot be used: ${why}`)
}
