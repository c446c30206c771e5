/**
 * The fence for people whom an identity provider admits and nobody names beforehand: the agent may add
 * names to the list by itself, and the API server sees to it that it adds names of this fleet and
 * changes nothing else. Only where the owner asks for it, and only for servers that have
 * ValidatingAdmissionPolicy (admissionregistration.k8s.io/v1, Kubernetes 1.30). Invariant: the policy
 * comes before the right; without it `escalate` on that role would be cluster-admin by another name.
 */

import type { KubernetesObject } from '../kube/object.ts'
import type { ClusterRole, ClusterRoleBinding } from '../kube/rbac.ts'
import { RBAC_GROUP, RBAC_VERSION } from '../kube/rbac.ts'
import { AGENT_NAME, AGENT_NAMESPACE } from './agent-rights.ts'
import { requirePrefix } from './identity.ts'
import { IMPERSONATOR_NAME } from './impersonator.ts'
import { MANAGED_BY_MCM } from './label.ts'

/** The first Kubernetes minor version with this policy. */
export const FENCE_MINOR = 30

export const FENCE_NAME = `${AGENT_NAME}-names`

const ADMISSION_VERSION = 'admissionregistration.k8s.io/v1'
export const AGENT_USER = `system:serviceaccount:${AGENT_NAMESPACE}:${AGENT_NAME}`

/** The fence itself: policy and its binding. @throws UsageError MCM_BAD_NAME a prefix that is none */
export function fenceObjects(prefix: string): KubernetesObject[] {
  return [policy(requirePrefix(prefix)), policyBinding()]
}

/** The right behind the fence: to be given only where the fence was seen to hold. */
export function fencedRight(): KubernetesObject[] {
  return [right(), rightBinding()]
}

/** What the policy says to a label of the agent's, as the API server tells it. */
export function isFenceRefusal(message: string): boolean {
  return (
    message.includes(`ValidatingAdmissionPolicy '${FENCE_NAME}'`) && message.includes(ONLY_USERS)
  )
}

const ONLY_USERS = 'the agent changes the list of users and nothing else'

/**
 * CEL, evaluated by the API server. Lists are compared as joined text, so that the work grows with the number
 * of names and not with its square: an expression has a budget.
 */
function policy(prefix: string) {
  const of = (path: string) => `object.${path} == oldObject.${path}`
  const joined = (rule: string) => `${rule}.resourceNames.join('\\n')`
  const sameButNames =
    'r.apiGroups == o.apiGroups && r.resources == o.resources && r.verbs == o.verbs'
  const isOfUsers = "r.resources == ['users'] && has(r.resourceNames) && has(o.resourceNames)"
  const isLonger = `${joined('r')}.startsWith(${joined('o')} + '\\n')`
  const added = `${joined('r')}.substring(${joined('o')}.size() + 1).split('\\n')`
  const isOurs = `${added}.all(n, n.startsWith('${prefix}') && n.size() > ${prefix.length})`
  const validations = [
    [
      `request.operation == 'UPDATE' && request.resource.resource == 'clusterroles' && request.name == '${IMPERSONATOR_NAME}'`,
      `the agent changes ClusterRole ${IMPERSONATOR_NAME} and nothing else`,
    ],
    [
      [
        'metadata.?labels',
        'metadata.?annotations',
        'metadata.?finalizers',
        'metadata.?ownerReferences',
        '?aggregationRule',
      ]
        .map(of)
        .join(' && '),
      ONLY_USERS,
    ],
    [
      `object.rules.size() == oldObject.rules.size() && object.rules.all(r, oldObject.rules.exists(o, r == o || (${sameButNames} && ${isOfUsers} && ${isLonger} && ${isOurs}))) && oldObject.rules.all(o, object.rules.exists(r, r == o || (${sameButNames} && ${isOfUsers} && ${isLonger})))`,
      `the agent adds users whose name begins with ${prefix} to the end of the list and changes nothing else`,
    ],
  ] as const
  return {
    apiVersion: ADMISSION_VERSION,
    kind: 'ValidatingAdmissionPolicy',
    metadata: { name: FENCE_NAME, labels: MANAGED_BY_MCM },
    spec: {
      failurePolicy: 'Fail',
      matchConstraints: {
        resourceRules: [
          { apiGroups: [RBAC_GROUP], apiVersions: ['*'], operations: ['*'], resources: ['*'] },
        ],
      },
      matchConditions: [
        { name: 'agent', expression: `request.userInfo.username == '${AGENT_USER}'` },
      ],
      validations: validations.map(([expression, message]) => ({ expression, message })),
    },
  }
}

function policyBinding() {
  return {
    apiVersion: ADMISSION_VERSION,
    kind: 'ValidatingAdmissionPolicyBinding',
    metadata: { name: FENCE_NAME, labels: MANAGED_BY_MCM },
    spec: { policyName: FENCE_NAME, validationActions: ['Deny'] },
  }
}

/** `escalate`, because the agent has no right to impersonate anybody itself. */
function right(): ClusterRole {
  return {
    apiVersion: RBAC_VERSION,
    kind: 'ClusterRole',
    metadata: { name: FENCE_NAME, labels: MANAGED_BY_MCM },
    rules: [
      {
        apiGroups: [RBAC_GROUP],
        resources: ['clusterroles'],
        resourceNames: [IMPERSONATOR_NAME],
        verbs: ['get', 'update', 'escalate'],
      },
    ],
  }
}

function rightBinding(): ClusterRoleBinding {
  return {
    apiVersion: RBAC_VERSION,
    kind: 'ClusterRoleBinding',
    metadata: { name: FENCE_NAME, labels: MANAGED_BY_MCM },
    roleRef: { apiGroup: RBAC_GROUP, kind: 'ClusterRole', name: FENCE_NAME },
    subjects: [{ kind: 'ServiceAccount', name: AGENT_NAME, namespace: AGENT_NAMESPACE }],
  }
}
