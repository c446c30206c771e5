/**
 * A grant: a user or group gets a role, in one namespace or in the whole cluster. In the cluster it
 * is an ordinary RoleBinding or ClusterRoleBinding; the binding itself is the truth, its labels
 * and annotations only help people find it.
 */

import { createHash } from 'node:crypto'
import { UsageError } from '../errors.ts'
import { NAMESPACE } from '../kube/namespace.ts'
import type { ClusterRoleBinding, RoleBinding, Subject } from '../kube/rbac.ts'
import { RBAC_GROUP, RBAC_VERSION } from '../kube/rbac.ts'
import { isPrincipalName, requirePrincipalName } from '../protocol/names.ts'
import { bareName, prefixedName } from './identity.ts'
import type { ImpersonatorNames } from './impersonator.ts'
import {
  APPROVER_ANNOTATION,
  GRANT_ANNOTATION,
  labelValue,
  MANAGED_BY_LABEL,
  MANAGED_BY_MCM,
  NICKNAME_ANNOTATION,
  PRINCIPAL_LABEL,
} from './label.ts'
import { clusterRoleName, isAgentRole, isNamespacePreset } from './role.ts'
import { bareTimedGroup, timedGroupName, timedGroupOf } from './timed-group.ts'

/** Who is granted something; the bare name. */
export interface GrantSubject {
  readonly kind: 'user' | 'group'
  readonly name: string
}

export interface Grant {
  readonly subject: GrantSubject
  /** A ClusterRole's whole name, such as `mcm:dev`. */
  readonly role: string
  /** Absent: all namespaces. */
  readonly namespace?: string
  /** When it ends by itself: then it is bound to its timed group (PROTOCOL §3.5). */
  readonly expires?: Date
  /** The number of the request that it answers: then it ends as well (PROTOCOL §3.7). */
  readonly request?: number
}

/** A grant as a binding in a cluster says it; when one with a timed group ends stands in the directory alone. */
export type BoundGrant = Omit<Grant, 'expires'> & { readonly timedGroup?: string }

/**
 * A grant from what a person wrote; the role may be short (`dev`).
 * @throws UsageError MCM_BAD_NAME a name that cannot be; MCM_USAGE `ns-…` without a namespace
 */
export function requireGrant(wish: Grant): Grant {
  const { subject, namespace, expires, request } = wish
  requirePrincipalName(subject.name, subject.kind)
  const role = clusterRoleName(wish.role)
  if (isAgentRole(role))
    throw new UsageError('MCM_USAGE', `role ${role} is the agent’s own, and nobody is granted it`)
  if (namespace === undefined && isNamespacePreset(role))
    throw new UsageError('MCM_USAGE', `role ${role} is for one namespace, and none is named`, {
      hint: 'add --namespace NAMESPACE, or choose dev or ro for all namespaces',
    })
  if (namespace !== undefined && !NAMESPACE.test(namespace))
    throw new UsageError('MCM_BAD_NAME', `namespace ${JSON.stringify(namespace)} cannot exist`)
  return {
    subject,
    role,
    ...(namespace === undefined ? {} : { namespace }),
    ...(expires === undefined ? {} : { expires }),
    ...(request === undefined ? {} : { request }),
  }
}

/**
 * The binding of a grant. The same grant always has the same name, so applying it twice changes nothing.
 * @param prefix before the subject's name, as `mcm:`
 * @param nickname how people call the subject, free text
 * @param approver of the request it answers: each one's word changes the binding, because the API server asks whether
 *   somebody may give a role only when something changes (rolebinding/policybased/storage.go)
 * @throws UsageError as `requireGrant`
 */
export function bindingOf(
  wish: Grant,
  prefix: string,
  nickname?: string,
  approver?: string,
): RoleBinding | ClusterRoleBinding {
  const grant = requireGrant(wish)
  const metadata = bindingMetadata(grant, prefix, nickname, approver)
  const binding = {
    apiVersion: RBAC_VERSION,
    roleRef: { apiGroup: RBAC_GROUP, kind: 'ClusterRole', name: grant.role },
    subjects: [subjectOf(grant, prefix)],
  } as const
  if (grant.namespace === undefined) return { ...binding, kind: 'ClusterRoleBinding', metadata }
  return { ...binding, kind: 'RoleBinding', metadata: { ...metadata, namespace: grant.namespace } }
}

/**
 * The path of a binding in the Kubernetes API, for get, apply and delete. Encoded: whoever made a binding chose
 * its name, and RBAC allows `?` in it.
 */
export function bindingPath(binding: RoleBinding | ClusterRoleBinding): string {
  const { namespace = '' } = binding.metadata
  const name = encodeURIComponent(binding.metadata.name)
  const root = `/apis/${RBAC_VERSION}`
  if (binding.kind === 'ClusterRoleBinding') return `${root}/clusterrolebindings/${name}`
  return `${root}/namespaces/${encodeURIComponent(namespace)}/rolebindings/${name}`
}

/**
 * The grants that a binding read from the cluster really gives to people of mcm, whoever made it: by
 * its roleRef and subjects, never by its annotations. (Whom a timed group stands for is written there, and
 * believed because the group's name is its hash.) Subjects without the prefix are not ours.
 */
