import { describe, expect, it } from 'vitest'
import {
  type Ceiling,
  ceilingRole,
  changesCeiling,
  isBelowCeiling,
  readCeiling,
} from '../../src/access/ceiling.ts'
import { type CeilingName, ceilingNames, presetCeiling } from '../../src/access/preset-ceiling.ts'
import type { PolicyRule } from '../../src/kube/rbac.ts'
import { requestInfo } from '../../src/kube/request-info.ts'

/** As it comes back from the API server. */
function inCluster(ceiling: Ceiling): Ceiling {
  return readCeiling(ceilingRole(ceiling))
}
const named = (...names: CeilingName[]) => inCluster(presetCeiling(names))
const own = (...rules: PolicyRule[]) => inCluster({ name: 'own', rules })
const below = (ceiling: Ceiling, method: string, target: string) =>
  isBelowCeiling(ceiling, requestInfo(method, target))

const DEFAULT = '/api/v1/namespaces/default'
const CUSTOM = '/apis/example.com/v1/namespaces/default/things'

describe('the role of a ceiling', () => {
  it.each<[string, Ceiling]>([
    ['none', presetCeiling([])],
    ['no-exec', presetCeiling(['no-exec'])],
    ['everything, by the owner’s own words', { name: 'all', rules: [wildcard('*')] }],
  ])(
    'with %s never allows `create` on serviceaccounts/token, nor a verb by wildcard',
    (_, ceiling) => {
      for (const rule of ceilingRole(ceiling).rules) {
        expect(rule.verbs).not.toContain('*')
        expect(rule.verbs.every((verb) => verb.startsWith('impersonate-on:user-info:'))).toBe(true)
        if (!rule.verbs.includes('impersonate-on:user-info:create')) continue
        const isCore = rule.apiGroups?.some((group) => group === '' || group === '*')
        const isToken = rule.resources?.some((each) =>
          /^\*$|^\*\/token$|accounts\/token$/.test(each),
        )
        if (isCore && isToken) expect(rule.resourceNames).toEqual([''])
      }
    },
  )

  it.each<PolicyRule>([
    { apiGroups: [''], resources: ['serviceaccounts/token'], verbs: ['create'] },
    { apiGroups: ['*'], resources: ['*/token'], verbs: ['*'] },
    { apiGroups: [''], resources: ['*'], resourceNames: ['robot'], verbs: ['create'] },
  ])('refuses %j, which would mint tokens', (rule) => {
    expect(() => ceilingRole({ name: 'own', rules: [rule] })).toThrow('service account tokens')
  })

  it.each(['impersonate', 'escalate', 'impersonate:user-info', 'proxy', ''])(
    'refuses the verb %j, which no request has',
    (verb) => {
      const rules = [{ apiGroups: [''], resources: ['pods'], verbs: [verb] }]
      expect(() => ceilingRole({ name: 'own', rules })).toThrow('has the verb')
    },
  )

  it('reads back what was written, and can be written again', () => {
    for (const ceiling of [named(), named('read-only'), own(wildcard('*'))])
      expect(inCluster(ceiling)).toEqual(ceiling)
  })

  it('leaves out what is not about acting as somebody', () => {
    const role = ceilingRole({ name: 'x', rules: [wildcard('get')] })
    const rules = [
      ...role.rules,
      { apiGroups: ['*'], resources: ['*'], verbs: ['*', 'delete'] },
      { apiGroups: ['*'], resources: ['*'], verbs: ['impersonate-on:serviceaccount:delete'] },
    ]
    expect(below(readCeiling({ ...role, rules }), 'DELETE', `${DEFAULT}/pods/x`)).toBe(false)
  })
})

function wildcard(verb: string): PolicyRule {
  return { apiGroups: ['*'], resources: ['*'], verbs: [verb] }
}

