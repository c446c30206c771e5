import type { ActualAccess } from '../../src/access/access-difference.ts'
import { accessDifference } from '../../src/access/access-difference.ts'
import { type AccessFile, readAccess } from '../../src/access/access-file.ts'
import type { Binding } from '../../src/access/object-difference.ts'
import { type AccessCluster, wantedAccess } from '../../src/access/wanted-access.ts'
import type { ClusterRole } from '../../src/kube/rbac.ts'

/** A declaration and a cluster to compare it with. */

export const NOW = new Date('2026-06-01T12:00:00Z')

export function declared(parts: object): AccessFile {
  const read = readAccess({ apiVersion: 'mcm.dev/v1alpha1', kind: 'Access', ...parts })
  if (!read.access) throw new Error(JSON.stringify(read.problems))
  return read.access
}

export function cluster(name: string, labels: Record<string, string> = {}): AccessCluster {
  return { id: `c-${name}`, name, labels, prefix: 'mcm:' }
}

export const EMPTY: ActualAccess = {
  roles: new Map(),
  bindings: [],
  list: { users: [], groups: [], isUnrestricted: false },
  members: [],
  timedGrants: [],
}

/** What a cluster and the directory have when a declaration has been applied there. */
export function applied(access: AccessFile, at: AccessCluster, now = NOW): ActualAccess {
  const wanted = wantedAccess(access, at, now)
  return {
    roles: new Map(wanted.roles.map((role) => [role.metadata.name, role])),
    bindings: wanted.grants.map(({ binding }) => binding),
    list: { ...wanted.names, isUnrestricted: false },
    members: wanted.members,
    timedGrants: wanted.timedGrants,
  }
}

export function compare(
  access: AccessFile,
  actual: ActualAccess,
  options: {
    actor?: string
    users?: string[]
    groups?: string[]
    at?: AccessCluster
    present?: string[]
  } = {},
) {
  const { actor = 'ada', users = [], groups = [], at = cluster('idc-k8s') } = options
  const known = { users: new Set(users), groups: new Set(groups) }
  const present = new Set(options.present ?? access.users.map(({ name }) => name))
  const context = { prefix: at.prefix, actor, known, present }
  return accessDifference(wantedAccess(access, at, NOW), actual, context)
}

export function rolesOf(...roles: ClusterRole[]): Map<string, ClusterRole> {
  return new Map(roles.map((role) => [role.metadata.name, role]))
}

export function withSubject(binding: Binding, name: string): Binding {
  return { ...binding, subjects: [{ ...binding.subjects[0]!, name }] } as Binding
}
