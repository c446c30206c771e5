import { AccessDeniedError } from '../errors.ts'
import { isPrincipalName } from '../protocol/names.ts'

/**
 * From the claims of a judged token to a name and groups of ours (PROTOCOL §11.1). Pure. What no rule names
 * gives nothing: a group that is not in the mapping is as if it were not there.
 */

/** What an `oidc` statement says of people and programs. */
export interface ProvidedNames {
  readonly name: string
  readonly domain: string
  readonly people?: PeopleRule | undefined
  readonly workloads: readonly WorkloadRule[]
}

export interface PeopleRule {
  readonly userClaim: string
  readonly groupsClaim: string
  /** From a claim's value to a group. */
  readonly groups: Readonly<Record<string, string>>
}

export interface WorkloadRule {
  readonly user: string
  readonly claims: Readonly<Record<string, string>>
}

export type Claims = Readonly<Record<string, unknown>>

export interface ProvidedIdentity {
  readonly user: string
  readonly bot: boolean
  readonly groups: readonly string[]
}

/** The person a token speaks of. @throws AccessDeniedError MCM_FORBIDDEN */
export function personOf(names: ProvidedNames, claims: Claims): ProvidedIdentity {
  const { people, workloads, domain } = names
  if (!people) throw refused(names, 'it lets in programs only')
  if (workloads.some((rule) => fits(rule, claims)))
    throw refused(names, 'its token is a program’s, not a person’s')
  const user = personName(names, people, claimText(names, claims, people.userClaim))
  if (people.userClaim === 'email' && claims['email_verified'] !== true)
    throw refused(names, `it has not verified the address ${user}`)
  if (workloads.some((rule) => rule.user === user))
    throw refused(names, `${user} is the name of a program under @${domain}`)
  return { user, bot: false, groups: groupsOf(people, claims) }
}

/** The program a token speaks of: exactly one rule fits. @throws AccessDeniedError MCM_FORBIDDEN */
export function workloadOf(names: ProvidedNames, claims: Claims): ProvidedIdentity {
  const fitting = names.workloads.filter((rule) => fits(rule, claims))
  if (fitting.length === 1) return { user: fitting[0]!.user, bot: true, groups: [] }
  const why = fitting.length === 0 ? 'no rule fits' : `${fitting.length} rules fit`
  throw refused(names, `${why} the program ${JSON.stringify(claims['sub'])}`)
}

function fits({ claims: wanted }: WorkloadRule, claims: Claims): boolean {
  return Object.entries(wanted).every(
    ([name, value]) => Object.hasOwn(claims, name) && claims[name] === value,
  )
}

function claimText(names: ProvidedNames, claims: Claims, name: string): string {
  const value = Object.hasOwn(claims, name) ? claims[name] : undefined
  if (typeof value === 'string' && value !== '') return value
  throw refused(names, `its token has no claim ${name}`)
}

/**
 * One form for each claim, or two of a provider's people could be one: an address is taken whole, and whatever
 * else names a person holds no `@`.
 */
function personName(names: ProvidedNames, { userClaim }: PeopleRule, value: string): string {
  if (userClaim === 'email') return nameUnder(names, value, value)
  if (!value.includes('@')) return nameUnder(names, value, `${value}@${names.domain}`)
  const why = `claim ${userClaim} says ${JSON.stringify(value)}: only email may hold an @`
  throw refused(names, why)
}

/** A name of another domain is another's to give. */
function nameUnder(names: ProvidedNames, value: string, user: string): string {
  const local = user.slice(0, -names.domain.length - 1)
  const isOurs = user === `${local}@${names.domain}` && !local.includes('@')
  if (isOurs && isPrincipalName(user)) return user
  throw refused(names, `${JSON.stringify(value)} is no name under @${names.domain}`)
}

function groupsOf({ groupsClaim, groups }: PeopleRule, claims: Claims): string[] {
  const value = Object.hasOwn(claims, groupsClaim) ? claims[groupsClaim] : undefined
  const values = Array.isArray(value) ? value : [value]
  const mapped = values.flatMap((each) =>
    typeof each === 'string' && Object.hasOwn(groups, each) ? [groups[each]!] : [],
  )
  return [...new Set(mapped)].sort()
}

function refused({ name }: ProvidedNames, why: string): AccessDeniedError {
  return new AccessDeniedError('MCM_FORBIDDEN', `provider ${name} lets you in nowhere: ${why}`, {
    hint: 'ask an administrator: mcm oidc shows what the fleet takes from it',
  })
}
