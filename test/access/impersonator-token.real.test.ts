import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ceilingRole } from '../../src/access/ceiling.ts'
import { bindingOf } from '../../src/access/grant.ts'
import { type ImpersonationForm, impersonatorRole } from '../../src/access/impersonator.ts'
import { CORE_RESOURCES, presetCeiling } from '../../src/access/preset-ceiling.ts'
import { formOfRefusal } from '../../src/agent/impersonation-support.ts'
import type { HeaderPair } from '../../src/kube/impersonation.ts'
import type { KubernetesObject } from '../../src/kube/object.ts'
import { RBAC_GROUP } from '../../src/kube/rbac.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { type Ask, ask } from './api-server-client.ts'
import { as, install, manifestFor, PREFIX, TOKEN_REQUEST, tokenOf } from './stage.ts'

/**
 * What somebody has who stole the impersonator's token, in both forms of impersonation. Alice is cluster-admin
 * and listed: what the token cannot do as her it can do as nobody.
 */

const ROLES = `/apis/${RBAC_GROUP}/v1/clusterroles`
const LISTED = { users: ['mcm:alice', 'mcm:bob'], groups: ['mcm:watchers'] }

const ATTEMPTS: readonly [string, HeaderPair[]][] = [
  ['nobody at all', []],
  ['nobody, with a group', [['Impersonate-Group', 'system:masters']]],
  ['an empty user', [['Impersonate-User', '']]],
  ['system:masters', as('system:masters')],
  ['a listed user with system:masters', as('mcm:alice', 'system:masters')],
  ['a listed user with an unlisted group', as('mcm:bob', 'mcm:admins')],
  ['a listed user with an empty group', as('mcm:alice', '')],
  ['a listed user with another listed user’s name as group', as('mcm:bob', 'mcm:alice')],
  ['a listed group’s name', as('mcm:watchers')],
  ['a bare name', as('alice')],
  ['a name in other letters', as('mcm:ALICE')],
  ['an unlisted user', as('mcm:mallory')],
  ['the controller manager', as('system:kube-controller-manager')],
  ['the scheduler', as('system:kube-scheduler')],
  ['the administrator of old', as('system:admin')],
  ['the API server', as('system:apiserver')],
  ['anonymous', as('system:anonymous')],
  ['anonymous, unauthenticated', as('system:anonymous', 'system:unauthenticated')],
  ['a node', as('system:node:node-1')],
  ['a node with its group', as('system:node:node-1', 'system:nodes')],
  ['a service account', as('system:serviceaccount:kube-system:clusterrole-aggregation-controller')],
  ['the agent', as('system:serviceaccount:mcm-system:mcm-agent')],
  ['itself', as('system:serviceaccount:mcm-system:mcm-impersonator')],
  ['a listed user with a uid', [...as('mcm:alice'), ['Impersonate-Uid', '1']]],
  ['a listed user with an extra', [...as('mcm:alice'), ['Impersonate-Extra-Scopes', 'all']]],
  [
    'a listed user with a node’s extra',
    [...as('mcm:alice'), ['Impersonate-Extra-Authentication.kubernetes.io%2Fnode-name', 'node-1']],
  ],
]

const OPENED_BY_EVERYBODY = 200
/** 500 is how 1.33 refuses a group without a user. */
const REFUSED = [400, 403, 500]

/** The authorizer hears of a role by a watch of its own; what it has allowed it keeps for ten seconds. */
async function until(probe: () => Promise<{ status: number }>, status: number): Promise<void> {
  const seen = async () => expect((await probe()).status).toBe(status)
  await vi.waitFor(seen, { timeout: 30_000, interval: 50 })
}

