import type { DirectoryState } from '../../src/directory/state.ts'

/** A state as plain JSON, for the test vector: maps as lists in order, DER as base64, times as text. */
export function describeState(state: DirectoryState): unknown {
  const description = {
    confirmed: state.confirmed,
    admins: [...state.admins].map(([key, { user }]) => ({ key, user })),
    hubs: state.hubs,
    clusters: [...state.clusters.values()].map((cluster) => ({
      ...cluster,
      members: state.memberships(cluster.id),
      timedGrants: state.timedGrants(cluster.id),
      users: [...state.users.keys()].filter((user) => state.isMember(user, cluster.id)),
    })),
    users: [...state.users.values()].map(
      ({ name, nickname, bot, groups, devices, revoked, invites }) => ({
        name,
        nickname,
        bot,
        groups,
        devices: [...devices.values()],
        revoked,
        invites,
      }),
    ),
    providers: [...state.providers.values()],
    requests: [...state.requests.values()],
    withoutEffect: [...state.withoutEffect].map(([seq, why]) => ({ seq, why })),
  }
  return JSON.parse(JSON.stringify(description, plain))
}

function plain(this: unknown, key: string, value: unknown): unknown {
  const original = (this as Record<string, unknown>)[key]
  return Buffer.isBuffer(original) ? original.toString('base64') : value
}
