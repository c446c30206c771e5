import { lifetimeText } from '../directory/bot-lifetime.ts'
import type { UserRecord } from '../directory/state.ts'
import { AccessDeniedError } from '../errors.ts'

/** How long certificates live here, and how long a device may stay away. Pure. */

/** What the cluster's owner has a say in. */
export interface IssuePolicy {
  /** How long a certificate of a bot may live, in seconds. */
  readonly botMaximumLifeSeconds: number
}

const HOUR = 3600
const DAY = 24 * HOUR
const PERSON = { lifetimeSeconds: 12 * HOUR, windowSeconds: 30 * DAY }
const BOT = { lifetimeSeconds: DAY, windowSeconds: 90 * DAY }
/** Where the owner says nothing. */
export const BOT_MAXIMUM_LIFE_SECONDS = DAY
const DEFAULT_POLICY: IssuePolicy = { botMaximumLifeSeconds: BOT_MAXIMUM_LIFE_SECONDS }

type Who = Pick<UserRecord, 'name' | 'bot' | 'lifetime'>

/** How long their next certificate lives, in seconds: a bot's as its invite says, else a day, within the owner's. */
export function lifeFor({ bot, lifetime }: Who, policy = DEFAULT_POLICY): number {
  if (!bot) return PERSON.lifetimeSeconds
  return lifetime ?? Math.min(BOT.lifetimeSeconds, policy.botMaximumLifeSeconds)
}

/** How long after its last certificate a device may come back by itself, in seconds. */
export function windowFor({ bot }: Pick<Who, 'bot'>): number {
  return bot ? BOT.windowSeconds : PERSON.windowSeconds
}

/**
 * A bot that is to have a longer life than the owner allows gets none, rather than a shorter one in silence.
 * @throws AccessDeniedError MCM_FORBIDDEN
 */
export function requireAllowedLife({ name, bot, lifetime }: Who, policy = DEFAULT_POLICY): void {
  const { botMaximumLifeSeconds: maximum } = policy
  if (!bot || lifetime === undefined || lifetime <= maximum) return
  throw new AccessDeniedError(
    'MCM_FORBIDDEN',
    `certificates of bot ${name} are to live ${lifetimeText(lifetime)}, and the owner of this cluster allows bots ${lifetimeText(maximum)}`,
    {
      hint: `ask the owner for --bot-max-life, or an administrator for mcm bots create ${name} --for ${lifetimeText(maximum)}`,
    },
  )
}
