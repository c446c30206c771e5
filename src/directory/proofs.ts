import { CompactSign, compactVerify } from 'jose'
import type { z } from 'zod'
import { IdentityError, messageOf, TrustError } from '../errors.ts'
import { keyId, type PublicJwk, publicJwk } from '../protocol/keys.ts'
import {
  enrolmentProofSchema,
  inviteProofSchema,
  publicationPayloadSchema,
} from '../protocol/messages.ts'
import type { Secret } from '../secret.ts'
import { publicKeyObject, type SigningKey } from './signing-key.ts'

/**
 * The other signed texts of the protocol, all JWS Compact (RFC 7515 §7.1) in exactly one form: what the invited
 * prove to a hub (PROTOCOL §5.1), what an agent publishes under the pairing secret (§7), and what a device
 * proves when it enrols (§8).
 */

/** What an agent says of its new cluster: CA certificates in base64 DER, and its public key. */
export interface PublicationPayload {
  readonly cluster: string
  readonly serverCa: string
  readonly userCa: string
  readonly agentKey: PublicJwk
}

/** What a device signs: hash of its request, exporter value of its connection, and when (RFC 3339). */
export type EnrolmentProof = z.infer<typeof enrolmentProofSchema>

/** What the holder of an invite signs: its fleet, exporter value of its connection, and when (RFC 3339). */
export type InviteProof = z.infer<typeof inviteProofSchema>

const INVITE = 'mcm invite v1'
const INVITE_TYP = 'mcm-invite-proof'
const REGISTER = 'mcm register v1'
const ENROL = 'mcm enrol v1'
/** RFC 7518 §3.2: HS256 wants a key as long as its hash. */
const MIN_PAIRING_SECRET_BYTES = 32

/** The publication. `secret`: the pairing secret, 32 bytes or more, base64url. */
export async function signPublication(
  secret: Secret<string>,
  payload: PublicationPayload,
): Promise<string> {
  const { cluster, serverCa, userCa, agentKey } = payload
  const text = JSON.stringify({ purpose: REGISTER, cluster, serverCa, userCa, agentKey })
  return new CompactSign(Buffer.from(text))
    .setProtectedHeader({ alg: 'HS256' })
    .sign(pairingKey(secret))
}

/**
 * The publication of this cluster, by somebody who holds the pairing secret.
 * @throws TrustError MCM_PAIRING_MISMATCH
 */
export async function verifyPublication(
  secret: Secret<string>,
  text: string,
  clusterId: string,
): Promise<PublicationPayload> {
  const payload = await readPublication(secret, text).catch((error: unknown) => {
    throw mismatch(messageOf(error))
  })
  if (payload.cluster !== clusterId) throw mismatch(`it is for ${payload.cluster}`)
  return payload
}

/** The proof that a device makes for one connection. */
export async function signEnrolmentProof(
  key: SigningKey,
  payload: Omit<EnrolmentProof, 'purpose'>,
): Promise<string> {
  const { cluster, csr, exporter, time } = payload
  const text = JSON.stringify({ purpose: ENROL, cluster, csr, exporter, time })
  return new CompactSign(Buffer.from(text))
    .setProtectedHeader({ alg: 'ES256', jwk: key.jwk })
    .sign(key.privateKey)
}

/**
 * Which key has signed a proof, and what. Whose key it is, and whether cluster, request, connection and time
 * are the right ones, is for the caller to judge. @throws IdentityError MCM_DEVICE_UNKNOWN
 */
export async function verifyEnrolmentProof(
  text: string,
): Promise<{ key: PublicJwk; keyId: string; payload: EnrolmentProof }> {
  try {
    const key = claimedKey(text)
    if (key?.kty !== 'EC') throw new Error('its key is not P-256')
    const header = { alg: 'ES256', jwk: key }
    return { key, keyId: keyId(key), payload: await readProof(text, header, enrolmentProofSchema) }
  } catch (error) {
    throw new IdentityError('MCM_DEVICE_UNKNOWN', `the enrolment proof fails: ${messageOf(error)}`)
  }
}

