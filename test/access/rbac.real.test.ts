import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Grant } from '../../src/access/grant.ts'
import { bindingOf, namesForGrant } from '../../src/access/grant.ts'
import { impersonationOf } from '../../src/access/identity.ts'
import type { ImpersonatorNames } from '../../src/access/impersonator.ts'
import { NO_NAMES, withNames } from '../../src/access/impersonator.ts'
import type { Preset } from '../../src/access/role.ts'
import { PRESETS } from '../../src/access/role.ts'
import type { HeaderPair } from '../../src/kube/impersonation.ts'
import { impersonationHeaders } from '../../src/kube/impersonation.ts'
import type { KubernetesObject } from '../../src/kube/object.ts'
import type { ApiServer } from '../cluster/api-server.ts'
import { apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import type { Answer, Ask } from './api-server-client.ts'
import { ask } from './api-server-client.ts'
import { as, install, manifestFor, PREFIX, TOKEN_REQUEST, tokenOf } from './stage.ts'

const NAMESPACED: readonly Preset[] = ['ns-dev', 'ns-ro']

/** One user per preset, called after it; `ns-…` in the namespace `test`. */
const GRANTS: readonly Grant[] = PRESETS.map((preset) => ({
  subject: { kind: 'user', name: `u-${preset}` },
  role: `mcm:${preset}`,
  ...(NAMESPACED.includes(preset) ? { namespace: 'test' } : {}),
}))
const GROUP_GRANT: Grant = {
  subject: { kind: 'group', name: 'watchers' },
  role: 'mcm:ro',
}

function listedNames(): ImpersonatorNames {
  const all = [
    ...GRANTS.map((grant) => namesForGrant(grant, PREFIX)),
    namesForGrant(GROUP_GRANT, PREFIX, ['member']),
  ]
  return all.reduce(withNames, NO_NAMES)
}

/** The very objects of agent.yaml, and what they are tried on. */
function objects(): KubernetesObject[] {
  return [
    ...manifestFor({
      owner: 'owner',
      listed: listedNames(),
      workload: { image: 'docker.io/library/mcm-agent:0' },
    }),
    ...['test', 'other'].map((name) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name },
    })),
    ...[...GRANTS, GROUP_GRANT].map((grant) => bindingOf(grant, PREFIX)),
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'power', namespace: 'test' } },
  ]
}

/** As the agent speaks for somebody: session extra and all. */
function asUser(name: string, groups: string[] = []): HeaderPair[] {
  const identity = { user: name, groups, device: 'd', fingerprint: 'f' }
  const listed = new Set(listedNames().groups)
  return impersonationHeaders(impersonationOf(identity, PREFIX, listed, 'session-1'))
}

