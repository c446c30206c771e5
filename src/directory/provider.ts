import { z } from 'zod'
import { isPrincipalName } from '../protocol/names.ts'

/** The detail of an `oidc` statement (PROTOCOL §11.1): an identity provider, and whom it may name. */

const MAX_SCOPES = 32
const MAX_GROUPS = 256
const MAX_WORKLOADS = 256
const MAX_CLAIMS = 16
export const MIN_MAXIMUM_AGE_SECONDS = 300
export const MAX_MAXIMUM_AGE_SECONDS = 30 * 24 * 3600

const DOMAIN = /^(?=.{1,128}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/
const PROVIDER_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
/** RFC 6749 §3.3, and what a claim's name may reasonably be. */
const TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/

const principal = z.string().refine(isPrincipalName)
const name = z.string().regex(PROVIDER_NAME)
const token = z.string().regex(TOKEN)
const text = z
  .string()
  .min(1)
  .max(512)
  .regex(/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]*$/u)
const few = (max: number) => (map: object) => Object.keys(map).length <= max
const derBase64 = z
  .string()
  .min(4)
  .max(24_576)
  .refine((value) => Buffer.from(value, 'base64').toString('base64') === value)

const people = z.strictObject({
  clientId: text,
  /** As public as all of this; what some providers want of programs on people's machines (RFC 8252 §8.5). */
  clientSecret: text.optional(),
  scopes: z.array(token).max(MAX_SCOPES),
  userClaim: token,
  groupsClaim: token,
  groups: z.record(text, principal).refine(few(MAX_GROUPS)),
})
const workload = z.strictObject({
  user: principal,
  claims: z
    .record(token, text)
    .refine(few(MAX_CLAIMS))
    .refine((claims) => Object.hasOwn(claims, 'sub')),
})
const provider = z
  .strictObject({
    action: z.literal('set'),
    name,
    issuer: z.string().max(512).refine(isIssuer),
    domain: z.string().regex(DOMAIN),
    ca: derBase64.optional(),
    maximumAge: z.int().min(MIN_MAXIMUM_AGE_SECONDS).max(MAX_MAXIMUM_AGE_SECONDS),
    people: people.optional(),
    workloads: z.array(workload).max(MAX_WORKLOADS),
  })
  .refine(({ domain, workloads }) => workloads.every(({ user }) => isNameOf(domain, user)))

export const oidcDetail = z.union([provider, z.strictObject({ action: z.literal('remove'), name })])
export type OidcDetail = z.infer<typeof oidcDetail>
export type ProviderDetail = z.infer<typeof provider>

/** Whether a name is one that a provider of this domain gives. */
export function isNameOf(domain: string, user: string): boolean {
  return user.length > domain.length + 1 && user.endsWith(`@${domain}`)
}

/** An `https` URL as OpenID Connect Discovery §4.1 wants it; tokens repeat exactly this text. */
function isIssuer(value: string): boolean {
  if (!URL.canParse(value)) return false
  const { protocol, href, search, hash, username, password } = new URL(value)
  const isBare = `${search}${hash}${username}${password}` === '' && !/[?#]/.test(value)
  return protocol === 'https:' && isBare && (href === value || href === `${value}/`)
}