describe.each(['1.36.3', '1.33.13'] as const)('the impersonator’s token on %s', async (version) => {
  const skip = skipLoudly(
    `the impersonator’s token on ${version}`,
    await apiServerIsPossible(version),
  )
  const native: ImpersonationForm = version === '1.36.3' ? 'constrained' : 'legacy'

  describe.skipIf(skip)('stolen', () => {
    let server: ApiServer
    let impersonator: { token: string }
    let agent: { token: string }

    beforeAll(async () => {
      server = await startApiServer({ version })
      const anything = { subject: { kind: 'user', name: 'alice' }, role: 'cluster-admin' } as const
      await install(server, [
        ...manifestFor({ owner: 'alice', listed: LISTED }),
        bindingOf(anything, PREFIX),
        {
          apiVersion: 'v1',
          kind: 'ServiceAccount',
          metadata: { name: 'power', namespace: 'default' },
        },
        { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'it', namespace: 'default' } },
      ])
      impersonator = await tokenOf(server, 'mcm-impersonator')
      agent = await tokenOf(server, 'mcm-agent')
    })
    afterAll(() => server?.stop())

    const steal = (path: string, headers: readonly HeaderPair[], asked: Ask = {}) =>
      ask(server, impersonator, path, { ...asked, headers })
    async function put(role: KubernetesObject): Promise<void> {
      const path = `${ROLES}/${role.metadata.name}`
      expect((await ask(server, server.admin, path, { method: 'PUT', body: role })).status).toBe(
        200,
      )
    }
    async function inForce(
      form: ImpersonationForm,
      probe: () => Promise<{ status: number }>,
      status: number,
    ) {
      await put(impersonatorRole(LISTED, form))
      await until(probe, status)
    }
    const bobsVersion = () => steal('/version', as('mcm:bob'))

    it('the API server says which form of impersonation it has, to whoever may impersonate nobody', async () => {
      const headers = as('mcm-probe')
      const refused = await ask(server, agent, '/api', { headers })
      expect(refused.status).toBe(403)
      expect(formOfRefusal(refused.body.message)).toBe(native)
    })

    describe.each([...new Set(['legacy', native] as const)])(
      'with a list in the %s form',
      (form) => {
        beforeAll(() => inForce(form, bobsVersion, OPENED_BY_EVERYBODY))

        it.each(ATTEMPTS)('opens nothing as %s', async (what, headers) => {
          const targets = [
            '/api/v1/namespaces/default/secrets/it',
            '/api/v1/namespaces/kube-system/secrets',
            '/api/v1/nodes',
            '/metrics',
          ]
          for (const target of targets) {
            const { status } = await steal(target, headers)
            expect(REFUSED, `${what} at ${target}`).toContain(status)
          }
        })

        it('makes no token of any service account as somebody listed of lesser power', async () => {
          const path = '/api/v1/namespaces/default/serviceaccounts/power/token'
          for (const [what, headers] of ATTEMPTS) {
            const made = await steal(path, headers, { method: 'POST', body: TOKEN_REQUEST })
            expect(REFUSED, what).toContain(made.status)
          }
          const asBob = await steal(path, as('mcm:bob'), { method: 'POST', body: TOKEN_REQUEST })
          expect(asBob.status).toBe(403)
        })

        it('acts as somebody listed, with the session extra', async () => {
          const headers: HeaderPair[] = [
            ...as('mcm:alice', 'mcm:watchers'),
            ['Impersonate-Extra-Mcm.dev%2Fsession', 's-1'],
          ]
          expect((await steal('/api/v1/namespaces/default/secrets/it', headers)).status).toBe(200)
        })
      },
    )

    it.runIf(version === '1.33.13')(
      'a list in the constrained form is a list of nobody where the API server does not have it',
      async () => {
        await inForce('constrained', bobsVersion, 403)
        const { status, body } = await steal('/api/v1/nodes', as('mcm:alice'))
        expect(status).toBe(403)
        expect(formOfRefusal(body.message)).toBe('legacy')
      },
    )

    describe.runIf(version === '1.36.3')('with a list in the constrained form', () => {
      const asAlice = as('mcm:alice')
      const core = '/api/v1/namespaces/default'

      async function below(names: Parameters<typeof presetCeiling>[0]): Promise<void> {
        await inForce('constrained', bobsVersion, OPENED_BY_EVERYBODY)
        await put(ceilingRole(presetCeiling(names)))
        const allows = names.includes('no-secrets') ? 403 : 200
        const probe = () => steal(`${core}/secrets/it`, asAlice)
        await until(probe, allows)
        const writes = () =>
          steal(`${core}/configmaps/none`, asAlice, { method: 'PATCH', body: {} })
        const refused = names.includes('read-only') ? 403 : 415
        await until(writes, refused)
      }

      it('nobody makes a token of a service account, not even whoever may do anything', async () => {
        await below([])
        const paths = ['power', 'power/', '/power', 'mcm-agent'].map(
          (name) => `${core}/serviceaccounts/${name}/token`,
        )
        for (const path of [
          ...paths,
          '/api/v1/namespaces/mcm-system/serviceaccounts/mcm-agent/token',
        ]) {
          const made = await steal(path, asAlice, { method: 'POST', body: TOKEN_REQUEST })
          expect([403, 404, 405], path).toContain(made.status)
          expect(JSON.stringify(made.body), path).not.toContain('"token"')
        }
      })

      it('everything else is as ever: what is made without a name, custom groups, exec, reviews', async () => {
        await below([])
        const made = await steal(`${core}/configmaps`, asAlice, {
          method: 'POST',
          body: { metadata: { generateName: 'x-' } },
        })
        expect(made.status).toBe(201)
        const unknownGroup = '/apis/not.installed.example.com/v1/namespaces/default/things'
        expect((await steal(unknownGroup, asAlice, { method: 'POST', body: {} })).status).toBe(404)
        // There is no such pod: the API server was let past authorization.
        expect((await steal(`${core}/pods/none/exec?command=sh`, asAlice)).status).toBe(404)
        const post = { method: 'POST', body: {} }
        expect((await steal(`${core}/pods/none/exec?command=sh`, asAlice, post)).status).toBe(404)
        expect((await steal(`${core}/pods/none/eviction`, asAlice, post)).status).toBeOneOf([
          400, 404,
        ])
      })

      it.each([
        [
          'read-only',
          ['GET secrets/it 200', 'GET pods/none 404', 'GET pods/none/exec?command=sh 403'],
          [
            'POST configmaps 403',
            'DELETE secrets/it 403',
            'DELETE configmaps 403',
            'POST pods/none/exec 403',
          ],
        ],
        [
          'no-exec',
          [
            'GET secrets/it 200',
            'GET pods/none 404',
            'GET pods/none/log 404',
            'DELETE configmaps/none 404',
          ],
          [
            'GET pods/none/exec?command=sh 403',
            'POST pods/none/exec 403',
            'GET pods/none/attach 403',
            'GET pods/none/portforward 403',
            'POST pods/none/portforward 403',
            'GET pods/none/proxy/x 403',
            'GET services/none/proxy/x 403',
            'PATCH pods/none/ephemeralcontainers 403',
          ],
        ],
        [
          'no-secrets',
          ['GET configmaps 200', 'GET pods/none/exec?command=sh 404'],
          [
            'GET secrets 403',
            'GET secrets/it 403',
            'GET secrets?watch=1 403',
            'POST secrets 403',
            'DELETE secrets 403',
          ],
        ],
      ] as const)(
        'the API server holds the ceiling %s by itself',
        async (name, allowed, refused) => {
          await below([name])
          for (const line of [...allowed, ...refused]) {
            const [method, path] = line.split(' ') as [string, string]
            const body = method === 'POST' || method === 'PATCH' ? { body: { metadata: {} } } : {}
            const seen = async () => {
              const answer = await steal(`${core}/${path}`, asAlice, { method, ...body })
              expect(`${method} ${path} ${answer.status}`).toBe(line)
            }
            await vi.waitFor(seen, { timeout: 30_000, interval: 200 })
          }
          const nodes = await steal('/api/v1/nodes/none/proxy/pods', asAlice)
          expect(nodes.status).toBe(403)
          const review = {
            apiVersion: 'authorization.k8s.io/v1',
            kind: 'SelfSubjectAccessReview',
            spec: { resourceAttributes: { verb: 'get', resource: 'pods' } },
          }
          const reviews = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
          expect((await steal(reviews, asAlice, { method: 'POST', body: review })).status).toBe(201)
        },
      )
    })

    it('the core group has no resource that a ceiling with a name would not know', async () => {
      const { body } = await ask(server, server.admin, '/api/v1')
      const served = body.resources.map(({ name }: { name: string }) => name)
      expect(served.filter((name: string) => !CORE_RESOURCES.includes(name as never))).toEqual([])
    })
  })
})

describe('an API server that could have constrained impersonation, and has not', async () => {
  const version = '1.36.3'
  const skip = skipLoudly('a feature gate that is off', await apiServerIsPossible(version))

  it.skipIf(skip)('says so, whatever its version is', { timeout: 120_000 }, async () => {
    const flags = ['--feature-gates=ConstrainedImpersonation=false']
    const server = await startApiServer({ version, flags })
    try {
      const stranger = await server.clientCertificate('stranger')
      const refused = await ask(server, stranger, '/api', { headers: as('mcm-probe') })
      expect(refused.status).toBe(403)
      expect(formOfRefusal(refused.body.message)).toBe('legacy')
    } finally {
      await server.stop()
    }
  })
})
