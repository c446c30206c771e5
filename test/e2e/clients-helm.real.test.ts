import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { goClientIsPossible, goClientPath } from '../clients/go-programs.ts'
import { skipUnlessRequired } from '../clients/required.ts'
import { apiServerIsPossible } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { type ClientsStage, openClientsStage, REAL, SANDBOX } from './clients-stage.ts'
import { runProgram } from './program.ts'
import { MCM_WAYS, type McmWay, type Ways } from './ways.ts'

const CHART = join(import.meta.dirname, 'fixtures', 'helm-chart')
const HELM_TIMEOUT_MS = 90_000

/** Carol may act as bob; dave may not. */
const CAROL_MAY_BE_BOB = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: may-be-bob }
rules:
  - { apiGroups: [''], resources: [users], resourceNames: ['mcm:bob'], verbs: [impersonate] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: may-be-bob }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: may-be-bob }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: 'mcm:carol' }]
`

const HELMS = ['helm-4', 'helm-3'] as const
const noServer = skipLoudly('helm through mcm', await apiServerIsPossible('1.36.3'))

describe.skipIf(noServer)('helm, with a kubeconfig of mcm', () => {
  let clients: ClientsStage
  let bob: Ways
  let carol: Ways
  let dave: Ways

  beforeAll(async () => {
    clients = await openClientsStage()
    const inDefault = (role: string) => ['--role', role, '--namespace', 'default']
    bob = await clients.join('bob', inDefault('ns-dev'))
    carol = await clients.join('carol', inDefault('ns-ro'))
    dave = await clients.join('dave', inDefault('ns-ro'))
    await clients.asAdmin(['apply', '-f', '-'], CAROL_MAY_BE_BOB)
  })
  afterAll(() => clients?.close())

  describe.each(HELMS)('%s', async (client) => {
    const isPossible = await goClientIsPossible(client)
    const skip = noServer || skipUnlessRequired(`${client} through mcm`, isPossible)

    const helm = async (ways: Ways, way: McmWay, args: readonly string[], context = REAL) =>
      runProgram(await goClientPath(client), ['--kube-context', context, ...args], {
        env: ways.env(way),
        timeoutMs: HELM_TIMEOUT_MS,
      })
    const must = async (way: McmWay, args: readonly string[]) => {
      const { stdout, stderr, exitCode } = await helm(clients.ways, way, args)
      if (exitCode !== 0) throw new Error(`helm ${args.join(' ')} exited ${exitCode}: ${stderr}`)
      return stdout
    }

    test.skipIf(skip).each(MCM_WAYS)(
      'lives through the whole life of a release, in %s mode',
      async (way) => {
        const place = ['--namespace', `${client}-${way}`]
        const data = async () => {
          const args = ['get', 'configmap', 'paint', ...place, '-o', 'jsonpath={.data}']
          return JSON.parse(await clients.asAdmin(args))
        }
        const releases = async () => JSON.parse(await must(way, ['list', ...place, '-o', 'json']))

        await must(way, ['install', 'paint', CHART, ...place, '--create-namespace', '--wait'])
        expect(await data()).toEqual({ colour: 'red', namespace: 'default' })
        await must(way, ['upgrade', 'paint', CHART, ...place, '--wait', '--set', 'colour=blue'])
        expect(await data()).toMatchObject({ colour: 'blue' })
        expect(await releases()).toMatchObject([
          { name: 'paint', revision: '2', status: 'deployed' },
        ])
        expect(await must(way, ['get', 'manifest', 'paint', ...place])).toContain('colour: blue')
        await must(way, ['rollback', 'paint', '1', ...place, '--wait'])
        expect(await data()).toMatchObject({ colour: 'red' })
        const history = JSON.parse(await must(way, ['history', 'paint', ...place, '-o', 'json']))
        expect(history).toMatchObject([{ revision: 1 }, { revision: 2 }, { revision: 3 }])
        await must(way, ['uninstall', 'paint', ...place, '--wait'])
        expect(await releases()).toEqual([])
        const left = [
          'get',
          'configmap,secret,role,rolebinding,serviceaccount',
          ...place,
          '-o',
          'name',
        ]
        expect(
          await clients.asAdmin([...left, '--field-selector=metadata.name!=kube-root-ca.crt']),
        ).toBe('')
      },
    )

    test.skipIf(skip)('is that person to the API server', async () => {
      const place = ['--namespace', 'default']
      const before = (await clients.apiServer.auditEvents()).length
      await must('exec', ['install', 'audited', CHART, ...place])
      const events = (await clients.apiServer.auditEvents()).slice(before)
      const isOfRelease = /^\/api\/v1\/namespaces\/default\/(secrets|configmaps)\b/
      const made = events.filter(
        ({ verb, requestURI }) => /^(create|patch)$/.test(verb) && isOfRelease.test(requestURI),
      )
      expect(made.length).toBeGreaterThan(1)
      const names = new Set(made.map(({ impersonatedUser }) => impersonatedUser?.username))
      expect([...names]).toEqual(['mcm:alice'])
      await must('exec', ['uninstall', 'audited', ...place])
    })

    test.skipIf(skip).each(MCM_WAYS)('is shown what RBAC refuses, in %s mode', async (way) => {
      const release = `${client}-${way}`
      const refused = await helm(bob, way, ['install', release, CHART])
      expect(refused.exitCode).toBe(1)
      expect(refused.stderr).toMatch(/forbidden: User "mcm:bob" cannot \w+ resource "roles"/)
      await helm(bob, way, ['uninstall', release])
      const plain = ['--set', 'rbac=false', '--wait']
      const installed = await helm(bob, way, ['upgrade', '--install', release, CHART, ...plain])
      expect(installed).toMatchObject({ exitCode: 0 })
      const listed = await helm(carol, way, ['list'])
      expect(listed.exitCode).toBe(1)
      expect(listed.stderr).toContain('User "mcm:carol" cannot list resource "secrets"')
    })

    test.skipIf(skip).each(MCM_WAYS)(
      '--kube-as-user is decided as kubectl --as, in %s mode',
      async (way) => {
        const list = ['list', '-o', 'json', '--kube-as-user']
        const allowed = await helm(carol, way, [...list, 'mcm:bob'])
        expect(allowed).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^\[/) })
        const refused = await helm(dave, way, [...list, 'mcm:bob'])
        expect(refused.exitCode).toBe(1)
        expect(refused.stderr).toContain('you may not impersonate mcm:bob')
        const reserved = await helm(clients.ways, way, [...list, 'system:admin'])
        expect(reserved.exitCode).toBe(1)
        expect(reserved.stderr).toMatch(/"system:admin\\?" is Kubernetes' own/)
      },
    )

    test.skipIf(skip)('--kube-context chooses the cluster', async () => {
      const place = ['--namespace', 'default', '--set', 'rbac=false']
      const release = `${client}-on-edge`
      const args = ['install', release, CHART, ...place]
      expect(await helm(clients.ways, 'static', args, SANDBOX)).toMatchObject({ exitCode: 0 })
      const list = ['list', '--filter', release, '-o', 'json']
      const listed = await helm(clients.ways, 'exec', list, SANDBOX)
      expect(JSON.parse(listed.stdout)).toMatchObject([{ name: release }])
      expect(await must('exec', list)).toBe('[]\n')
    })

    test.skipIf(skip)('a cluster that is not there for this person is one sentence', async () => {
      const { stderr, exitCode } = await helm(bob, 'exec', ['list'], SANDBOX)
      expect(exitCode).toBe(1)
      expect(stderr).toContain('context "mcm-edge" does not exist')
    })
  })
})
