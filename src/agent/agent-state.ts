import { setTimeout as pause } from 'node:timers/promises'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { messageOf, UnreachableError } from '../errors.ts'
import type { Head } from '../protocol/messages.ts'
import { fullJitterBackoff } from '../tunnel/backoff.ts'
import { type Authorities, startAuthorities } from './authorities.ts'
import { type CeilingHolder, startCeiling } from './ceiling-holder.ts'
import { type CertificateUses, startCertificateUses } from './certificate-uses.ts'
import type { AgentConfiguration } from './configuration.ts'
import { type PeopleView, requireYoung } from './directory-age.ts'
import { type DirectoryHolder, openDirectoryHolder } from './directory-holder.ts'
import { type DirectoryWitness, directoryWitness } from './directory-witness.ts'
import { type AgentIdentity, loadOrCreateIdentity } from './identity-secret.ts'
import { type Issuance, openIssuance } from './issuance.ts'
import { type ListedNames, startListedNames } from './listed-names.ts'
import { nameAdmission } from './name-admission.ts'
import { type Principals, startPrincipals } from './principals.ts'
import { type TokenAdmissions, tokenAdmissions } from './token-admissions.ts'
import type { Background } from './watched-collection.ts'

/** What an agent knows: its keys, its people, and what admins have signed. */
export interface AgentState {
  readonly identity: AgentIdentity
  readonly authorities: Authorities
  readonly principals: Principals
  readonly names: ListedNames
  readonly ceiling: CeilingHolder
  readonly directory: DirectoryHolder
  /** What the directory says, with the people whom tokens admitted here. */
  readonly people: PeopleView
  readonly issuance: Issuance
  readonly uses: CertificateUses
  readonly witness: DirectoryWitness
}

const START_BACKOFF = { baseMs: 500, capMs: 15_000 }

/**
 * Reads or makes all of it, as soon as the API server can be reached.
 * @throws StateError MCM_STATE_DAMAGED; AccessDeniedError
 */
export async function openState(
  api: KubernetesApi,
  configuration: AgentConfiguration,
  background: Background,
  proxyFor: (endpoint: string) => string | undefined,
  options: { readonly replica: string; readonly directoryMaximumAgeSeconds?: number },
): Promise<AgentState> {
  const { world, log } = background
  const { cluster, fleet } = configuration
  const whenReachable = <T>(work: () => Promise<T>) => untilReachable(work, background)
  const identity = await whenReachable(() => loadOrCreateIdentity(api, configuration, world))
  const directory = await whenReachable(() =>
    openDirectoryHolder(api, { cluster, fleet }, background),
  )
  const known = { configuration, identity, directory }
  const authorities = startAuthorities(api, known, background)
  const isIssuer = identity.userAuthority !== undefined
  const principals = startPrincipals(api, { cluster, isIssuer }, background)
  const names = startListedNames(api, background)
  const ceiling = startCeiling(api, background)
  const tokens = tokenAdmissions({ fleet, directory, principals, world, proxyFor })
  const maximumAgeSeconds = options.directoryMaximumAgeSeconds
  const people = peopleOf(directory, tokens, () =>
    requireYoung(directory.state, maximumAgeSeconds, world),
  )
  const witness = directoryWitness(directory, { maximumAgeSeconds }, background)
  const userOf = (fingerprint: string) => principals.find(fingerprint)?.user
  const place = { cluster, replica: options.replica }
  const uses = startCertificateUses(api, place, userOf, background)
  const sources = { configuration, identity: authorities, principals, names, tokens, world, log }
  const admitName = nameAdmission(api, names)
  const hear = (user: string, head: Head) => void witness.hear(user, head)
  const issuance = openIssuance({ ...sources, admitName, directory: people, hear })
  const judged = { directory, people, principals, names, ceiling }
  return { identity, authorities, ...judged, issuance, uses, witness }
}

function peopleOf(
  directory: DirectoryHolder,
  tokens: TokenAdmissions,
  requireConfirmed: () => void,
): PeopleView {
  return {
    requireConfirmed,
    get state() {
      return tokens.directory().state
    },
    isFresh: () => directory.isFresh(),
  }
}

async function untilReachable<T>(
  work: () => Promise<T>,
  { world, log, signal }: Background,
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error
      log.warn('api_server_unreachable', { reason: messageOf(error) })
      await pause(fullJitterBackoff(world.random, attempt, START_BACKOFF), undefined, { signal })
    }
  }
}
