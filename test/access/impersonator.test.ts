import { describe, expect, it } from 'vitest'
import {
  formOf,
  impersonatorRole,
  NO_NAMES,
  readImpersonator,
  rewrittenRules,
  rulesBesides,
  unrestrictedImpersonatorRole,
  withNames,
  withoutNames,
} from '../../src/access/impersonator.ts'
import type { PolicyRule } from '../../src/kube/rbac.ts'

const SESSION_RULE = {
  apiGroups: ['authentication.k8s.io'],
  resources: ['userextras/mcm.dev/session'],
  verbs: ['impersonate'],
}

function impersonate(resource: string, resourceNames: string[]): PolicyRule {
  return { apiGroups: [''], resources: [resource], resourceNames, verbs: ['impersonate'] }
}

describe('impersonatorRole', () => {
  it('lists users and groups by name, sorted, each once', () => {
    const role = impersonatorRole({ users: ['mcm:b', 'mcm:a', 'mcm:b'], groups: ['mcm:g'] })
    expect(role.rules).toEqual([
      impersonate('users', ['mcm:a', 'mcm:b']),
      impersonate('groups', ['mcm:g']),
      SESSION_RULE,
    ])
    expect(role.metadata.name).toBe('mcm-impersonator')
  })

  it('has no rule at all where there is no name: a rule without names would allow everybody', () => {
    expect(impersonatorRole(NO_NAMES).rules).toEqual([SESSION_RULE])
    const onlyUsers = impersonatorRole({ users: ['mcm:a'], groups: [] })
    expect(onlyUsers.rules).toEqual([impersonate('users', ['mcm:a']), SESSION_RULE])
  })

  it.each(['system:masters', 'SYSTEM:admin', 'kube:x', '', ' '])('never lists %j', (name) => {
    expect(() => impersonatorRole({ users: [], groups: [name] })).toThrow('may not be impersonated')
    expect(() => impersonatorRole({ users: [name], groups: [] })).toThrow('may not be impersonated')
    expect(() => withNames(NO_NAMES, { users: [name], groups: [] })).toThrow()
  })
})

