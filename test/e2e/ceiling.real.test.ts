import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { impersonatorRole } from '../../src/access/impersonator.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { runKubectl } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { type Person, Stage } from './stage.ts'

/** The owner may do anything by RBAC: what they cannot do through mcm is the ceiling's doing. */
describe.each(['1.36.3', '1.33.13'] as const)('a ceiling on Kubernetes %s', async (version) => {
  const skip = skipLoudly(`a ceiling on ${version}`, await apiServerIsPossible(version))
  const isConstrained = version === '1.36.3'

  describe.skipIf(skip)('through mcm', () => {
    let cluster: ApiServer
    let stage: Stage
    let alice: Person

    beforeAll(async () => {
      cluster = await startApiServer({ version })
      stage = await Stage.open()
      alice = await stage.found('alice')
      await stage.addCluster(alice, 'idc-k8s', cluster, ['--ceiling', 'no-exec'])
      await asAdmin(
        'create',
        'clusterrolebinding',
        'all',
        '--clusterrole=cluster-admin',
        '--user=mcm:alice',
      )
      await asAdmin('create', 'secret', 'generic', 'it', '--from-literal=a=b')
      await asAdmin('create', 'serviceaccount', 'robot')
    })
    afterAll(async () => {
      await stage?.close()
      await cluster?.stop()
    })

    async function asAdmin(...args: string[]): Promise<string> {
      const { adminKubeconfig: kubeconfig } = cluster
      const done = await runKubectl(version, args, { kubeconfig })
      if (done.exitCode !== 0) throw new Error(`kubectl ${args.join(' ')}: ${done.stderr}`)
      return done.stdout
    }
    async function kubectl(...args: string[]) {
      const kubeconfig = await alice.kubeconfig('static')
      return runKubectl(version, args, { kubeconfig })
    }
    const set = (ceiling: string, ...more: string[]) =>
      alice.must([
        ...['clusters', 'ceiling', 'idc-k8s', '--set', ceiling],
        ...['--apply', '--kubeconfig', cluster.adminKubeconfig, ...more],
      ])
    const shown = async () =>
      JSON.parse(await alice.must(['clusters', 'show', 'idc-k8s', '--json']))
    const refused = (name: string) =>
      `is above the ceiling ${name}, which the owner of this cluster has set`

    test('clusters show says which ceiling it is, and who enforces it', async () => {
      const form = isConstrained ? 'constrained' : 'legacy'
      expect((await shown()).protection).toMatchObject({
        ceiling: 'no-exec',
        impersonation: { list: form, server: form, isUnrestricted: false },
      })
      const text = await alice.must(['clusters', 'show', 'idc-k8s'])
      expect(text).toContain(
        isConstrained
          ? 'the API server, and the agent before it'
          : 'the agent; the API server has no constrained impersonation',
      )
    })

    test('kubectl is told the ceiling, by every way into a container, and the rest works', async () => {
      for (const args of [
        ['exec', 'web', '--', 'sh'],
        ['port-forward', 'web', '8080'],
        ['get', '--raw', '/api/v1/namespaces/default/pods/web/proxy/'],
        ['get', '--raw', '/api/v1/namespaces/default/services/web/proxy/'],
        ['get', '--raw', '/api/v1/nodes/n/proxy/pods'],
        ['get', '--raw', '/api/v1/namespaces/default/pods/web/exec?command=sh'],
        ['get', '--raw', '/api/v1/watch/namespaces/default/pods/web/exec'],
      ]) {
        const { stderr, exitCode } = await kubectl(...args)
        // kubectl looks at the pod before it goes into it.
        const isNoPod = stderr.includes('pods "web" not found')
        if (!isNoPod) expect(stderr, args.join(' ')).toContain(refused('no-exec'))
        expect(exitCode).toBe(1)
      }
      expect((await kubectl('get', 'secret', 'it')).exitCode).toBe(0)
      expect((await kubectl('create', 'configmap', 'made')).exitCode).toBe(0)
      expect((await kubectl('auth', 'can-i', 'create', 'pods/exec')).stdout).toContain('yes')
    })

    test('service account tokens are not made through mcm, whatever one may do', async () => {
      const { stderr, stdout } = await kubectl('create', 'token', 'robot')
      expect(stdout).toBe('')
      expect(stderr).toContain('create serviceaccounts/token "robot"')
    })

    test('nobody changes the ceiling from below it', async () => {
      const patch = ['patch', 'clusterrole', 'mcm-ceiling', '--type=merge', '-p', '{"rules":[]}']
      for (const args of [
        patch,
        ['delete', 'clusterrole', 'mcm-ceiling'],
        ['delete', 'clusterrolebinding', 'mcm-ceiling'],
      ])
        expect((await kubectl(...args)).stderr).toContain('is not changed from below it')
      expect(await asAdmin('get', 'clusterrole', 'mcm-ceiling', '-o', 'name')).toContain(
        'mcm-ceiling',
      )
    })

    test('the owner changes it with direct access, and it holds at once', async () => {
      await set('no-secrets')
      await expect
        .poll(async () => (await kubectl('get', 'secrets')).stderr)
        .toContain(refused('no-secrets'))
      expect((await kubectl('get', 'secret', 'it')).stderr).toContain(refused('no-secrets'))
      await set('read-only')
      await expect
        .poll(async () => (await kubectl('create', 'configmap', 'more')).stderr)
        .toContain(refused('read-only'))
      expect((await kubectl('get', 'secret', 'it')).exitCode).toBe(0)
      expect((await kubectl('get', 'pods')).exitCode).toBe(0)
    })

    test('rules of one’s own are taken from a file, and a file that would mint tokens is refused', async () => {
      const path = join(stage.directory, 'pods-only.yaml')
      await writeFile(path, 'rules:\n- {apiGroups: [""], resources: [pods], verbs: [list]}\n')
      await set(path)
      await expect
        .poll(async () => (await kubectl('get', 'configmaps')).stderr)
        .toContain(refused('pods-only'))
      expect((await kubectl('get', 'pods', '--raw', '/api/v1/pods')).exitCode).not.toBe(0)
      expect((await kubectl('get', '--raw', '/api/v1/pods')).exitCode).toBe(0)
      await writeFile(
        path,
        'rules:\n- {apiGroups: [""], resources: ["serviceaccounts/token"], verbs: ["*"]}\n',
      )
      const wrong = await alice.mcm(['clusters', 'ceiling', 'idc-k8s', '--set', path, '--apply'])
      expect(wrong.stderr).toContain('would make service account tokens')
    })

    test('a cluster without a ceiling lets nobody do anything, and its owner puts it back', async () => {
      await asAdmin('delete', 'clusterrole', 'mcm-ceiling')
      await expect
        .poll(async () => (await kubectl('get', '--raw', '/api/v1/pods')).stderr)
        .toContain('has no ClusterRole mcm-ceiling')
      await set('none')
      await expect.poll(async () => (await kubectl('get', 'secrets')).exitCode).toBe(0)
      expect((await shown()).protection.ceiling).toBe('none')
    })

    test('another cluster’s context is refused', async () => {
      const id = Buffer.from('c-bbbbbbbbbb').toString('base64')
      const secret = ['secret', 'mcm-agent', '-n', 'mcm-system']
      const was = await asAdmin('get', ...secret, '-o', 'jsonpath={.data.cluster}')
      const patch = (value: string) =>
        asAdmin(
          'patch',
          ...secret,
          '--type=merge',
          '-p',
          JSON.stringify({ data: { cluster: value } }),
        )
      await patch(id)
      const wrong = await alice.mcm([
        ...['clusters', 'ceiling', 'idc-k8s', '--set', 'none'],
        ...['--apply', '--kubeconfig', cluster.adminKubeconfig],
      ])
      await patch(was)
      expect(wrong.stderr).toContain('this context leads to cluster c-bbbbbbbbbb, not to idc-k8s')
    })

    test('a list in the other form is seen, and put right by setting the ceiling again', async () => {
      const names = { users: ['mcm:alice'], groups: [] }
      const other = isConstrained ? 'legacy' : 'constrained'
      const rules = JSON.stringify({ rules: impersonatorRole(names, other).rules })
      await asAdmin('patch', 'clusterrole', 'mcm-impersonator', '--type=merge', '-p', rules)
      await expect.poll(async () => (await shown()).protection.impersonation.list).toBe(other)
      const text = await alice.must(['clusters', 'show', 'idc-k8s'])
      expect(text).toContain(
        isConstrained
          ? 'the agent; the API server could, too'
          : 'nobody gets in: the list of names',
      )
      expect(text).toContain('mcm clusters ceiling idc-k8s --set CEILING --apply')
      const works = async () => (await kubectl('get', 'secrets')).exitCode
      // What the API server does not know opens nothing; what it still knows goes on.
      await expect.poll(works).toBe(isConstrained ? 0 : 1)
      await set('none')
      // The agent's word alone takes no wall away.
      if (!isConstrained) {
        expect((await shown()).protection.impersonation.list).toBe('constrained')
        await set('none', '--legacy')
      }
      await expect.poll(works).toBe(0)
      const { list, server } = (await shown()).protection.impersonation
      expect(list).toBe(server)
    })

    test.runIf(isConstrained)('a grant leaves no legacy verb in the list', async () => {
      await alice.must(['grant', 'people', '--group', '--role', 'ro', '--cluster', 'idc-k8s'])
      const after = await asAdmin('get', 'clusterrole', 'mcm-impersonator', '-o', 'json')
      expect(after).toContain('mcm:people')
      expect(JSON.stringify(JSON.parse(after).rules)).not.toContain('"impersonate"')
    })
  })
})