describe('without a ceiling', () => {
  it.each([
    ['GET', `${DEFAULT}/secrets/x`],
    ['POST', `${DEFAULT}/pods`],
    ['POST', `${DEFAULT}/pods/x/exec`],
    ['GET', `${DEFAULT}/pods/x/exec`],
    ['POST', `${DEFAULT}/pods/x/eviction`],
    ['DELETE', '/api/v1/nodes'],
    ['POST', CUSTOM],
    ['PATCH', `${CUSTOM}/x/status`],
    ['POST', '/apis/apps/v1/namespaces/default/deployments/x/anything'],
    ['GET', '/metrics'],
    ['HEAD', '/healthz'],
  ])('%s %s is allowed', (method, target) => {
    expect(below(named(), method, target)).toBe(true)
  })

  it.each([
    `${DEFAULT}/serviceaccounts/x/token`,
    `${DEFAULT}/serviceaccounts/x/token/`,
    `${DEFAULT}/serviceaccounts/x/token?dryRun=All`,
    `${DEFAULT}/serviceaccounts/x/t%6Fken`,
    `/api/v1/namespaces/default/service%61ccounts/x/token`,
    `/api/v1//namespaces/default/serviceaccounts/x/token`,
  ])('POST %s is not', (target) => {
    const info = requestInfo('POST', target)
    const isToken = info.resource === 'serviceaccounts' && info.subresource === 'token'
    if (isToken) expect(isBelowCeiling(named(), info)).toBe(false)
    else expect(info.resource).not.toBe('serviceaccounts')
  })
})

const GOES_IN = [
  ['GET', `${DEFAULT}/pods/x/exec?command=sh`],
  ['POST', `${DEFAULT}/pods/x/exec?command=sh`],
  ['GET', `${DEFAULT}/pods/x/exec/`],
  ['GET', `${DEFAULT}/pods/x/ex%65c`],
  ['GET', `/api/v1/watch/namespaces/default/pods/x/exec`],
  ['GET', `/api/v1/proxy/namespaces/default/pods/x`],
  ['GET', `${DEFAULT}/pods/x/attach`],
  ['GET', `${DEFAULT}/pods/x/portforward`],
  ['POST', `${DEFAULT}/pods/x/portforward`],
  ['GET', `${DEFAULT}/pods/x/proxy`],
  ['GET', `${DEFAULT}/pods/x/proxy/exec`],
  ['POST', `${DEFAULT}/services/x/proxy/`],
  ['GET', '/api/v1/nodes/n/proxy/run/default/x/c'],
  ['POST', '/api/v1/nodes/n/proxy/exec/default/x/c'],
  ['PATCH', `${DEFAULT}/pods/x/ephemeralcontainers`],
] as const

describe('no-exec', () => {
  it.each(GOES_IN)('%s %s is not allowed', (method, target) => {
    expect(below(named('no-exec'), method, target)).toBe(false)
  })

  it.each([
    ['GET', `${DEFAULT}/pods/x/log`],
    ['GET', `${DEFAULT}/secrets/x`],
    ['POST', `${DEFAULT}/pods`],
    ['POST', `${DEFAULT}/pods/x/eviction`],
    ['PATCH', '/apis/apps/v1/namespaces/default/deployments/x/scale'],
  ])('%s %s is', (method, target) => {
    expect(below(named('no-exec'), method, target)).toBe(true)
  })

  it('lets nobody at groups it does not know: an aggregated one may have an exec of its own', () => {
    expect(below(named('no-exec'), 'GET', `${CUSTOM}/x/console`)).toBe(false)
    const known = inCluster(presetCeiling(['no-exec'], ['example.com', '', '*', 'plain']))
    expect(below(known, 'GET', `${CUSTOM}/x`)).toBe(true)
    expect(below(known, 'GET', `${DEFAULT}/pods/x/exec`)).toBe(false)
  })
})

describe('read-only', () => {
  it.each<readonly [string, string]>([
    ...GOES_IN,
    ['POST', `${DEFAULT}/pods`],
    ['PUT', `${DEFAULT}/pods/x`],
    ['PATCH', `${DEFAULT}/pods/x/status`],
    ['DELETE', `${DEFAULT}/pods/x`],
    ['DELETE', `${DEFAULT}/pods`],
    ['POST', '/apis/apps/v1/namespaces/default/deployments'],
    ['POST', '/apis/authentication.k8s.io/v1/tokenreviews'],
    ['PUT', '/debug/flags/v'],
    ['OPTIONS', `${DEFAULT}/pods/x`],
    ['PROPFIND', `${DEFAULT}/pods/x`],
  ])('%s %s is not allowed', (method, target) => {
    expect(below(named('read-only'), method, target)).toBe(false)
  })

  it.each([
    ['GET', `${DEFAULT}/pods?watch=1`],
    ['GET', `${DEFAULT}/secrets/x`],
    ['GET', '/apis/apps/v1/deployments'],
    ['GET', '/apis'],
    ['POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'],
    ['POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews'],
  ])('%s %s is', (method, target) => {
    expect(below(named('read-only'), method, target)).toBe(true)
  })
})