describe.each(['1.36.3', '1.33.13'] as const)('RBAC on Kubernetes %s', async (version) => {
  const skip = skipLoudly(`RBAC on Kubernetes ${version}`, await apiServerIsPossible(version))

  describe.skipIf(skip)('with everything of agent.yaml in it', () => {
    let server: ApiServer
    let impersonator: { token: string }
    let agent: { token: string }

    beforeAll(async () => {
      server = await startApiServer({ version })
      await install(server, objects())
      impersonator = await tokenOf(server, 'mcm-impersonator')
      agent = await tokenOf(server, 'mcm-agent')
    })
    afterAll(() => server?.stop())

    const asImpersonator = (path: string, asked?: Ask) => ask(server, impersonator, path, asked)
    const asAgent = (path: string, asked?: Ask) => ask(server, agent, path, asked)

    async function can(headers: readonly HeaderPair[], resourceAttributes: object) {
      const answer = await asImpersonator(
        '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
        {
          method: 'POST',
          headers,
          body: {
            apiVersion: 'authorization.k8s.io/v1',
            kind: 'SelfSubjectAccessReview',
            spec: { resourceAttributes },
          },
        },
      )
      expect(answer.status).toBe(201)
      return answer.body.status.allowed as boolean
    }

    describe('the impersonator’s token', () => {
      it.each([
        '/api/v1/namespaces',
        '/api/v1/nodes',
        '/api/v1/pods',
        '/api/v1/secrets',
        '/api/v1/configmaps',
        '/api/v1/services',
        '/api/v1/serviceaccounts',
        '/api/v1/namespaces/mcm-system/secrets',
        '/api/v1/namespaces/mcm-system/secrets/mcm-agent',
        '/apis/apps/v1/deployments',
        '/apis/rbac.authorization.k8s.io/v1/clusterroles',
        '/apis/rbac.authorization.k8s.io/v1/clusterroles/mcm-impersonator',
        '/apis/coordination.k8s.io/v1/leases',
        '/metrics',
        '/logs',
      ])('alone does not open %s', async (path) => {
        expect((await asImpersonator(path)).status).toBe(403)
      })

      it('alone opens discovery, and that is all its rules say', async () => {
        expect((await asImpersonator('/api')).status).toBe(200)
        expect((await asImpersonator('/version')).status).toBe(200)
        const { body } = await asImpersonator(
          '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews',
          {
            method: 'POST',
            body: {
              apiVersion: 'authorization.k8s.io/v1',
              kind: 'SelfSubjectRulesReview',
              spec: { namespace: 'mcm-system' },
            },
          },
        )
        const verbs = body.status.resourceRules.flatMap((rule: { verbs: string[] }) => rule.verbs)
        const others = verbs.filter((verb: string) => !verb.startsWith('impersonate-on:user-info:'))
        expect(new Set(others)).toEqual(new Set(['create', 'impersonate']))
        const created = body.status.resourceRules
          .filter((rule: { verbs: string[] }) => rule.verbs.includes('create'))
          .flatMap((rule: { resources: string[] }) => rule.resources)
        expect(created.every((name: string) => name.startsWith('self'))).toBe(true)
      })

      it.each([
        ['an unknown user', as('mcm:mallory')],
        ['a bare name', as('u-admin')],
        ['a name in other letters', as('mcm:U-ADMIN')],
        ['the controller manager', as('system:kube-controller-manager')],
        ['the administrator of old', as('system:admin')],
        ['anonymous', as('system:anonymous')],
        ['the API server', as('system:apiserver')],
        ['a node', as('system:node:node-1', 'system:nodes')],
        ['a node by name alone', as('system:node:node-1')],
        ['a service account', as('system:serviceaccount:test:power')],
        ['the agent’s own account', as('system:serviceaccount:mcm-system:mcm-agent')],
        ['system:masters beside a listed user', as('mcm:u-ro', 'system:masters')],
        ['an unlisted group beside a listed user', as('mcm:u-ro', 'mcm:admins')],
        ['a listed group’s name as user', as('mcm:watchers')],
        ['a listed user’s name as group', as('mcm:u-ro', 'mcm:u-admin')],
        ['an empty group', as('mcm:u-ro', '')],
        ['a uid', [...as('mcm:u-ro'), ['Impersonate-Uid', '1']]],
        ['another extra', [...as('mcm:u-ro'), ['Impersonate-Extra-Scopes', 'all']]],
        ['an extra beside ours', [...as('mcm:u-ro'), ['Impersonate-Extra-Mcm.dev%2Fother', 'x']]],
      ] as readonly [string, HeaderPair[]][])('cannot act as %s', async (_, headers) => {
        const answer = await asImpersonator('/api', { headers })
        expect(answer.status).toBe(403)
        expect(answer.body.message).toContain('impersonate')
      })

      it('mints no token of any service account, whoever it acts as', async () => {
        const everybody = [...listedNames().users, 'system:kube-controller-manager', 'system:admin']
        const headers = [[], ...everybody.map((user) => as(user))]
        const accounts = [
          'mcm-system/serviceaccounts/mcm-agent',
          'mcm-system/serviceaccounts/mcm-impersonator',
          'test/serviceaccounts/power',
        ]
        const answers: Promise<Answer>[] = []
        for (const account of accounts)
          for (const pairs of headers)
            answers.push(
              asImpersonator(`/api/v1/namespaces/${account}/token`, {
                method: 'POST',
                headers: pairs,
                body: TOKEN_REQUEST,
              }),
            )
        const statuses = (await Promise.all(answers)).map(({ status }) => status)
        expect(statuses).toEqual(statuses.map(() => 403))
      })

      it('acts as a listed user with the session extra, and the API server knows who it is', async () => {
        const answer = await asImpersonator('/apis/authentication.k8s.io/v1/selfsubjectreviews', {
          method: 'POST',
          headers: asUser('u-ro', ['watchers', 'unlisted']),
          body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
        })
        expect(answer.status).toBe(201)
        expect(answer.body.status.userInfo).toEqual({
          username: 'mcm:u-ro',
          groups: ['mcm:watchers', 'system:authenticated'],
          extra: { 'mcm.dev/session': ['session-1'] },
        })
      })
    })

    describe('presets', () => {
      const exec = { namespace: 'test', resource: 'pods', subresource: 'exec', name: 'p' }
      const rbac = 'rbac.authorization.k8s.io'
      const questions = {
        'list pods': { verb: 'list', resource: 'pods', namespace: 'test' },
        'list pods elsewhere': { verb: 'list', resource: 'pods', namespace: 'other' },
        'create deployments': {
          verb: 'create',
          group: 'apps',
          resource: 'deployments',
          namespace: 'test',
        },
        'get secrets': { verb: 'get', resource: 'secrets', namespace: 'test' },
        'get exec': { verb: 'get', ...exec },
        'create exec': { verb: 'create', ...exec },
        'patch nodes': { verb: 'patch', resource: 'nodes', name: 'n' },
        'get nodes/proxy': { verb: 'get', resource: 'nodes', subresource: 'proxy', name: 'n' },
        'create namespaces': { verb: 'create', resource: 'namespaces' },
        'create rolebindings': {
          verb: 'create',
          group: rbac,
          resource: 'rolebindings',
          namespace: 'test',
        },
        'escalate clusterroles': {
          verb: 'escalate',
          group: rbac,
          resource: 'clusterroles',
          name: 'x',
        },
        'bind clusterroles': { verb: 'bind', group: rbac, resource: 'clusterroles', name: 'x' },
        'impersonate users': { verb: 'impersonate', resource: 'users', name: 'mcm:bob' },
        'create a token': {
          verb: 'create',
          resource: 'serviceaccounts',
          subresource: 'token',
          name: 'power',
          namespace: 'test',
        },
      } as const
      type Question = keyof typeof questions
      const never: Question[] = ['get nodes/proxy', 'impersonate users', 'create a token']
      const read: Question[] = ['list pods']
      const work: Question[] = [
        ...read,
        'create deployments',
        'get secrets',
        'get exec',
        'create exec',
      ]
      const operate: Question[] = [
        ...work,
        'list pods elsewhere',
        'patch nodes',
        'create namespaces',
      ]
      const everything = (Object.keys(questions) as Question[]).filter((q) => !never.includes(q))

      it.each<[Preset, Question[]]>([
        ['admin', everything],
        ['ops', operate],
        ['dev', [...work, 'list pods elsewhere']],
        ['ro', [...read, 'list pods elsewhere']],
        ['ns-dev', work],
        ['ns-ro', read],
      ])('%s may do what it says and nothing more', async (preset, expected) => {
        const allowed: string[] = []
        for (const [question, attributes] of Object.entries(questions))
          if (await can(asUser(`u-${preset}`), attributes)) allowed.push(question)
        expect(allowed.sort()).toEqual([...expected].sort())
      })

      it('a group’s grant reaches its members through the group, and only through it', async () => {
        const listPods = questions['list pods']
        expect(await can(asUser('member', ['watchers']), listPods)).toBe(true)
        expect(await can(asUser('member', ['unlisted']), listPods)).toBe(false)
        expect(await can(asUser('member'), listPods)).toBe(false)
      })

      it('the owner who registered the cluster administrates it, and can add a name to the list', async () => {
        expect(await can(asUser('owner'), questions['bind clusterroles'])).toBe(true)
        const path = '/apis/rbac.authorization.k8s.io/v1/clusterroles/mcm-impersonator'
        const { body } = await asImpersonator(path, { headers: asUser('owner') })
        body.rules[0].resourceNames.push('mcm:newcomer')
        const updated = await asImpersonator(path, {
          method: 'PUT',
          headers: asUser('owner'),
          body,
        })
        expect(updated.status).toBe(200)
        // The API server's authorizer hears of it by a watch of its own.
        const asNewcomer = () => asImpersonator('/api', { headers: as('mcm:newcomer') })
        await expect.poll(asNewcomer, { timeout: 10_000 }).toMatchObject({ status: 200 })
      })

      it('ops and dev cannot add themselves to any role', async () => {
        for (const user of ['u-ops', 'u-dev']) {
          const body = bindingOf({ subject: { kind: 'user', name: user }, role: 'admin' }, PREFIX)
          const path = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings'
          const answer = await asImpersonator(path, { method: 'POST', headers: asUser(user), body })
          expect(answer.status).toBe(403)
        }
      })
    })

    describe('the agent’s token', () => {
      const secrets = '/api/v1/namespaces/mcm-system/secrets'
      const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'mcm-principal-x' } }

      it('keeps state in the Secrets of its own namespace, and deletes none', async () => {
        const created = await asAgent(secrets, { method: 'POST', body: secret })
        expect(created.status).toBe(201)
        expect((await asAgent(secrets)).status).toBe(200)
        expect((await asAgent(`${secrets}?watch=1&timeoutSeconds=1`)).status).toBe(200)
        const path = `${secrets}/mcm-principal-x`
        const updated = await asAgent(path, { method: 'PUT', body: created.body })
        expect(updated.status).toBe(200)
        expect((await asAgent(path, { method: 'DELETE' })).status).toBe(403)
        expect((await asAgent(secrets, { method: 'DELETE' })).status).toBe(403)
      })

      it.each([
        '/api/v1/secrets',
        '/api/v1/namespaces/test/secrets',
        '/api/v1/namespaces/kube-system/secrets',
        '/api/v1/namespaces/mcm-system/configmaps',
        '/api/v1/namespaces/mcm-system/pods',
        '/api/v1/namespaces/mcm-system/serviceaccounts',
        '/api/v1/nodes',
        '/apis/rbac.authorization.k8s.io/v1/clusterroles',
        '/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin',
        '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
      ])('does not open %s', async (path) => {
        expect((await asAgent(path)).status).toBe(403)
      })

      it.each([
        ['mcm-system/serviceaccounts/mcm-impersonator', 201],
        ['mcm-system/serviceaccounts/mcm-agent', 403],
        ['mcm-system/serviceaccounts/default', 403],
        ['test/serviceaccounts/power', 403],
      ])('asking for a token of %s is answered %i', async (account, status) => {
        const path = `/api/v1/namespaces/${account}/token`
        expect((await asAgent(path, { method: 'POST', body: TOKEN_REQUEST })).status).toBe(status)
      })

      it('speaks for nobody', async () => {
        for (const user of ['mcm:u-ro', 'system:serviceaccount:mcm-system:mcm-impersonator'])
          expect((await asAgent('/api', { headers: as(user) })).status).toBe(403)
      })

      it('reads and watches the list of names, and cannot write it', async () => {
        const roles = '/apis/rbac.authorization.k8s.io/v1/clusterroles'
        const selector = 'fieldSelector=metadata.name%3Dmcm-impersonator'
        const read = await asAgent(`${roles}/mcm-impersonator`)
        expect(read.status).toBe(200)
        expect((await asAgent(`${roles}?${selector}`)).status).toBe(200)
        expect((await asAgent(`${roles}?${selector}&watch=1&timeoutSeconds=1`)).status).toBe(200)
        const written = await asAgent(`${roles}/mcm-impersonator`, {
          method: 'PUT',
          body: read.body,
        })
        expect(written.status).toBe(403)
      })

      it('holds its own lease and no other', async () => {
        const leases = '/apis/coordination.k8s.io/v1/namespaces/mcm-system/leases'
        const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' }
        const made = await asAgent(leases, {
          method: 'POST',
          body: { ...lease, metadata: { name: 'mcm-agent' } },
        })
        expect(made.status).toBe(201)
        const kept = await asAgent(`${leases}/mcm-agent`, { method: 'PUT', body: made.body })
        expect(kept.status).toBe(200)
        expect((await asAgent(`${leases}/other`)).status).toBe(403)
        expect((await asAgent('/apis/coordination.k8s.io/v1/namespaces/test/leases')).status).toBe(
          403,
        )
      })
    })
  })
})
