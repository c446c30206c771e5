import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FENCE_NAME } from '../../src/access/fence.ts'
import { type ImpersonationForm, impersonatorRole } from '../../src/access/impersonator.ts'
import { startListedNames } from '../../src/agent/listed-names.ts'
import { nameAdmission } from '../../src/agent/name-admission.ts'
import { directTransport } from '../../src/client/direct-transport.ts'
import { type KubernetesApi, openKubernetes } from '../../src/client/kubernetes.ts'
import { actingAs } from '../../src/device/direct-api.ts'
import { setUpFence } from '../../src/device/fence.ts'
import type { ClusterRole, PolicyRule } from '../../src/kube/rbac.ts'
import { Secret } from '../../src/secret.ts'
import { FrozenWorld, RecordedLog } from '../agent/frozen-world.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { ask, type Caller } from './api-server-client.ts'
import { install, manifestFor, PREFIX, tokenOf } from './stage.ts'

const ROLES = '/apis/rbac.authorization.k8s.io/v1/clusterroles'
const ROLE = `${ROLES}/mcm-impersonator`
const LISTED = { users: ['mcm:alice', 'mcm:bob'], groups: ['mcm:dev'] }

function transportTo({ host, port, url, caPem }: ApiServer, who: Caller) {
  const credentials =
    'token' in who
      ? { authorization: async () => new Secret(`Bearer ${who.token}`) }
      : {
          authorization: async () => undefined,
          clientCertPem: who.certPem,
          clientKeyPem: new Secret(who.keyPem),
        }
  const address = { scheme: 'https', host, port, basePath: '', server: url, caPem } as const
  return directTransport({ ...address, ...credentials, insecureSkipTlsVerify: false })
}

describe('where the API server takes the policy and does not enforce it', async () => {
  const version = '1.36.3'
  const skip = skipLoudly('a fence that does not hold', await apiServerIsPossible(version))

  it.skipIf(skip)('the agent gets no right', { timeout: 120_000 }, async () => {
    const flags = ['--disable-admission-plugins=ServiceAccount,ValidatingAdmissionPolicy']
    const server = await startApiServer({ version, flags })
    try {
      const role = impersonatorRole(LISTED)
      await ask(server, server.admin, ROLES, { method: 'POST', body: role })
      const transport = transportTo(server, server.admin)
      const { signal } = new AbortController()
      await expect(
        setUpFence(openKubernetes(transport), actingAs(transport), 'mcm:', {
          signal,
          waitMs: 1_000,
        }),
      ).rejects.toThrow('does not enforce ValidatingAdmissionPolicy mcm-agent-names')
      await transport.close()
      expect((await ask(server, server.admin, `${ROLES}/${FENCE_NAME}`)).status).toBe(404)
    } finally {
      await server.stop()
    }
  })
})

