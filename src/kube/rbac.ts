import type { KubernetesObject } from './object.ts'

/** Objects of `rbac.authorization.k8s.io/v1` (api `rbac/v1/types.go`), as far as mcm writes them. */

export const RBAC_GROUP = 'rbac.authorization.k8s.io'
export const RBAC_VERSION = `${RBAC_GROUP}/v1`

export interface PolicyRule {
  readonly apiGroups?: readonly string[]
  readonly resources?: readonly string[]
  readonly resourceNames?: readonly string[]
  readonly nonResourceURLs?: readonly string[]
  readonly verbs: readonly string[]
}

export interface ClusterRole extends KubernetesObject {
  readonly kind: 'ClusterRole'
  readonly rules: readonly PolicyRule[]
}

export interface Role extends KubernetesObject {
  readonly kind: 'Role'
  readonly rules: readonly PolicyRule[]
}

export type Subject =
  | { readonly kind: 'User' | 'Group'; readonly name: string; readonly apiGroup: typeof RBAC_GROUP }
  | { readonly kind: 'ServiceAccount'; readonly name: string; readonly namespace: string }

export interface RoleRef {
  readonly apiGroup: typeof RBAC_GROUP
  readonly kind: 'ClusterRole' | 'Role'
  readonly name: string
}

interface Binding extends KubernetesObject {
  readonly roleRef: RoleRef
  readonly subjects: readonly Subject[]
}

export interface RoleBinding extends Binding {
  readonly kind: 'RoleBinding'
}

export interface ClusterRoleBinding extends Binding {
  readonly kind: 'ClusterRoleBinding'
}
