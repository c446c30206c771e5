import { sha256 } from './keys.ts'

/** How a token is bound to one device key of one fleet (PROTOCOL §11.2). */

const SALT_BYTES = 16
const SALT = /^[A-Za-z0-9_-]{21}[AQgw]$/

/** A fresh salt. `random` gives bytes. */
export function newTokenSalt(random: (byteCount: number) => Uint8Array): string {
  return Buffer.from(random(SALT_BYTES)).toString('base64url')
}

/** The salt for a program whose audience is written down once: it stays as long as the key does. */
export function saltOfKey(keyId: string): string {
  const hash = Buffer.from(sha256(`mcm salt v1 ${keyId}`), 'base64url')
  return hash.subarray(0, SALT_BYTES).toString('base64url')
}

export function isTokenSalt(text: string): boolean {
  return SALT.test(text)
}

/** What a person's token has as nonce: nobody can show it for another key, or in another fleet. */
export function tokenBinding(fleet: string, keyId: string, salt: string): string {
  return sha256(`mcm oidc v1 ${fleet} ${keyId} ${salt}`)
}

/** The only audience of a program's token. */
export function workloadAudience(fleet: string, binding: string): string {
  return `mcm:${fleet}:${binding}`
}
