/** Policies and leases. */
import { at, isJsonObject, type JsonObject, listAt, withMember } from '../json.ts'
import { requiredValue } from '../objects/names.ts'
import type { KindRules } from './kind-rules.ts'

export const networkPolicyRules: KindRules = {
  withDefaults: (policy) => {
    const spec = (policy.spec ?? {}) as JsonObject
    const policyTypes = ['Ingress', ...(listAt(spec, 'egress').length > 0 ? ['Egress'] : [])]
    return { ...policy, spec: { podSelector: {}, policyTypes, ...spec } }
  },
}

export const disruptionBudgetRules: KindRules = {
  atCreation: (budget) => ({
    ...budget,
    status: { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 },
  }),
  atUpdate: (budget, old) => withMember(budget, 'status', old.status),
  isUpdateConditional: true,
}

export const leaseRules: KindRules = { isCreatedByUpdate: true, isUpdateConditional: true }

export const admissionPolicyRules: KindRules = {
  withDefaults: (policy) => {
    const spec = (policy.spec ?? {}) as JsonObject
    const constraints = matchDefaults(spec.matchConstraints)
    return { ...policy, spec: { failurePolicy: 'Fail', ...spec, ...constraints } }
  },
  atCreation: (policy) => ({ ...policy, status: {} }),
  atUpdate: (policy, old) => withMember(policy, 'status', old.status),
  problems: (policy) =>
    at(policy, 'spec', 'matchConstraints') === undefined
      ? [requiredValue('spec.matchConstraints')]
      : [],
  isUpdateConditional: true,
}

export const admissionPolicyBindingRules: KindRules = {
  problems: (binding) => [
    ...(at(binding, 'spec', 'policyName') === undefined ? [requiredValue('spec.policyName')] : []),
    ...(listAt(binding, 'spec', 'validationActions').length === 0
      ? [requiredValue('spec.validationActions')]
      : []),
  ],
  isUpdateConditional: true,
}

function matchDefaults(value: unknown): JsonObject {
  if (!isJsonObject(value)) return {}
  const rules = listAt(value, 'resourceRules').map((one) => ({
    ...(one as JsonObject),
    scope: at(one, 'scope') ?? '*',
  }))
  const filled = { namespaceSelector: {}, objectSelector: {}, matchPolicy: 'Equivalent', ...value }
  return { matchConstraints: { ...filled, ...(rules.length > 0 && { resourceRules: rules }) } }
}
