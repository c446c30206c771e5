import { z } from 'zod'
import { messageOf, TrustError } from '../errors.ts'
import { keyId, sha256 } from '../protocol/keys.ts'
import type { DetailEnvelope, Head } from '../protocol/messages.ts'
import {
  type Detail,
  detailText,
  parseDetail,
  STATEMENT_TYPES,
  type StatementType,
} from './details.ts'
import {
  decodeJson,
  encodeJson,
  type KeyCache,
  readJws,
  signJws,
  type UnverifiedSignature,
  verifySignature,
} from './jws.ts'
import type { SigningKey } from './signing-key.ts'
import { formatTime, parseTime } from './time.ts'

/** One signed line of the directory (PROTOCOL §3.1), which exists in exactly one text. */
export interface Statement {
  /** The exact bytes that the hash is over. */
  readonly text: string
  readonly hash: string
  readonly seq: number
  readonly previous?: string
  readonly time: Date
  readonly type: StatementType
  readonly detailHash: string
  /** Key id of the invite's key; `invite` only. */
  readonly inviteKey?: string
  /** Number of the invite that is used; `device` only. */
  readonly invite?: number
  /** Key ids, in order; every one of them has signed. */
  readonly signers: readonly string[]
}

/** A statement that is well formed, while nobody has checked its signatures. */
export interface UnverifiedStatement {
  readonly unverified: Statement
  readonly payload: string
  readonly signatures: readonly UnverifiedSignature[]
}

const VERSION = 1
const SALT_BYTES = 16
const MAX_TEXT_CHARACTERS = 65_536
const HASH = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

const hash = z.string().regex(HASH)
const payloadSchema = z.strictObject({
  v: z.literal(VERSION),
  seq: z.int().min(0),
  prev: hash.optional(),
  time: z.string().refine((text) => parseTime(text) !== undefined),
  type: z.enum(STATEMENT_TYPES),
  detail: hash,
  inviteKey: hash.optional(),
  invite: z.int().min(0).optional(),
})
type Payload = z.infer<typeof payloadSchema>

/** Reads a statement and checks each of its signatures. @throws TrustError MCM_DIRECTORY_INVALID */
export async function parseStatement(text: string): Promise<Statement> {
  return verifyStatement(readUnverified(text))
}

/** Reads the one form of a statement, without any signature checked. @throws TrustError MCM_DIRECTORY_INVALID */
export function readUnverified(text: string): UnverifiedStatement {
  try {
    return readForm(text)
  } catch (error) {
    throw invalid(`a statement is not in its one form: ${oneLine(error)}`)
  }
}

/** Checks every signature. @throws TrustError MCM_DIRECTORY_INVALID */
export async function verifyStatement(
  read: UnverifiedStatement,
  keys: KeyCache = new Map(),
): Promise<Statement> {
  try {
    for (const signature of read.signatures) await verifySignature(read.payload, signature, keys)
    return read.unverified
  } catch (error) {
    throw invalid(`a signature of statement ${read.unverified.seq} fails: ${oneLine(error)}`)
  }
}

/**
 * Signs one more statement, with its detail salted by 16 fresh random bytes. `after` is the head it follows,
 * null for the genesis; an `invite` names its key by `inviteKey`, a `device` the invite's number by `invite`.
 */
export async function signStatement(
  draft: {
    readonly after: Head | null
    readonly time: Date
    readonly salt: Uint8Array
    readonly inviteKey?: string
    readonly invite?: number
  } & Detail,
  signers: readonly SigningKey[],
): Promise<{ statement: Statement; detail: DetailEnvelope }> {
  const { after, inviteKey, invite } = draft
  if (draft.salt.length !== SALT_BYTES) throw new TypeError('a salt has 16 bytes')
  const seq = after ? after.seq + 1 : 0
  const salt = Buffer.from(draft.salt).toString('base64url')
  const detail = { seq, salt, text: detailText(draft) }
  const payload = encodePayload({
    v: VERSION,
    seq,
    ...(after ? { prev: after.hash } : {}),
    time: formatTime(draft.time),
    type: draft.type,
    detail: hashDetail(detail),
    ...(inviteKey === undefined ? {} : { inviteKey }),
    ...(invite === undefined ? {} : { invite }),
  })
  return { statement: readForm(await signJws(payload, signers)).unverified, detail }
}

