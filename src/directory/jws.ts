import type { KeyObject } from 'node:crypto'
import { FlattenedSign, flattenedVerify } from 'jose'
import { z } from 'zod'
import { keyId, type PublicJwk, publicJwk } from '../protocol/keys.ts'
import { publicKeyObject, type SigningKey } from './signing-key.ts'

/**
 * JWS General JSON Serialization (RFC 7515 §7.2.1) in exactly one text. What is read is written again and
 * compared, so one signed text has one hash, and no reader finds in it what another did not.
 */

/** A signature that nobody has checked, and the key it claims to be by. */
export interface UnverifiedSignature {
  readonly protected: string
  readonly signature: string
  readonly jwk: PublicJwk
}

/** Keys by key id, kept for as long as one chain is checked: most of it is signed by few. */
export type KeyCache = Map<string, KeyObject>

const TYP = 'mcm-statement'
const SIGNATURE_BYTES = 64
/** The order of P-256 (SEC 2 §2.4.2), and half of it. */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
const HALF_ORDER = Buffer.from((ORDER >> 1n).toString(16).padStart(64, '0'), 'hex')

const jwsSchema = z.strictObject({
  payload: z.string(),
  signatures: z
    .array(z.strictObject({ protected: z.string(), signature: z.string() }))
    .min(1)
    .max(2),
})

const headerSchema = z.object({ jwk: z.unknown() })

/** Takes a text apart, checking every part's form and no signature. @throws Error */
export function readJws(text: string): {
  payload: string
  signatures: readonly UnverifiedSignature[]
} {
  const { payload, signatures } = jwsSchema.parse(JSON.parse(text))
  if (JSON.stringify({ payload, signatures }) !== text)
    throw new Error('its text is not in its one form')
  return { payload, signatures: signatures.map(readSignature) }
}

/** Signs a base64url payload with each key, in order. */
export async function signJws(payload: string, signers: readonly SigningKey[]): Promise<string> {
  const signatures = await Promise.all(signers.map((signer) => sign(payload, signer)))
  return JSON.stringify({ payload, signatures })
}

/** Checks one signature. @throws Error */
export async function verifySignature(
  payload: string,
  { jwk, ...parts }: UnverifiedSignature,
  keys: KeyCache,
): Promise<void> {
  const id = keyId(jwk)
  const key = keys.get(id) ?? publicKeyObject(jwk)
  keys.set(id, key)
  await flattenedVerify({ payload, ...parts }, key, { algorithms: [algorithmOf(jwk)] })
}

/** A value as base64url of its JSON. */
export function encodeJson(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

/** What was encoded; whether this is its only encoding is for the caller to compare. @throws Error */
export function decodeJson(encoded: string): unknown {
  return JSON.parse(Buffer.from(encoded, 'base64url').toString('utf8'))
}

async function sign(payload: string, signer: SigningKey) {
  const header = { alg: algorithmOf(signer.jwk), typ: TYP, jwk: signer.jwk }
  const signed = await new FlattenedSign(Buffer.from(payload, 'base64url'))
    .setProtectedHeader(header)
    .sign(signer.privateKey)
  const bytes = Buffer.from(signed.signature, 'base64url')
  const signature = signer.jwk.kty === 'EC' ? withLowS(bytes) : bytes
  return { protected: encodeJson(header), signature: signature.toString('base64url') }
}

function readSignature(part: { protected: string; signature: string }): UnverifiedSignature {
  const jwk = readHeader(part.protected)
  const bytes = Buffer.from(part.signature, 'base64url')
  if (bytes.length !== SIGNATURE_BYTES || bytes.toString('base64url') !== part.signature)
    throw new Error('a signature is not 64 bytes in base64url')
  if (jwk.kty === 'EC' && bytes.subarray(32).compare(HALF_ORDER) > 0)
    throw new Error('a signature is not in its one form')
  return { ...part, jwk }
}

function readHeader(encoded: string): PublicJwk {
  const { jwk: unchecked } = headerSchema.parse(decodeJson(encoded))
  const jwk = publicJwk(unchecked)
  if (!jwk) throw new Error('a signer has no key of ours')
  if (encodeJson({ alg: algorithmOf(jwk), typ: TYP, jwk }) !== encoded)
    throw new Error('a header is not exactly alg, typ and jwk')
  return jwk
}

/**
 * ECDSA holds for s and for order − s alike. Only the lower one counts here, or whoever relays a
 * statement could give it a second hash, and so fork the chain without any key.
 */
function withLowS(signature: Buffer): Buffer {
  const s = signature.subarray(32)
  if (s.compare(HALF_ORDER) <= 0) return signature
  const low = (ORDER - BigInt(`0x${s.toString('hex')}`)).toString(16).padStart(64, '0')
  return Buffer.concat([signature.subarray(0, 32), Buffer.from(low, 'hex')])
}

/** RFC 7518 §3.4 and RFC 8037 §3.1. The key decides, never the header. */
function algorithmOf(jwk: PublicJwk): 'ES256' | 'EdDSA' {
  return jwk.kty === 'EC' ? 'ES256' : 'EdDSA'
}
