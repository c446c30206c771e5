import type { DirectoryState, TimedGrant } from '../directory/state.ts'
import type { UserCertificate } from '../pki/user-certificate.ts'

/** The groups a user has at this moment, by their bare names. */
export interface StandingGroups {
  /** Those that the certificate and the directory of today both name. */
  readonly groups: readonly string[]
  /** What puts the user, or one of the groups, into timed groups and is not over (PROTOCOL §3.5, §3.7). */
  readonly timed: readonly TimedGrant[]
}

export function standingGroups(
  state: Pick<DirectoryState, 'deviceOwner' | 'timedGrantsOf'>,
  cluster: string,
  { user, groups: certified, device }: UserCertificate,
  now: Date,
): StandingGroups {
  const present = state.deviceOwner(device)?.user.groups ?? []
  const groups = certified.filter((group) => present.includes(group))
  return { groups, timed: state.timedGrantsOf(user, groups, cluster, now) }
}
