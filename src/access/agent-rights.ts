import type { KubernetesObject } from '../kube/object.ts'
import type { ClusterRole, ClusterRoleBinding, Role, RoleBinding } from '../kube/rbac.ts'
import { RBAC_GROUP, RBAC_VERSION } from '../kube/rbac.ts'
import { CEILING_NAME } from './ceiling.ts'
import { IMPERSONATOR_NAME } from './impersonator.ts'
import { MANAGED_BY_MCM } from './label.ts'

/**
 * The agent's two service accounts and what each may do. `mcm-agent` works in its own namespace and
 * can speak for nobody; `mcm-impersonator` speaks for the listed people, below the ceiling, and can do
 * nothing else.
 */

export const AGENT_NAMESPACE = 'mcm-system'
export const AGENT_NAME = 'mcm-agent'

/** The lease by which the replicas agree who does what only one should. */
export const AGENT_LEASE = 'mcm-agent'

/** Service accounts, roles and bindings, besides the ClusterRoles of the impersonator: names and ceiling. */
export function agentRights(): KubernetesObject[] {
  return [
    serviceAccount(AGENT_NAME),
    serviceAccount(IMPERSONATOR_NAME),
    agentRole(),
    roleBindingOfAgent(),
    impersonatorReaderRole(),
    clusterRoleBinding(`${AGENT_NAME}-impersonator-reader`, AGENT_NAME),
    clusterRoleBinding(IMPERSONATOR_NAME, IMPERSONATOR_NAME),
    clusterRoleBinding(CEILING_NAME, IMPERSONATOR_NAME),
  ]
}

/** Neither token is mounted by itself: the agent's is projected, the impersonator's is asked for. */
function serviceAccount(
  name: string,
): KubernetesObject & { automountServiceAccountToken: boolean } {
  const metadata = { name, namespace: AGENT_NAMESPACE, labels: MANAGED_BY_MCM }
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata, automountServiceAccountToken: false }
}

/**
 * RBAC cannot restrict list, watch and create by name, so they hold for all Secrets of the agent's own
 * namespace, where nothing else lives. Nothing is ever deleted.
 */
function agentRole(): Role {
  const token = { resources: ['serviceaccounts/token'], resourceNames: [IMPERSONATOR_NAME] }
  const leases = { apiGroups: ['coordination.k8s.io'], resources: ['leases'] }
  return {
    apiVersion: RBAC_VERSION,
    kind: 'Role',
    metadata: { name: AGENT_NAME, namespace: AGENT_NAMESPACE, labels: MANAGED_BY_MCM },
    rules: [
      {
        apiGroups: [''],
        resources: ['secrets'],
        verbs: ['get', 'list', 'watch', 'create', 'update'],
      },
      { ...leases, verbs: ['create'] },
      { ...leases, resourceNames: [AGENT_LEASE], verbs: ['get', 'update'] },
      { apiGroups: [''], ...token, verbs: ['create'] },
    ],
  }
}

/** The list of names and the ceiling, to be read only: list and watch work with `fieldSelector=metadata.name=…`. */
function impersonatorReaderRole(): ClusterRole {
  return {
    apiVersion: RBAC_VERSION,
    kind: 'ClusterRole',
    metadata: { name: `${AGENT_NAME}-impersonator-reader`, labels: MANAGED_BY_MCM },
    rules: [
      {
        apiGroups: [RBAC_GROUP],
        resources: ['clusterroles'],
        resourceNames: [IMPERSONATOR_NAME, CEILING_NAME],
        verbs: ['get', 'list', 'watch'],
      },
    ],
  }
}

function roleBindingOfAgent(): RoleBinding {
  return {
    apiVersion: RBAC_VERSION,
    kind: 'RoleBinding',
    metadata: { name: AGENT_NAME, namespace: AGENT_NAMESPACE, labels: MANAGED_BY_MCM },
    roleRef: { apiGroup: RBAC_GROUP, kind: 'Role', name: AGENT_NAME },
    subjects: [{ kind: 'ServiceAccount', name: AGENT_NAME, namespace: AGENT_NAMESPACE }],
  }
}

function clusterRoleBinding(role: string, account: string): ClusterRoleBinding {
  return {
    apiVersion: RBAC_VERSION,
    kind: 'ClusterRoleBinding',
    metadata: { name: role, labels: MANAGED_BY_MCM },
    roleRef: { apiGroup: RBAC_GROUP, kind: 'ClusterRole', name: role },
    subjects: [{ kind: 'ServiceAccount', name: account, namespace: AGENT_NAMESPACE }],
  }
}