/** The proof that the holder of an invite makes for one connection. */
export async function signInviteProof(
  key: SigningKey,
  payload: Omit<InviteProof, 'purpose'>,
): Promise<string> {
  const { fleet, exporter, time } = payload
  const text = JSON.stringify({ purpose: INVITE, fleet, exporter, time })
  return new CompactSign(Buffer.from(text))
    .setProtectedHeader({ alg: 'EdDSA', typ: INVITE_TYP, jwk: key.jwk })
    .sign(key.privateKey)
}

/**
 * Which key has signed a proof, and what. Whether there is such an invite, and whether fleet, connection
 * and time are the right ones, is for the caller to judge. @throws IdentityError MCM_INVITE_EXPIRED
 */
export async function verifyInviteProof(
  text: string,
): Promise<{ keyId: string; payload: InviteProof }> {
  try {
    const key = claimedKey(text)
    if (key?.kty !== 'OKP') throw new Error('its key is not Ed25519')
    const header = { alg: 'EdDSA', typ: INVITE_TYP, jwk: key }
    return { keyId: keyId(key), payload: await readProof(text, header, inviteProofSchema) }
  } catch (error) {
    throw new IdentityError('MCM_INVITE_EXPIRED', `the invite proof fails: ${messageOf(error)}`)
  }
}

function claimedKey(text: string): PublicJwk | undefined {
  const { jwk } = decodeJson(text.split('.')[0]) as { jwk?: unknown }
  return publicJwk(jwk)
}

/** What is signed under exactly this header, by the key in it. @throws Error */
async function readProof<T>(
  text: string,
  header: { readonly alg: string; readonly jwk: PublicJwk },
  schema: z.ZodType<T>,
): Promise<T> {
  const key = publicKeyObject(header.jwk)
  const signed = await compactVerify(text, key, { algorithms: [header.alg] })
  requireOneForm(text, header, signed.payload)
  return schema.parse(JSON.parse(Buffer.from(signed.payload).toString()))
}

async function readPublication(secret: Secret<string>, text: string): Promise<PublicationPayload> {
  const signed = await compactVerify(text, pairingKey(secret), { algorithms: ['HS256'] })
  requireOneForm(text, { alg: 'HS256' }, signed.payload)
  const payload = publicationPayloadSchema.parse(JSON.parse(Buffer.from(signed.payload).toString()))
  const agentKey = publicJwk(payload.agentKey)
  if (agentKey?.kty !== 'EC') throw new Error('its agent key is not P-256')
  const { cluster, serverCa, userCa } = payload
  return { cluster, serverCa, userCa, agentKey }
}

/** Header and payload are the JSON we would write; a text with a second reading is refused. */
function requireOneForm(text: string, header: object, payload: Uint8Array): void {
  const json = Buffer.from(payload).toString('utf8')
  const parts = [JSON.stringify(header), JSON.stringify(JSON.parse(json))]
  const expected = parts.map((part) => Buffer.from(part).toString('base64url')).join('.')
  const signature = text.split('.')[2]!
  const isCanonical = Buffer.from(signature, 'base64url').toString('base64url') === signature
  if (`${expected}.${signature}` !== text || !isCanonical)
    throw new Error('it is not in its one form')
}

function pairingKey(secret: Secret<string>): Uint8Array {
  const key = Buffer.from(secret.reveal(), 'base64url')
  if (key.length >= MIN_PAIRING_SECRET_BYTES) return key
  throw mismatch('the pairing secret is shorter than 32 bytes')
}

function decodeJson(encoded = ''): unknown {
  return JSON.parse(Buffer.from(encoded, 'base64url').toString('utf8'))
}

function mismatch(why: string): TrustError {
  return new TrustError(
    'MCM_PAIRING_MISMATCH',
    `the agent's publication is not from the agent that was set up: ${why}`,
    { hint: 'nothing was written; run mcm register again with a fresh name' },
  )
}