describe('readImpersonator', () => {
  it('reads back what was written', () => {
    const names = { users: ['mcm:a', 'mcm:b'], groups: ['mcm:g'] }
    expect(readImpersonator(impersonatorRole(names))).toEqual({ ...names, isUnrestricted: false })
  })

  it('sees the owner’s opt-out', () => {
    expect(readImpersonator(unrestrictedImpersonatorRole()).isUnrestricted).toBe(true)
  })

  it.each<PolicyRule>([
    { apiGroups: [''], resources: ['users'], verbs: ['impersonate'] },
    { apiGroups: [''], resources: ['users'], resourceNames: [], verbs: ['impersonate'] },
    { apiGroups: [''], resources: ['groups'], verbs: ['*'] },
    { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
    {
      apiGroups: [''],
      resources: ['serviceaccounts'],
      resourceNames: ['x'],
      verbs: ['impersonate'],
    },
    {
      apiGroups: ['authentication.k8s.io'],
      resources: ['users'],
      verbs: ['impersonate:user-info'],
    },
  ])('sees that %j allows more than names', (rule) => {
    expect(readImpersonator({ rules: [rule] }).isUnrestricted).toBe(true)
  })

  it('reads a role without rules as a list without names', () => {
    expect(readImpersonator({ rules: null })).toEqual({ ...NO_NAMES, isUnrestricted: false })
  })

  it('reads uids and extras that the owner added by name, and takes nobody for unrestricted because of them', () => {
    const rule = (resource: string, ...resourceNames: string[]) => ({
      apiGroups: ['authentication.k8s.io'],
      resources: [resource],
      verbs: ['impersonate'],
      ...(resourceNames.length > 0 ? { resourceNames } : {}),
    })
    const rules = [rule('uids', 'u-1'), rule('userextras/a.b/c', 'x', 'y'), rule('userextras/any')]
    expect(readImpersonator({ rules })).toEqual({
      ...NO_NAMES,
      isUnrestricted: false,
      uids: ['u-1'],
      extras: new Map([['a.b/c', ['x', 'y']]]),
    })
    expect(readImpersonator({ rules: [rule('uids')] }).isUnrestricted).toBe(true)
  })

  it('tells the owner’s own rules from those of mcm', () => {
    const ours = impersonatorRole({ users: ['mcm:a'], groups: ['mcm:g'] }).rules ?? []
    const own = {
      apiGroups: ['authentication.k8s.io'],
      resources: ['uids'],
      verbs: ['impersonate'],
    }
    expect(rulesBesides({ rules: [...ours, own] })).toEqual([own])
    expect(rulesBesides({ rules: null })).toEqual([])
  })

  it('does not take the names of other rules for people', () => {
    const other = { resources: ['secrets'], resourceNames: ['mcm:x'], verbs: ['get'] }
    expect(readImpersonator({ rules: [other] }).users).toEqual([])
  })
})

describe('withNames and withoutNames', () => {
  const list = { users: ['mcm:a', 'mcm:b'], groups: ['mcm:g'] }

  it('adding what is there changes nothing', () => {
    expect(withNames(list, list)).toEqual(list)
  })

  it('what was added can be taken away', () => {
    const more = { users: ['mcm:c'], groups: ['mcm:h'] }
    expect(withoutNames(withNames(list, more), more)).toEqual(list)
  })

  it('taking away the last name leaves a role without a rule for it', () => {
    const rest = withoutNames(list, list)
    expect(impersonatorRole(rest).rules).toEqual([SESSION_RULE])
  })
})

describe('the constrained form', () => {
  const names = { users: ['mcm:a', 'mcm:b'], groups: ['mcm:g'] }
  const constrained = (resource: string, ...resourceNames: string[]): PolicyRule => ({
    apiGroups: ['authentication.k8s.io'],
    resources: [resource],
    ...(resourceNames.length > 0 ? { resourceNames } : {}),
    verbs: ['impersonate:user-info'],
  })

  it('lists the same names with the one verb of its own, and never the legacy one', () => {
    const { rules } = impersonatorRole(names, 'constrained')
    expect(rules).toEqual([
      constrained('users', 'mcm:a', 'mcm:b'),
      constrained('groups', 'mcm:g'),
      constrained('userextras/mcm.dev/session'),
    ])
    expect(JSON.stringify(rules)).not.toContain('"impersonate"')
  })

  it('reads back as itself', () => {
    const role = impersonatorRole(names, 'constrained')
    expect(readImpersonator(role)).toEqual({ ...names, isUnrestricted: false, isConstrained: true })
    expect(formOf(role)).toBe('constrained')
    expect(formOf(impersonatorRole(names))).toBe('legacy')
    expect(formOf({ rules: null })).toBe('legacy')
  })

  it('is not one that allows the legacy verb as well, which the API server would take', () => {
    const both = [...impersonatorRole(names, 'constrained').rules, impersonate('users', ['mcm:z'])]
    expect(formOf({ rules: both })).toBe('legacy')
    expect(readImpersonator({ rules: both }).isConstrained).toBeUndefined()
  })

  it('takes the owner’s own rules along, there and back', () => {
    const own = { ...constrained('uids', 'u-1'), verbs: ['impersonate'] }
    const legacy = { rules: [...impersonatorRole(names).rules, own] }
    const there = { rules: rewrittenRules(legacy, names, 'constrained') }
    expect(there.rules.at(-1)).toEqual(constrained('uids', 'u-1'))
    expect(formOf(there)).toBe('constrained')
    expect(rewrittenRules(there, names, 'legacy')).toEqual(legacy.rules)
  })

  it('keeps the form when names change', () => {
    const role = impersonatorRole(names, 'constrained')
    expect(formOf({ rules: rewrittenRules(role, { users: ['mcm:z'], groups: [] }) })).toBe(
      'constrained',
    )
  })

  it('keeps the owner’s opt-out one, without serviceaccounts and nodes', () => {
    const any = unrestrictedImpersonatorRole('constrained')
    expect(readImpersonator(any).isUnrestricted).toBe(true)
    const there = { rules: rewrittenRules(unrestrictedImpersonatorRole(), names, 'constrained') }
    expect(there.rules).toEqual(any.rules)
  })

  it('does not take what may be done as somebody for a list of names', () => {
    const rules = [{ apiGroups: ['*'], resources: ['*'], verbs: ['impersonate-on:user-info:get'] }]
    expect(readImpersonator({ rules })).toEqual({ ...NO_NAMES, isUnrestricted: false })
  })
})
