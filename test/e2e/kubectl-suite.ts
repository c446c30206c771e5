import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kubectlPath } from '../cluster/kubectl.ts'
import type { KubernetesVersion } from '../cluster/kubernetes-version.ts'
import { LongRunning, runProgram } from './program.ts'
import { type ClusterAccess, type Person, Stage } from './stage.ts'

/** What the suite needs of a cluster, real or sandbox. */
export interface SuiteCluster extends ClusterAccess {
  /** Audit events at level Metadata, oldest first. */
  auditEvents(): Promise<
    readonly {
      readonly user: { readonly username: string }
      readonly impersonatedUser?:
        | { readonly username: string; readonly groups?: readonly string[] }
        | undefined
      readonly requestURI: string
    }[]
  >
  stop(): Promise<void>
}

export interface SuiteOptions {
  readonly title: string
  readonly start: () => Promise<SuiteCluster>
  readonly kubectl: KubernetesVersion
}

const CONFIG_MAP = (value: string) => `
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, namespace: default }
data: { colour: ${value} }
`

/** The same suite for every API server: what a person does with plain kubectl, in all three modes. */
export function kubectlSuite({ title, start, kubectl: version }: SuiteOptions): void {
  describe(title, () => {
    let cluster: SuiteCluster
    let stage: Stage
    let alice: Person
    let proxy: LongRunning
    const kubeconfigs = {} as Record<'exec' | 'static' | 'proxy', string>
    let scratch: string

    beforeAll(async () => {
      scratch = await mkdtemp(join(tmpdir(), 'mcm-test-suite-'))
      cluster = await start()
      stage = await Stage.open()
      alice = await stage.found('alice')
      await stage.addCluster(alice, 'idc-k8s', cluster)
      proxy = alice.start(['proxy'])
      await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
      for (const mode of ['exec', 'static', 'proxy'] as const)
        kubeconfigs[mode] = await alice.kubeconfig(mode)
    })

    afterAll(async () => {
      await proxy?.stop('SIGKILL')
      await stage?.close()
      await cluster?.stop()
      await rm(scratch, { recursive: true, force: true })
    })

    async function kubectl(
      mode: 'exec' | 'static' | 'proxy',
      args: readonly string[],
      input?: string,
    ) {
      return await runProgram(await kubectlPath(version), ['--context', 'mcm-idc-k8s', ...args], {
        env: {
          ...alice.env,
          KUBECONFIG: kubeconfigs[mode],
          PATH: `${stage.directory}:${process.env['PATH']}`,
        },
        ...(input === undefined ? {} : { input }),
      })
    }

    for (const mode of ['exec', 'static', 'proxy'] as const) {
      describe(`with a kubeconfig in ${mode} mode`, () => {
        test('get and list answer as the API server does', async () => {
          const list = await kubectl(mode, ['get', 'namespaces'])
          expect(list).toMatchObject({ exitCode: 0, stderr: '' })
          expect(list.stdout).toMatch(/^NAME\s+STATUS\s+AGE/)
          const one = await kubectl(mode, [
            'get',
            'namespace',
            'default',
            '-o',
            'jsonpath={.metadata.name}',
          ])
          expect(one).toMatchObject({ stdout: 'default', exitCode: 0 })
        })

        test('auth whoami names the person with the prefix of mcm', async () => {
          const { stdout } = await kubectl(mode, [
            'auth',
            'whoami',
            '-o',
            'jsonpath={.status.userInfo.username}',
          ])
          expect(stdout).toBe('mcm:alice')
        })

        test('auth can-i asks the API server', async () => {
          const { stdout, exitCode } = await kubectl(mode, ['auth', 'can-i', 'delete', 'nodes'])
          expect({ answer: stdout.trim(), exitCode }).toEqual({ answer: 'yes', exitCode: 0 })
        })

        test('apply, patch and delete change what is there', async () => {
          const created = await kubectl(mode, ['apply', '-f', '-'], CONFIG_MAP('red'))
          expect(created).toMatchObject({ stdout: 'configmap/settings created\n', exitCode: 0 })
          const changed = await kubectl(mode, ['apply', '-f', '-'], CONFIG_MAP('blue'))
          expect(changed.stdout).toBe('configmap/settings configured\n')
          const patched = await kubectl(mode, [
            'patch',
            'configmap',
            'settings',
            '-p',
            '{"data":{"size":"big"}}',
          ])
          expect(patched.stdout).toBe('configmap/settings patched\n')
          const data = await kubectl(mode, [
            'get',
            'configmap',
            'settings',
            '-o',
            'jsonpath={.data}',
          ])
          expect(JSON.parse(data.stdout)).toEqual({ colour: 'blue', size: 'big' })
          const deleted = await kubectl(mode, ['delete', 'configmap', 'settings'])
          expect(deleted.stdout).toContain('deleted')
        })

        test('a watch shows a change as it happens', async () => {
          await kubectl(mode, ['create', 'configmap', `before-${mode}`])
          const env = { ...alice.env, KUBECONFIG: kubeconfigs[mode] }
          const args = ['--context', 'mcm-idc-k8s', 'get', 'configmaps', '-w', '-o', 'name']
          const watch = new LongRunning(await kubectlPath(version), args, env)
          await watch.shows(new RegExp(`configmap/before-${mode}`), 10_000)
          await kubectl(mode, ['create', 'configmap', `seen-${mode}`])
          await watch.shows(new RegExp(`configmap/seen-${mode}`), 5_000)
          await watch.stop()
        })

        test('a missing thing is the NotFound of the API server', async () => {
          const { stderr, exitCode } = await kubectl(mode, ['get', 'configmap', 'nowhere'])
          expect({ stderr, exitCode }).toEqual({
            stderr: 'Error from server (NotFound): configmaps "nowhere" not found\n',
            exitCode: 1,
          })
        })
      })
    }

    test('the audit log of the API server names the person as impersonated user', async () => {
      await kubectl('exec', ['get', 'configmap', 'audited'])
      const events = await cluster.auditEvents()
      const event = events.find(({ requestURI }) => requestURI.includes('/configmaps/audited'))
      expect(event?.user.username).toBe('system:serviceaccount:mcm-system:mcm-impersonator')
      expect(event?.impersonatedUser?.username).toBe('mcm:alice')
    })

    test('what RBAC refuses, kubectl shows as the Forbidden of that person', async () => {
      const bob = await stage.join(alice, 'bob', [
        '--cluster',
        'idc-k8s',
        '--role',
        'ns-ro',
        '--namespace',
        'default',
      ])
      const path = join(scratch, 'bob')
      await bob.must(['kubeconfig', '--all', '--output', path])
      const result = await runProgram(
        await kubectlPath(version),
        ['get', 'secrets', '-n', 'kube-system'],
        {
          env: { ...bob.env, KUBECONFIG: path },
        },
      )
      expect(result).toMatchObject({
        exitCode: 1,
        stderr:
          'Error from server (Forbidden): secrets is forbidden: User "mcm:bob" cannot list resource "secrets" in API group "" in the namespace "kube-system"\n',
      })
    })

    test('a hub whose cluster has no agent says so in one sentence that kubectl prints', async () => {
      await stage.agents.get('idc-k8s/a')!.stop('SIGTERM')
      const { stderr, exitCode } = await kubectl('static', ['get', 'namespaces'])
      expect(stderr).toContain('no agent of this cluster is connected to the hub')
      expect(exitCode).toBe(1)
      await stage.startAgent('idc-k8s', cluster)
    })

    test('merging writes no key and no token into a kubeconfig in exec mode', async () => {
      await writeFile(join(scratch, 'mine'), 'apiVersion: v1\nkind: Config\n# mine\nclusters: []\n')
      await alice.must(['kubeconfig', 'idc-k8s', '--merge', '--kubeconfig', join(scratch, 'mine')])
      const { readFile } = await import('node:fs/promises')
      const text = await readFile(join(scratch, 'mine'), 'utf8')
      expect(text).toContain('# mine')
      expect(text).not.toMatch(/client-key|token|PRIVATE KEY/)
    })
  })
}