describe('no-secrets', () => {
  it.each([
    ['GET', `${DEFAULT}/secrets`],
    ['GET', `${DEFAULT}/secrets/x`],
    ['GET', '/api/v1/secrets?watch=true'],
    ['GET', '/api/v1/watch/secrets'],
    ['GET', '/api/v1/watch/namespaces/default/secrets/x'],
    ['GET', `${DEFAULT}/secr%65ts/x`],
    ['POST', `${DEFAULT}/secrets`],
    ['DELETE', `${DEFAULT}/secrets`],
    ['GET', '/api/v1/nodes/n/proxy/configz'],
  ])('%s %s is not allowed', (method, target) => {
    expect(below(named('no-secrets'), method, target)).toBe(false)
  })

  it('together with another leaves what both allow', () => {
    const both = named('no-secrets', 'read-only')
    expect(both.name).toBe('read-only,no-secrets')
    expect(below(both, 'GET', `${DEFAULT}/secrets/x`)).toBe(false)
    expect(below(both, 'POST', `${DEFAULT}/configmaps`)).toBe(false)
    expect(below(both, 'GET', `${DEFAULT}/configmaps`)).toBe(true)
  })
})

describe('rules of an owner’s own', () => {
  it('are read as RBAC reads them', () => {
    const ceiling = own(
      { apiGroups: [''], resources: ['configmaps'], resourceNames: ['a'], verbs: ['get'] },
      { apiGroups: ['apps'], resources: ['*/scale'], verbs: ['get'] },
      { nonResourceURLs: ['/healthz/*'], verbs: ['get'] },
    )
    expect(below(ceiling, 'GET', `${DEFAULT}/configmaps/a`)).toBe(true)
    expect(below(ceiling, 'GET', `${DEFAULT}/configmaps/b`)).toBe(false)
    expect(below(ceiling, 'GET', `${DEFAULT}/configmaps`)).toBe(false)
    expect(below(ceiling, 'GET', '/apis/apps/v1/namespaces/a/deployments/x/scale')).toBe(true)
    expect(below(ceiling, 'GET', '/apis/apps/v1/namespaces/a/deployments/x')).toBe(false)
    expect(below(ceiling, 'GET', '/healthz/etcd')).toBe(true)
    expect(below(ceiling, 'GET', '/healthz')).toBe(false)
  })
})

describe('the ceiling itself', () => {
  const path = '/apis/rbac.authorization.k8s.io/v1'
  it.each([
    ['PATCH', `${path}/clusterroles/mcm-ceiling`],
    ['PUT', `${path}/clusterroles/mcm-ceiling`],
    ['DELETE', `${path}/clusterroles/mcm-ceiling`],
    ['DELETE', `${path}/clusterrolebindings/mcm-ceiling`],
    ['DELETE', `/apis/rbac.authorization.k8s.io/v1beta1/clusterroles/mcm%2Dceiling`],
    ['DELETE', `${path}/clusterroles?fieldSelector=metadata.name=mcm-ceiling`],
    ['DELETE', `${path}/clusterroles/`],
    ['DELETE', `${path}/clusterrolebindings?labelSelector=a`],
  ])('%s %s would change it', (method, target) => {
    expect(changesCeiling(requestInfo(method, target))).toBe(true)
  })

  it('may be read, and other roles may be changed', () => {
    expect(changesCeiling(requestInfo('GET', `${path}/clusterroles/mcm-ceiling`))).toBe(false)
    expect(changesCeiling(requestInfo('PUT', `${path}/clusterroles/mcm-impersonator`))).toBe(false)
    expect(changesCeiling(requestInfo('DELETE', `${path}/clusterroles/mine`))).toBe(false)
    const inNamespace = `${path}/namespaces/shop/rolebindings?labelSelector=a`
    expect(changesCeiling(requestInfo('DELETE', inNamespace))).toBe(false)
  })
})

it('names are read with commas between, and nothing else is a name', () => {
  expect(ceilingNames('none')).toEqual([])
  expect(ceilingNames('no-exec,no-secrets')).toEqual(['no-exec', 'no-secrets'])
  for (const text of ['', 'no-exec,', 'none,no-exec', 'readonly', 'NO-EXEC'])
    expect(ceilingNames(text)).toBeUndefined()
})
