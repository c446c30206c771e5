import { z } from 'zod'
import { requirePrefix } from '../access/identity.ts'
import { AGENT_SECRET_KEYS } from '../access/manifest.ts'
import { isMcmError, StateError } from '../errors.ts'
import { isClusterId } from '../protocol/names.ts'
import { Secret } from '../secret.ts'

/** What registration put into Secret `mcm-agent`: which cluster this is, and where its hub is. */
export interface AgentConfiguration {
  /** The cluster id. */
  readonly cluster: string
  /** The fleet fingerprint. */
  readonly fleet: string
  readonly hub: {
    /** `HOST:PORT`, tried in order. */
    readonly endpoints: readonly string[]
    readonly pin: string
  }
  /** Of use until the directory knows the cluster. */
  readonly joinToken?: Secret<string>
  readonly pairingSecret: Secret<string>
  /** Before every name, as `mcm:`. */
  readonly prefix: string
  /** The user CA's certificate where its key stays with the owner (`--issuer local`). */
  readonly userCaPem?: string
}

const FINGERPRINT = /^[A-Za-z0-9_-]{43}$/
const ENDPOINT = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([1-9]\d{0,4})$/
const PEM = /^-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----$/

const hubSchema = z.object({
  endpoints: z.array(z.string().regex(ENDPOINT)).min(1).max(16),
  pin: z.string().regex(FINGERPRINT),
})
const key = AGENT_SECRET_KEYS
const filesSchema = z.object({
  [key.hub]: z.string().transform(parseJson).pipe(hubSchema),
  [key.cluster]: z.string().refine(isClusterId),
  [key.fleet]: z.string().regex(FINGERPRINT),
  [key.joinToken]: z.string().max(128).optional(),
  // 256 bits (docs/PROTOCOL.md §7).
  [key.pairingSecret]: z.string().regex(/^[A-Za-z0-9_-]{43,128}$/),
  [key.prefix]: z.string().refine(isPrefix),
  [key.userCa]: z.string().regex(PEM).optional(),
})

/**
 * Reads the configuration from files by name, as they are mounted. White space around a value is
 * nothing.
 * @throws StateError MCM_STATE_DAMAGED naming the file that is missing or wrong, never what is in
 *   it
 */
export function readConfiguration(files: ReadonlyMap<string, string>): AgentConfiguration {
  const named = Object.values(key).flatMap((name) => {
    const text = files.get(name)?.trim()
    return text ? [[name, text] as const] : []
  })
  const result = filesSchema.safeParse(Object.fromEntries(named))
  if (!result.success) throw damaged(result.error, new Set(named.map(([name]) => name)))
  const read = result.data
  const joinToken = read[key.joinToken]
  const userCa = read[key.userCa]
  return {
    cluster: read[key.cluster],
    fleet: read[key.fleet],
    hub: read[key.hub],
    ...(joinToken === undefined ? {} : { joinToken: new Secret(joinToken) }),
    pairingSecret: new Secret(read[key.pairingSecret]),
    prefix: read[key.prefix],
    ...(userCa === undefined ? {} : { userCaPem: `${userCa}\n` }),
  }
}

/** Reads the configuration from the Secret itself. @throws StateError MCM_STATE_DAMAGED */
export function configurationFromSecret(secret: {
  readonly data?: Readonly<Record<string, string>>
}): AgentConfiguration {
  const entries = Object.entries(secret.data ?? {})
  return readConfiguration(
    new Map(entries.map(([name, value]) => [name, Buffer.from(value, 'base64').toString('utf8')])),
  )
}

function parseJson(text: string, context: z.RefinementCtx): unknown {
  try {
    return JSON.parse(text)
  } catch {
    context.addIssue({ code: 'custom', message: 'no JSON' })
    return z.NEVER
  }
}

function isPrefix(prefix: string): boolean {
  try {
    return requirePrefix(prefix) === prefix
  } catch (error) {
    if (isMcmError(error)) return false
    throw error
  }
}

function damaged(error: z.ZodError, present: ReadonlySet<string>): StateError {
  const names = new Set(error.issues.map(({ path }) => String(path[0])))
  const problems = [...names].map(
    (name) => `${name} is ${present.has(name) ? 'damaged' : 'missing'}`,
  )
  return new StateError(
    'MCM_STATE_DAMAGED',
    `the agent’s configuration cannot be used: ${problems.join(', ')}`,
    { hint: 'run mcm register again and apply what it writes' },
  )
}
