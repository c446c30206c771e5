import type { Resource } from '../objects/resources.ts'
import * as core from './core.ts'
import type { KindRules } from './kind-rules.ts'
import { podRules } from './pod.ts'
import * as policies from './policies.ts'
import { bindingRules, roleRules } from './rbac.ts'
import { serviceRules } from './service.ts'
import { deploymentRules, jobRules } from './workloads.ts'

const RULES: Readonly<Record<string, KindRules>> = {
  configmaps: core.configMapRules,
  events: core.eventRules,
  namespaces: core.namespaceRules,
  nodes: core.nodeRules,
  pods: podRules,
  secrets: core.secretRules,
  serviceaccounts: core.serviceAccountRules,
  services: serviceRules,
  deployments: deploymentRules,
  jobs: jobRules,
  networkpolicies: policies.networkPolicyRules,
  poddisruptionbudgets: policies.disruptionBudgetRules,
  leases: policies.leaseRules,
  clusterrolebindings: bindingRules,
  clusterroles: roleRules,
  rolebindings: bindingRules,
  roles: roleRules,
  validatingadmissionpolicies: policies.admissionPolicyRules,
  validatingadmissionpolicybindings: policies.admissionPolicyBindingRules,
}

/** The rules of a stored resource. */
export function rulesOf(resource: Resource): KindRules {
  return RULES[resource.resource]!
}
