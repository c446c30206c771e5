/** Signed tokens (RFC 7519, ES256) with a key that lives as long as the sandbox. */
import { generateKeyPairSync, sign, verify } from 'node:crypto'
import { isJsonObject, type JsonObject } from '../json.ts'

export interface TokenSigner {
  issue(claims: JsonObject): string
  /** The claims of a token signed here, whatever its dates say; undefined for any other text. */
  read(token: string): JsonObject | undefined
}

/** Makes a key that nobody else ever has. */
export function createTokenSigner(): TokenSigner {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const header = encode({ alg: 'ES256', typ: 'JWT' })
  return {
    issue(claims) {
      const signed = `${header}.${encode(claims)}`
      const key = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const
      return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`
    },
    read(token) {
      const [head, claims, signature, ...rest] = token.split('.')
      if (head !== header || !claims || !signature || rest.length > 0) return undefined
      const key = { key: publicKey, dsaEncoding: 'ieee-p1363' } as const
      const bytes = Buffer.from(signature, 'base64url')
      const isOurs = verify('sha256', Buffer.from(`${head}.${claims}`), key, bytes)
      return isOurs ? decode(claims) : undefined
    },
  }
}

function encode(value: JsonObject): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

function decode(text: string): JsonObject | undefined {
  const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
  return isJsonObject(value) ? value : undefined
}
