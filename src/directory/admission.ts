import { z } from 'zod'
import type { PublicJwk } from '../protocol/keys.ts'
import { publicJwk } from '../protocol/keys.ts'

/**
 * What a judged token leaves (PROTOCOL §11.3): that a device key is a device of a user for some time.
 * Everybody holds their own and believes nobody else's.
 */
export interface Admission {
  /** Number of the `oidc` statement by which the token was judged. */
  readonly provider: number
  readonly user: string
  readonly bot: boolean
  readonly groups: readonly string[]
  readonly device: { readonly id: string; readonly key: PublicJwk; readonly name: string }
  /** SHA-256 of the token, base64url. */
  readonly tokenHash: string
  /** Its `iat`. */
  readonly tokenTime: Date
  readonly until: Date
}

const key43 = z.string().regex(/^[A-Za-z0-9_-]{43}$/)
const time = z.iso.datetime().transform((text) => new Date(text))
const jwk = z.unknown().transform((value, context) => {
  const key = publicJwk(value)
  if (key) return key
  context.addIssue({ code: 'custom', message: 'no public key of ours' })
  return z.NEVER
})

/** An admission in JSON, as it is kept. */
export const admissionSchema = z.object({
  provider: z.int().min(0),
  user: z.string(),
  bot: z.boolean(),
  groups: z.array(z.string()),
  device: z.object({ id: key43, key: jwk, name: z.string().max(128) }),
  tokenHash: key43,
  tokenTime: time,
  until: time,
})

const DEVICE_NAME = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]*$/u

/** What a stranger calls their device, as people read it in lists: nothing in it moves a cursor. */
export function plainDeviceName(claimed: string): string {
  return DEVICE_NAME.test(claimed) ? claimed : 'unnamed'
}
