import type { DirectoryState } from '../directory/state.ts'
import type { UserCertificate } from '../pki/user-certificate.ts'

/** The groups a user has at this moment, by their bare names. */
export interface StandingGroups {
  /** Those that the certificate and the directory of today both name. */
  readonly groups: readonly string[]
  /** Those of grants that are not over (PROTOCOL §3.5), of the user or of one of the groups. */
  readonly timedGroups: readonly string[]
}

export function standingGroups(
  state: Pick<DirectoryState, 'deviceOwner' | 'timedGroups'>,
  cluster: string,
  { user, groups: certified, device }: UserCertificate,
  now: Date,
): StandingGroups {
  const present = state.deviceOwner(device)?.user.groups ?? []
  const groups = certified.filter((group) => present.includes(group))
  return { groups, timedGroups: state.timedGroups(user, groups, cluster, now) }
}