/** The detail of a statement: its hash checked, and its shape. @throws TrustError MCM_DIRECTORY_INVALID */
export function readDetail(statement: Statement, envelope: DetailEnvelope): Detail {
  requireDetailHash(statement, envelope)
  const detail = parseDetail(statement.type, envelope.text)
  if (detail) return detail
  throw invalid(`the detail of statement ${statement.seq} makes no sense`)
}

/** That this is the text the statement was signed for. @throws TrustError MCM_DIRECTORY_INVALID */
export function requireDetailHash(statement: Statement, envelope: DetailEnvelope): void {
  // The salt's fixed length keeps the border between salt and text where the signer put it.
  const salt = Buffer.from(envelope.salt, 'base64url')
  const isSalt = salt.length === SALT_BYTES && salt.toString('base64url') === envelope.salt
  if (isSalt && hashDetail(envelope) === statement.detailHash && envelope.seq === statement.seq)
    return
  throw invalid(`the detail of statement ${statement.seq} is not the one that was signed`)
}

/** An invalid directory, with the reason. */
export function invalid(why: string): TrustError {
  return new TrustError('MCM_DIRECTORY_INVALID', `the directory is refused: ${why}`, {
    hint: 'nothing was changed; if it stays so, the hub may have been tampered with',
  })
}

function oneLine(error: unknown): string {
  if (error instanceof z.ZodError) return error.issues.map(({ path }) => path.join('.')).join(', ')
  return messageOf(error)
}

function hashDetail({ salt, text }: DetailEnvelope): string {
  return sha256(Buffer.concat([Buffer.from(salt, 'base64url'), Buffer.from(text)]))
}

function readForm(text: string): UnverifiedStatement {
  if (text.length > MAX_TEXT_CHARACTERS) throw new Error('it is over 64 KiB')
  const { payload: encoded, signatures } = readJws(text)
  const payload = readPayload(encoded)
  requireMembers(payload)
  requireSignerKinds(payload.type, signatures)
  return { unverified: statementOf(text, payload, signatures), payload: encoded, signatures }
}

function readPayload(encoded: string): Payload {
  const payload = payloadSchema.parse(decodeJson(encoded))
  if (encodePayload(payload) !== encoded) throw new Error('its payload is not in its one form')
  return payload
}

function encodePayload(payload: Payload): string {
  const { v, seq, prev, time, type, detail, inviteKey, invite } = payload
  // JSON leaves undefined members out; the order is that of PROTOCOL §3.1.
  return encodeJson({ v, seq, prev, time, type, detail, inviteKey, invite })
}

/** `prev` everywhere but in the genesis, `inviteKey` only in an invite, `invite` only in a device. */
function requireMembers({ seq, prev, type, inviteKey, invite }: Payload): void {
  const isGenesis = seq === 0
  if ((type === 'fleet') !== isGenesis || (prev === undefined) !== isGenesis)
    throw new Error('the first statement founds the fleet, and no other does')
  if ((type === 'invite') !== (inviteKey !== undefined))
    throw new Error('inviteKey is out of place')
  if ((type === 'device') !== (invite !== undefined)) throw new Error('invite is out of place')
}

/** Two signatures on `fleet` and `device`, one elsewhere; only an invite's own key is Ed25519. */
function requireSignerKinds(type: StatementType, signatures: readonly UnverifiedSignature[]): void {
  const kinds = signatures.map(({ jwk }) => jwk.crv).join()
  const expected = type === 'device' ? 'Ed25519,P-256' : type === 'fleet' ? 'P-256,P-256' : 'P-256'
  if (kinds !== expected) throw new Error(`a ${type} is signed by ${expected}, not ${kinds}`)
}

function statementOf(
  text: string,
  payload: Payload,
  signatures: readonly UnverifiedSignature[],
): Statement {
  const { seq, prev, time, type, detail, inviteKey, invite } = payload
  return {
    text,
    hash: sha256(text),
    seq,
    ...(prev === undefined ? {} : { previous: prev }),
    time: parseTime(time)!,
    type,
    detailHash: detail,
    ...(inviteKey === undefined ? {} : { inviteKey }),
    ...(invite === undefined ? {} : { invite }),
    signers: signatures.map(({ jwk }) => keyId(jwk)),
  }
}
