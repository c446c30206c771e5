import { sign } from 'node:crypto'
import type { SigningKey } from '../../src/directory/signing-key.ts'
import type { Statement } from '../../src/directory/statement.ts'

/** Statements as an attacker makes them: any text in any place, with signatures that really hold. */

export function encode(text: string): string {
  return Buffer.from(text).toString('base64url')
}

/** ES256 (RFC 7518 §3.4) or EdDSA over header and payload as they are. */
export function signature(header: string, payload: string, key: SigningKey): string {
  const input = Buffer.from(`${header}.${payload}`)
  if (key.jwk.kty === 'OKP') return sign(null, input, key.privateKey).toString('base64url')
  for (;;) {
    const bytes = sign('sha256', input, { key: key.privateKey, dsaEncoding: 'ieee-p1363' })
    // Every other one has the lower s, which is the only one that counts.
    if (bytes[32]! < 0x7f) return bytes.toString('base64url')
  }
}

export function headerOf(key: SigningKey): string {
  const alg = key.jwk.kty === 'EC' ? 'ES256' : 'EdDSA'
  return JSON.stringify({ alg, typ: 'mcm-statement', jwk: key.jwk })
}

/** A statement of this payload text, signed by each key under the header text given for it. */
export function forgeStatement(
  payloadText: string,
  signers: readonly SigningKey[],
  header: (key: SigningKey) => string = headerOf,
): string {
  const payload = encode(payloadText)
  const signatures = signers.map((key) => {
    const encoded = encode(header(key))
    return { protected: encoded, signature: signature(encoded, payload, key) }
  })
  return JSON.stringify({ payload, signatures })
}

/** The payload of a statement as text. */
export function payloadOf(statement: Statement): string {
  const { payload } = JSON.parse(statement.text) as { payload: string }
  return Buffer.from(payload, 'base64url').toString()
}