/** What the agent's own service account can do with the right to add names: everything is asked with its token. */
describe.each(['1.36.3', '1.33.13'] as const)('the fence on Kubernetes %s', async (version) => {
  const skip = skipLoudly(`the fence on ${version}`, await apiServerIsPossible(version))

  describe.skipIf(skip).each(['legacy', 'constrained'] as const)('around a %s list', (form) => {
    let server: ApiServer
    let token: string

    beforeAll(async () => {
      server = await startApiServer({ version })
      await install(server, manifestFor({ owner: 'alice', listed: LISTED, form }))
      token = (await tokenOf(server, 'mcm-agent', 3600)).token
      const transport = transportTo(server, server.admin)
      const { signal } = new AbortController()
      await setUpFence(openKubernetes(transport), actingAs(transport), PREFIX, { signal })
      await transport.close()
    }, 120_000)
    afterAll(() => server?.stop())

    const read = async () => (await ask(server, { token }, ROLE)).body as ClusterRole
    async function put(edit: (role: ClusterRole) => object) {
      return ask(server, { token }, ROLE, { method: 'PUT', body: edit(await read()) })
    }
    function withUsers(role: ClusterRole, names: (now: readonly string[]) => string[]): object {
      const rules = role.rules.map((rule) =>
        rule.resources?.[0] === 'users'
          ? { ...rule, resourceNames: names(rule.resourceNames ?? []) }
          : rule,
      )
      return { ...role, rules }
    }
    function withRules(
      role: ClusterRole,
      edit: (rules: readonly PolicyRule[]) => unknown[],
    ): object {
      return { ...role, rules: edit(role.rules) }
    }
    const addition = (name: string) => (role: ClusterRole) =>
      withUsers(role, (now) => [...now, name])

    it('lets the agent add a name of the fleet', async () => {
      expect((await put(addition('mcm:carol'))).status).toBe(200)
      expect(JSON.stringify((await read()).rules)).toContain('mcm:carol')
    })

    const other: ImpersonationForm = form === 'legacy' ? 'constrained' : 'legacy'
    it.each<[string, (role: ClusterRole) => object]>([
      ['a name of Kubernetes', addition('system:masters')],
      ['the controller manager', addition('system:kube-controller-manager')],
      ['a name of another prefix', addition('corp:eve')],
      ['a bare name', addition('eve')],
      ['the prefix alone', addition('mcm:')],
      ['an empty name', addition('')],
      ['a name with another behind a line end', addition('mcm:x\nsystem:admin')],
      [
        'one name of ours and one that is not',
        (role) => withUsers(role, (now) => [...now, 'mcm:x', 'system:admin']),
      ],
      ['nobody in place of everybody', (role) => withUsers(role, () => [])],
      ['a list without somebody', (role) => withUsers(role, (now) => now.slice(1))],
      [
        'a name in place of another',
        (role) => withUsers(role, (now) => [...now.slice(1), 'mcm:x']),
      ],
      [
        'no names at all, which is all of them',
        (role) => withRules(role, (rules) => rules.map(({ resourceNames: _, ...rule }) => rule)),
      ],
      [
        'a group',
        (role) =>
          withRules(role, (rules) =>
            rules.map((rule) =>
              rule.resources?.[0] === 'groups'
                ? { ...rule, resourceNames: [...(rule.resourceNames ?? []), 'mcm:admins'] }
                : rule,
            ),
          ),
      ],
      [
        'a rule more',
        (role) =>
          withRules(role, (rules) => [
            ...rules,
            { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
          ]),
      ],
      [
        'service accounts',
        (role) =>
          withRules(role, (rules) => [
            ...rules,
            {
              apiGroups: [''],
              resources: ['serviceaccounts'],
              resourceNames: ['mcm:x'],
              verbs: ['impersonate'],
            },
          ]),
      ],
      ['the same rule twice', (role) => withRules(role, (rules) => [...rules, rules[0]])],
      ['a rule less', (role) => withRules(role, (rules) => rules.slice(1))],
      ['no rules', (role) => ({ ...role, rules: [] })],
      [
        'another verb',
        (role) => withRules(role, (rules) => rules.map((rule) => ({ ...rule, verbs: ['*'] }))),
      ],
      [
        'another resource in the rule',
        (role) =>
          withRules(role, (rules) =>
            rules.map((rule) =>
              rule.resources?.[0] === 'users' ? { ...rule, resources: ['users', 'secrets'] } : rule,
            ),
          ),
      ],
      ['the other form', (role) => ({ ...role, rules: impersonatorRole(LISTED, other).rules })],
      [
        'another label',
        (role) => ({ ...role, metadata: { ...role.metadata, labels: { a: 'b' } } }),
      ],
      [
        'an annotation',
        (role) => ({ ...role, metadata: { ...role.metadata, annotations: { a: 'b' } } }),
      ],
      [
        'an aggregation, by which other roles would be taken in',
        (role) => ({
          ...role,
          aggregationRule: { clusterRoleSelectors: [{ matchLabels: { a: 'b' } }] },
        }),
      ],
    ])('refuses it %s', async (_, edit) => {
      const before = JSON.stringify((await read()).rules)
      const refused = await put(edit)
      expect([403, 422]).toContain(refused.status)
      expect(refused.body.message).toMatch(/mcm-agent-names|the agent (changes|adds)/)
      expect(JSON.stringify((await read()).rules)).toBe(before)
    })

    it('refuses it every other role, and every other way of writing', async () => {
      const { metadata: _, ...role } = await read()
      const attempts = [
        ['PUT', `${ROLES}/cluster-admin`, { ...role, metadata: { name: 'cluster-admin' } }],
        ['PUT', `${ROLES}/mcm-ceiling`, { ...role, metadata: { name: 'mcm-ceiling' } }],
        ['POST', ROLES, { ...role, metadata: { name: 'new' } }],
        ['DELETE', ROLE, undefined],
        ['DELETE', `${ROLES}?labelSelector=a`, undefined],
        [
          'POST',
          '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
          {
            apiVersion: 'rbac.authorization.k8s.io/v1',
            kind: 'ClusterRoleBinding',
            metadata: { name: 'x' },
            roleRef: {
              apiGroup: 'rbac.authorization.k8s.io',
              kind: 'ClusterRole',
              name: 'mcm-impersonator',
            },
            subjects: [{ kind: 'ServiceAccount', name: 'mcm-agent', namespace: 'mcm-system' }],
          },
        ],
        [
          'DELETE',
          `/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/${FENCE_NAME}`,
          undefined,
        ],
        [
          'DELETE',
          `/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/${FENCE_NAME}`,
          undefined,
        ],
      ] as const
      for (const [method, path, body] of attempts) {
        const answer = await ask(server, { token }, path, { method, ...(body ? { body } : {}) })
        expect(answer.status, `${method} ${path}`).toBe(403)
      }
    })

    it('lets an administrator write the role as ever', async () => {
      const role = await read()
      const body = { ...role, rules: impersonatorRole(LISTED, form).rules }
      expect((await ask(server, server.admin, ROLE, { method: 'PUT', body })).status).toBe(200)
    })

    it('two replicas admit many at once, and nobody is lost', { timeout: 120_000 }, async () => {
      const replicas = await Promise.all([replica(), replica()])
      const people = Array.from({ length: 20 }, (_, index) => `mcm:person-${index}@example.com`)
      await Promise.all(
        people.flatMap((name, index) => [
          replicas[index % 2]!.admit(name),
          // The same person at both, at once.
          replicas[(index + 1) % 2]!.admit(people[0]!),
        ]),
      )
      const rule = (await read()).rules.find(({ resources }) => resources?.[0] === 'users')
      expect(rule?.resourceNames?.toSorted()).toEqual([...LISTED.users, ...people].toSorted())
      await expect(replicas[0]!.admit('system:masters')).rejects.toMatchObject({
        code: 'MCM_NO_GRANT',
      })
      for (const { end } of replicas) await end()
    })

    it('works with a thousand names', { timeout: 120_000 }, async () => {
      const users = Array.from({ length: 1_000 }, (_, index) => `mcm:user-${index}@example.com`)
      const role = await read()
      const rules = impersonatorRole({ ...LISTED, users }, form).rules
      const body = { ...role, rules }
      expect((await ask(server, server.admin, ROLE, { method: 'PUT', body })).status).toBe(200)
      expect((await put(addition('mcm:one-more@example.com'))).status).toBe(200)
      expect((await put(addition('system:masters'))).status).not.toBe(200)
    })

    async function replica() {
      const transport = transportTo(server, { token })
      const api: KubernetesApi = openKubernetes(transport)
      const ending = new AbortController()
      const background = { world: new FrozenWorld(), log: new RecordedLog(), signal: ending.signal }
      const names = startListedNames(api, background)
      await names.ready
      const end = () => {
        ending.abort()
        return transport.close()
      }
      return { admit: nameAdmission(api, names, background.world), end }
    }
  })
})
