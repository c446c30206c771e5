import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RealProvider } from '../client/real-provider.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { runKubectl } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { confirmCode, endLogin, setProvider, withBrowser } from './oidc-stage.ts'
import { type Person, Stage } from './stage.ts'

/**
 * People of a real identity provider whom nobody names beforehand, on real API servers: a group's grant and the
 * fence let them in, and the agent's own account can change nothing else. In order: one login's life.
 */
describe.each(['1.36.3', '1.33.13'] as const)('OIDC on Kubernetes %s', async (version) => {
  const skip = skipLoudly(`OIDC on ${version}`, await apiServerIsPossible(version))

  describe.skipIf(skip)('with people named by nobody', () => {
    let server: ApiServer
    let stage: Stage
    let provider: RealProvider
    let alice: Person
    let link: string

    beforeAll(async () => {
      ;[server, stage, provider] = await Promise.all([
        startApiServer({ version }),
        Stage.open(),
        RealProvider.start(),
      ])
      alice = await stage.found('alice')
      await stage.addCluster(alice, 'prod', server)
      link = await setProvider(stage, alice, provider, ['developers=dev', 'operators=ops'])
      await alice.must(['grant', 'dev', '--group', '--role', 'ro', '--cluster', 'prod'])
    }, 240_000)
    afterAll(async () => {
      await stage?.close()
      await Promise.all([server?.stop(), provider?.stop()])
    })

    const is = (name: string, groups: readonly string[] = ['developers']) => {
      provider.account = { email: `${name}@example.com`, email_verified: true, groups }
    }
    const asAdmin = (...args: string[]) =>
      runKubectl(version, args, { kubeconfig: server.adminKubeconfig })
    async function kubectl(person: Person, args: readonly string[], env = {}) {
      const kubeconfig = join(person.home, 'kubeconfig')
      return runKubectl(version, args, { kubeconfig, env: { ...person.env, ...env } })
    }
    const namespaces = (person: Person, env = {}) =>
      kubectl(person, ['get', 'namespaces', '-o', 'name'], env)
    const mergeInto = (person: Person) =>
      person.must(['kubeconfig', '--all', '--output', join(person.home, 'kubeconfig')])
    const listed = async () => {
      const { stdout } = await asAdmin('get', 'clusterrole', 'mcm-impersonator', '-o', 'json')
      return JSON.stringify(JSON.parse(stdout).rules)
    }

    test('without the fence somebody of the right group is told what is missing', async () => {
      is('early')
      const { person, env } = await withBrowser(stage, 'early')
      const login = await person.mcm(['login', '--oidc', link], { env })
      expect(`${login.stdout}${login.stderr}`).toContain('mcm clusters fence')
      expect(await listed()).not.toContain('early@')
    }, 120_000)

    test('behind the fence they log in in the browser and use plain kubectl, as themselves', async () => {
      const applied = ['clusters', 'fence', 'prod', '--apply']
      await alice.must([...applied, '--kubeconfig', server.adminKubeconfig])
      is('ann')
      const { person, windows, env } = await withBrowser(stage, 'ann')
      await person.must(['login', '--oidc', link], { env })
      expect(await windows()).toBe(1)
      await mergeInto(person)
      // The agent remembers for some seconds that it had no right to add names.
      await expect
        .poll(async () => (await namespaces(person)).stdout, { timeout: 60_000 })
        .toContain('namespace/default')
      expect(await listed()).toContain('mcm:ann@example.com')
      const seen = (await server.auditEvents()).find(
        ({ impersonatedUser }) => impersonatedUser?.username === 'mcm:ann@example.com',
      )
      expect(seen?.impersonatedUser?.groups).toContain('mcm:dev')
      const denied = await kubectl(person, ['create', 'namespace', 'mine'])
      expect(denied.stderr).toContain('Forbidden')
    }, 180_000)

    test('a machine without a browser logs in by a code, as another person of the group', async () => {
      is('ben')
      const ben = stage.person('ben')
      const login = ben.start(['login', '--oidc', link, '--device-code'])
      const [, uri = ''] = await login.shows(/to log in open (\S+) on any device/)
      await confirmCode(new URL(uri))
      expect(await login.ended, login.stderr).toBe(0)
      await mergeInto(ben)
      expect((await namespaces(ben)).stdout).toContain('namespace/default')
    }, 180_000)

    test('groups that no mapping names give nothing, whatever they are called', async () => {
      is('eve', ['system:masters', 'dev', 'mcm:dev', 'marketing'])
      const { person, env } = await withBrowser(stage, 'eve')
      await person.mcm(['login', '--oidc', link], { env })
      const who = JSON.parse(await person.must(['whoami', '--json']))
      expect(who).toMatchObject({ user: 'eve@example.com', groups: [], clusters: [] })
      expect(await listed()).not.toContain('eve@')
    }, 120_000)

    test.each(['developers=system:masters', 'developers=kube:admin', 'developers=mcm:dev'])(
      'an administrator cannot map to a reserved name: %s',
      async (group) => {
        const where = ['--issuer', 'https://id.example.net', '--domain', 'example.net']
        const set = await alice.mcm([
          'oidc',
          'set',
          'other',
          ...where,
          '--client-id',
          'mcm',
          '--group',
          group,
        ])
        expect(set.exitCode).not.toBe(0)
        expect(await alice.must(['oidc'])).not.toContain('example.net')
      },
      60_000,
    )

    test.each(['system:masters', 'a b', 'root@elsewhere.example.org'])(
      'a provider cannot name somebody %j',
      async (address) => {
        provider.account = { email: address, email_verified: true, groups: ['developers'] }
        const { person, env } = await withBrowser(stage, `named-${address.length}`)
        const login = await person.mcm(['login', '--oidc', link], { env })
        expect(login.exitCode).not.toBe(0)
        expect(login.stderr).toContain('is no name under @example.com')
      },
      120_000,
    )

    test('the account of the agent adds names with the prefix, and can do nothing else', async () => {
      const made = await asAdmin('create', 'token', 'mcm-agent', '-n', 'mcm-system')
      const token = made.stdout.trim()
      const empty = join(stage.directory, 'no-kubeconfig')
      const asAgent = (...args: string[]) =>
        runKubectl(
          version,
          [
            ...['--server', server.url, '--token', token],
            ...['--certificate-authority', join(server.directory, 'ca.crt'), ...args],
          ],
          { kubeconfig: empty },
        )
      const before = await listed()
      const add = (name: string, rule: number) =>
        JSON.stringify([{ op: 'add', path: `/rules/${rule}/resourceNames/-`, value: name }])
      const rules = JSON.parse(before) as { resources: string[] }[]
      const of = (resource: string) => rules.findIndex(({ resources }) => resources[0] === resource)
      const replace = async (text: (role: string) => string) => {
        const role = (await asAdmin('get', 'clusterrole', 'mcm-impersonator', '-o', 'json')).stdout
        return runKubectl(
          version,
          [
            ...['--server', server.url, '--token', token, 'replace', '-f', '-'],
            ...['--certificate-authority', join(server.directory, 'ca.crt')],
          ],
          { kubeconfig: empty, input: text(role) },
        )
      }
      const refused = [
        await replace((role) => role.replace('"mcm:ann@example.com"', '"system:masters"')),
        await replace((role) => role.replace('"mcm:dev"', '"mcm:dev","mcm:admins"')),
        await replace((role) => role.replace('"mcm:alice",', '')),
        await asAgent(
          'patch',
          'clusterrole',
          'mcm-impersonator',
          '--type=json',
          '-p',
          add('mcm:x', of('groups')),
        ),
        await asAgent('patch', 'clusterrole', 'mcm-ceiling', '--type=json', '-p', '[]'),
        await asAgent(
          'create',
          'clusterrolebinding',
          'x',
          '--clusterrole=cluster-admin',
          '--user=mcm:ann@example.com',
        ),
        await asAgent('create', 'clusterrole', 'x', '--verb=*', '--resource=*.*'),
        await asAgent('get', 'secrets', '-n', 'kube-system'),
        await asAgent('get', 'pods', '--all-namespaces'),
        await asAgent('create', 'token', 'default', '-n', 'default'),
        await asAgent('delete', 'validatingadmissionpolicy', 'mcm-agent-names'),
        await asAgent('get', 'namespaces', '--as', 'mcm:ann@example.com'),
      ]
      for (const [index, { exitCode, stderr }] of refused.entries()) {
        expect(exitCode, `attempt ${index}`).not.toBe(0)
        expect(stderr, `attempt ${index}`).toMatch(/[Ff]orbidden|cannot|mcm-agent-names|the agent/)
      }
      expect(await listed()).toBe(before)
      const allowed = await replace((role) =>
        role.replace('"mcm:ann@example.com"', '"mcm:ann@example.com","mcm:one-more@example.com"'),
      )
      // In the middle is not the end of the list; that is where ben is by now.
      expect(allowed.exitCode).not.toBe(0)
      const last = await replace((role) =>
        role.replace('"mcm:ben@example.com"', '"mcm:ben@example.com","mcm:one-more@example.com"'),
      )
      expect(last.stderr).toBe('')
    }, 120_000)

    test('the provider changes its keys: whoever is in stays in, and logins go on silently', async () => {
      is('ann')
      const { person, windows, env } = await withBrowser(stage, 'ann')
      // Twice: keys are read again every 30 seconds at most, and no attempt until then may cost the login.
      for (const _ of ['once', 'again']) {
        await provider.rotateKeys()
        expect((await namespaces(person, env)).stdout).toContain('namespace/default')
        await endLogin(person)
        await expect
          .poll(async () => (await namespaces(person, env)).stdout, { timeout: 120_000 })
          .toContain('namespace/default')
      }
      expect(await windows()).toBe(0)
    }, 240_000)

    test('one window, though fifty programs ask at once', async () => {
      const { person, windows, env } = await withBrowser(stage, 'ann')
      await endLogin(person)
      await rm(join(person.home, 'keys', 'refresh-token'))
      const id = JSON.parse(await alice.must(['clusters', '--json']))[0].id as string
      const asked = Array.from({ length: 50 }, () =>
        person.mcm(['credential', '--cluster', id], { env, timeoutMs: 240_000 }),
      )
      for (const { exitCode, stdout, stderr } of await Promise.all(asked))
        expect({ exitCode, stdout: stdout.slice(0, 100) }, stderr).toMatchObject({
          exitCode: 0,
          stdout: expect.stringContaining('ExecCredential'),
        })
      expect(await windows()).toBe(1)
    }, 300_000)

    test('logging out leaves nothing of the login on the machine', async () => {
      is('ben')
      const ben = stage.person('ben')
      await ben.must(['logout', '--yes'])
      expect((await namespaces(ben)).exitCode).not.toBe(0)
      expect((await ben.mcm(['whoami', '--json'])).exitCode).not.toBe(0)
    }, 60_000)

    test('a second device is ended by its owner, and comes back by no token', async () => {
      is('ann')
      const ann = stage.person('ann')
      const { person: phone, env } = await withBrowser(stage, 'ann-phone')
      await phone.must(['login', '--oidc', link, '--device-name', 'phone'], { env })
      await mergeInto(phone)
      expect((await namespaces(phone)).stdout).toContain('namespace/default')
      await ann.must(['devices', 'remove', 'phone', '--yes'])
      expect((await namespaces(phone, env)).exitCode).not.toBe(0)
      expect((await phone.mcm(['login', '--oidc', link], { env })).exitCode).not.toBe(0)
      expect((await namespaces(ann)).stdout).toContain('namespace/default')
    }, 180_000)

    test('a revocation cuts what runs, and no later token brings them back until they are named', async () => {
      is('ann')
      const { person: ann, env } = await withBrowser(stage, 'ann')
      const watch = ann.start(['kubectl', '-c', 'prod', 'get', 'namespaces', '--watch'])
      await watch.shows(/default/)
      await alice.must(['revoke', 'ann@example.com', '--yes'])
      await watch.ended
      expect((await namespaces(ann, env)).exitCode).not.toBe(0)
      const { person: fresh, env: freshEnv } = await withBrowser(stage, 'ann-again')
      const again = await fresh.mcm(['login', '--oidc', link], { env: freshEnv })
      expect(again.exitCode).not.toBe(0)
      await alice.must(['grant', 'ann@example.com', '--role', 'ro', '--cluster', 'prod'])
      await fresh.must(['login', '--oidc', link], { env: freshEnv })
      await mergeInto(fresh)
      expect((await namespaces(fresh)).stdout).toContain('namespace/default')
    }, 240_000)
  })
})