export function grantsOf(binding: RoleBinding | ClusterRoleBinding, prefix: string): BoundGrant[] {
  if (binding.roleRef.kind !== 'ClusterRole') return []
  const namespace = binding.kind === 'RoleBinding' ? binding.metadata.namespace : undefined
  const rest = { role: binding.roleRef.name, ...(namespace === undefined ? {} : { namespace }) }
  return (binding.subjects ?? []).flatMap((subject) => {
    const timedGroup = subject.kind === 'Group' ? bareTimedGroup(subject.name, prefix) : undefined
    if (timedGroup !== undefined) return timedGrant(binding, rest, timedGroup)
    const ours = grantSubject(subject, prefix)
    return ours ? [{ subject: ours, ...rest }] : []
  })
}

/** Whether a binding is one that mcm keeps, and so may change and delete. */
export function isManagedBinding(binding: RoleBinding | ClusterRoleBinding): boolean {
  return binding.metadata.labels?.[MANAGED_BY_LABEL] === MANAGED_BY_MCM[MANAGED_BY_LABEL]
}

/** One text for one grant: equal grants, equal keys, whenever they end. What answers a request is of its own. */
export function grantKey(grant: Grant): string {
  const { subject, role, namespace, request } = grant
  const key = [subject.kind, subject.name, clusterRoleName(role), namespace ?? null]
  return JSON.stringify(request === undefined ? key : [...key, request])
}

/**
 * What the impersonator must list for a grant: the user itself; for a group the group and everyone in
 * it, because each of them acts under their own name.
 * @param members the bare names of the group's users; not read for a user's grant
 */
export function namesForGrant(
  grant: Grant,
  prefix: string,
  members: readonly string[] = [],
): ImpersonatorNames {
  const { kind, name } = grant.subject
  const own = prefixedName(name, prefix)
  const users = kind === 'user' ? [own] : members.map((member) => prefixedName(member, prefix))
  if (isTimed(grant)) return { users, groups: [timedGroupName(timedGroupOf(grant), prefix)] }
  return { users, groups: kind === 'user' ? [] : [own] }
}

function isTimed({ expires, request }: Grant): boolean {
  return expires !== undefined || request !== undefined
}

function bindingMetadata(grant: Grant, prefix: string, nickname?: string, approver?: string) {
  const { subject } = grant
  const annotations = {
    [GRANT_ANNOTATION]: JSON.stringify({
      [subject.kind]: subject.name,
      role: grant.role,
      ...(grant.namespace === undefined ? {} : { namespace: grant.namespace }),
      ...(grant.expires === undefined
        ? {}
        : { expires: `${grant.expires.toISOString().slice(0, 19)}Z` }),
      ...(grant.request === undefined ? {} : { request: grant.request }),
    }),
    ...(nickname === undefined ? {} : { [NICKNAME_ANNOTATION]: nickname }),
    ...(approver === undefined ? {} : { [APPROVER_ANNOTATION]: approver }),
  }
  const labels = { ...MANAGED_BY_MCM, [PRINCIPAL_LABEL]: labelValue(subject.name) }
  return { name: bindingName(grant, prefix), labels, annotations }
}

/** Readable, ASCII, and unique by the hash over everything that distinguishes grants. */
function bindingName(grant: Grant, prefix: string): string {
  const { kind, name } = grant.subject
  const slug = name.toLowerCase().replace(/[^a-z0-9]+/g, '-')
  const readable = slug.replace(/^-+|-+$/g, '').slice(0, 40)
  const key = JSON.stringify([prefix, grantKey(grant)])
  const hash = createHash('sha256').update(key).digest('hex').slice(0, 12)
  return ['mcm', kind, ...(readable === '' ? [] : [readable]), hash].join('-')
}

function subjectOf(grant: Grant, prefix: string): Subject {
  const { kind, name } = grant.subject
  const own = { name: prefixedName(name, prefix), apiGroup: RBAC_GROUP } as const
  if (!isTimed(grant)) return { kind: kind === 'user' ? 'User' : 'Group', ...own }
  return { ...own, kind: 'Group', name: timedGroupName(timedGroupOf(grant), prefix) }
}

function grantSubject(subject: Subject, prefix: string): GrantSubject | undefined {
  if (subject.kind === 'ServiceAccount') return undefined
  const name = bareName(subject.name, prefix)
  if (name === undefined) return undefined
  return { kind: subject.kind === 'User' ? 'user' : 'group', name }
}

/** The subject that a binding names for its timed group, if the group is made of it. */
function timedGrant(
  binding: RoleBinding | ClusterRoleBinding,
  rest: Pick<BoundGrant, 'role' | 'namespace'>,
  timedGroup: string,
): BoundGrant[] {
  const annotated = annotatedParts(binding.metadata.annotations?.[GRANT_ANNOTATION])
  if (!annotated || timedGroupOf({ ...annotated, ...rest }) !== timedGroup) return []
  return [{ ...annotated, ...rest, timedGroup }]
}

function annotatedParts(text: string | undefined): Pick<Grant, 'subject' | 'request'> | undefined {
  try {
    const { user, group, request } = JSON.parse(text ?? '{}') as Record<string, unknown>
    const [kind, name] =
      user === undefined ? (['group', group] as const) : (['user', user] as const)
    if (typeof name !== 'string' || !isPrincipalName(name)) return undefined
    const isRequest = typeof request === 'number' && Number.isSafeInteger(request)
    return { subject: { kind, name }, ...(isRequest ? { request } : {}) }
  } catch {
    return undefined
  }
}
