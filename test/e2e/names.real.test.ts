import { X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readImpersonator, rewrittenRules } from '../../src/access/impersonator.ts'
import type { AuditEvent } from '../../src/agent/audit-event.ts'
import type { ClusterRole } from '../../src/kube/rbac.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

/** Who people and programs are to a real API server: names of every script, bots, and long lists of names. */

const NAMES = [
  ...[
    'Łukasz',
    'José',
    'Зоя',
    'Ελένη',
    'דוד',
    'محمد',
    'अनिल',
    'สมชาย',
    '王小明',
    'ひろし',
    '김철수',
  ],
  ...['𝒜lice', '7', 'a.b_c-d+e@f.example', 'Bob', 'ł'.repeat(126)],
]
const TEAM = '開発'
const REFUSED = [
  ...['', ' ', ' bob', 'bob ', 'a b', 'system:masters', 'System:admin', 'kube:x', 'mcm:bob', 'a:b'],
  ...[
    '.hidden',
    '-x',
    '@bob',
    '_x',
    'a/b',
    '../x',
    'a,b',
    'CN=a',
    'a%20b',
    'a"b',
    'a;b',
    '*',
    '+x',
  ],
  ...['a\nb', 'bob\n', 'a\rb', 'a\tb', 'a\u001b[2Jb', 'bob\u00a0x', 'a\u202eb', '\u2066bob\u2069'],
  ...['bo\u200bb', 'bo\u200db', 'bo\u00adb', 'bob\u3164', 'bob\u034f', 'bob\ufe0f', 'Jose\u0301'],
  ...['\u0301bob', 'x'.repeat(254), 'é'.repeat(127), 'grant:0123456789abcdef'],
]
const MANY = 1_000
const ROUNDS = 40

describe.each(['1.36.3', '1.33.13'] as const)('names on Kubernetes %s', async (version) => {
  const skip = skipLoudly(`names on ${version}`, await apiServerIsPossible(version))

  describe.skipIf(skip)('as people and programs use them', () => {
    let server: ApiServer
    let stage: Stage
    let owner: Person

    beforeAll(async () => {
      server = await startApiServer({ version })
      stage = await Stage.open()
      owner = await stage.found('owner')
      await stage.addCluster(owner, 'prod', server)
    }, 300_000)

    afterAll(async () => {
      await stage?.close()
      await server?.stop()
    })

    const asAdmin = async (...args: string[]) => {
      const { adminKubeconfig: kubeconfig } = server
      const { exitCode, stdout, stderr } = await runKubectl('1.36.3', args, { kubeconfig })
      if (exitCode !== 0) throw new Error(stderr)
      return stdout
    }
    const kubectl = async (person: Person, ...args: string[]) =>
      runProgram(await kubectlPath('1.36.3'), ['--context', 'mcm-prod', ...args], {
        env: person.env,
      })
    const listed = async () => {
      const role = await asAdmin('get', 'clusterrole', 'mcm-impersonator', '-o', 'json')
      return readImpersonator(JSON.parse(role) as ClusterRole)
    }
    const withKubeconfig = async (person: Person, mode: 'exec' | 'static' = 'exec') => {
      const path = join(person.home, 'kubeconfig')
      await person.must(['kubeconfig', '--all', '--mode', mode, '--output', path])
      return person
    }
    const whoami = async (person: Person) => {
      const { stdout, stderr } = await kubectl(person, 'auth', 'whoami', '-o', 'json')
      expect(stderr).toBe('')
      return JSON.parse(stdout).status.userInfo as { username: string; groups: string[] }
    }
    const directoryHead = async () =>
      JSON.parse(await owner.must(['directory', 'show', '--json'])).head.seq as number
    const audited = (user: string) => {
      const { stdout, stderr } = stage.agents.get('prod/a')!
      return `${stdout}\n${stderr}`
        .split('\n')
        .filter((line) => line.startsWith('{"') && line.includes('"auditId"'))
        .map((line) => JSON.parse(line) as AuditEvent)
        .filter((event) => event.user === user && event.stage === 'ended')
    }

    test('of every script are, from the file to the API server and its audit, the same name', async () => {
      const file = join(stage.directory, 'names.yaml')
      const users = NAMES.map((name) => `  - { name: "${name}", groups: ["${TEAM}"] }\n`)
      const named = NAMES.map((name) => `  - { user: "${name}", role: ro, clusters: [prod] }\n`)
      const owners = '  - { user: owner, role: admin, clusters: [prod] }\n'
      const team = `  - { group: "${TEAM}", role: ns-ro, clusters: [prod], namespaces: [default] }\n`
      const head = 'apiVersion: mcm.dev/v1alpha1\nkind: Access\n'
      const people = `users:\n  - { name: owner }\n${users.join('')}groups:\n  - { name: "${TEAM}" }\n`
      await writeFile(file, `${head}${people}grants:\n${owners}${team}${named.join('')}`)
      const homes = new Map<string, Person>()
      for (const [index, name] of NAMES.entries()) {
        const link = (await owner.must(['invite', name])).trim()
        const person = stage.person(`home-${index}`)
        await person.must(['login', link])
        homes.set(name, person)
      }
      await owner.must(['access', 'apply', '-f', file, '--yes'], { timeoutMs: 120_000 })
      expect((await owner.mcm(['access', 'diff', '-f', file])).exitCode).toBe(0)
      for (const [name, person] of homes) {
        await withKubeconfig(person)
        const { username, groups } = await whoami(person)
        expect([username, groups.toSorted()]).toEqual([
          `mcm:${name}`,
          [`mcm:${TEAM}`, 'system:authenticated'].toSorted(),
        ])
        expect(audited(name).length, name).toBeGreaterThan(0)
      }
      const events = await server.auditEvents()
      const seen = new Set(events.map(({ impersonatedUser }) => impersonatedUser?.username))
      for (const name of NAMES) expect(seen).toContain(`mcm:${name}`)
      expect(new Set((await listed()).users)).toEqual(
        new Set(['owner', ...NAMES].map((name) => `mcm:${name}`)),
      )
      const shown = JSON.parse(await owner.must(['users', '--json'])) as { name: string }[]
      expect(new Set(shown.map(({ name }) => name))).toEqual(new Set(['owner', ...NAMES]))
    }, 300_000)

    test('of one person leave with them, and nobody else’s', async () => {
      await owner.must(['revoke', '王小明', '--yes'])
      const rest = NAMES.filter((name) => name !== '王小明').map((name) => `mcm:${name}`)
      const { users, groups } = await listed()
      expect([new Set(users), groups]).toEqual([new Set(['mcm:owner', ...rest]), [`mcm:${TEAM}`]])
      const gone = stage.person(`home-${NAMES.indexOf('王小明')}`)
      expect((await kubectl(gone, 'get', 'pods')).stderr).toContain('may not reach it')
      const labels = await asAdmin('get', 'clusterrolebindings', '-o', 'json')
      expect(labels).not.toContain('王小明')
      expect(labels).toContain('Łukasz')
    }, 120_000)

    // No server is asked: once is enough.
    test.runIf(version === '1.36.3')(
      'that could be mistaken for others are refused by every command, and nothing is signed',
      async () => {
        const before = await directoryHead()
        for (const name of REFUSED) {
          const invited = await owner.mcm(['invite', '--json', '--', name])
          expect([JSON.stringify(name), invited.exitCode]).toEqual([JSON.stringify(name), 2])
          expect(JSON.parse(invited.stdout).error.code, JSON.stringify(name)).toMatch(
            /^MCM_(BAD_NAME|USAGE)$/,
          )
        }
        for (const name of ['system:masters', 'a\u202eb', 'Jose\u0301', 'bo\u200bb', 'a\nb'])
          for (const command of [
            ['bots', 'create', name],
            ['grant', name, '--role', 'ro', '--cluster', 'prod'],
            ['grant', name, '--group', '--role', 'ro', '--cluster', 'prod'],
            ['users', 'groups', 'Bob', '--group', name],
            ['invite', 'eve', '--group', name],
          ])
            expect([command, (await owner.mcm(command)).exitCode]).toEqual([
              command,
              expect.toBeOneOf([2, 3]),
            ])
        const file = join(stage.directory, 'refused.yaml')
        for (let start = 0; start < REFUSED.length; start += 10) {
          const some = REFUSED.slice(start, start + 10)
          const users = some.map((name) => `  - ${JSON.stringify({ name })}\n`).join('')
          await writeFile(file, `apiVersion: mcm.dev/v1alpha1\nkind: Access\nusers:\n${users}`)
          const { exitCode, stderr } = await owner.mcm(['access', 'diff', '-f', file])
          expect(exitCode).toBe(2)
          for (const line of some.keys()) expect(stderr).toContain(`refused.yaml:${line + 4}:13: `)
        }
        expect(await directoryHead()).toBe(before)
      },
      300_000,
    )

    test('of a bot: itself, in no group, by a static kubeconfig that ends within a day', async () => {
      const link = (
        await owner.must(['bots', 'create', 'ci', '--cluster', 'prod', '--role', 'ro'])
      ).trim()
      const ci = stage.person('ci')
      await ci.must(['login', link])
      await withKubeconfig(ci, 'static')
      expect(await whoami(ci)).toMatchObject({
        username: 'mcm:ci',
        groups: ['system:authenticated'],
      })
      const kubeconfig = await readFile(join(ci.home, 'kubeconfig'), 'utf8')
      const data = /client-certificate-data: (\S+)/.exec(kubeconfig)![1]!
      const { validTo } = new X509Certificate(Buffer.from(data, 'base64'))
      expect(Date.parse(validTo) - Date.now()).toBeLessThan(24 * 3_600_000 + 60_000)
      const grouped = await owner.mcm(['users', 'groups', 'ci', '--group', TEAM])
      expect([grouped.exitCode, grouped.stderr]).toEqual([2, expect.stringContaining('no group')])
      expect((await kubectl(ci, 'create', 'configmap', 'no')).stderr).toContain('is forbidden')
      expect(JSON.parse(await owner.must(['bots', '--json']))).toMatchObject([{ name: 'ci' }])
    }, 120_000)

    test('a thousand of them on the list: requests, grants and revocations stay fast; numbers printed', async () => {
      const bob = stage.person(`home-${NAMES.indexOf('Bob')}`)
      const names = Array.from({ length: ROUNDS }, (_, index) => `seen-${index}`)
      for (const name of names) await asAdmin('create', 'configmap', name)
      const read = async () => {
        const known = audited('Bob').length
        expect(await kubectl(bob, 'get', 'configmaps', ...names)).toMatchObject({ exitCode: 0 })
        await expect.poll(() => audited('Bob').length).toBeGreaterThanOrEqual(known + ROUNDS)
        const times = audited('Bob')
          .slice(known)
          .map(({ durationMs }) => durationMs)
        return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!
      }
      const timed = async (work: () => Promise<unknown>) => {
        const began = performance.now()
        await work()
        return Math.round(performance.now() - began)
      }
      const change = async (name: string) => {
        const person = await stage.join(owner, name, [])
        const grant = ['grant', name, '--role', 'ro', '--cluster', 'prod']
        const granted = await timed(() => owner.must(grant))
        await withKubeconfig(person)
        expect(await whoami(person)).toMatchObject({ username: `mcm:${name}` })
        return { granted, revoked: await timed(() => owner.must(['revoke', name, '--yes'])) }
      }
      await read()
      const few = { request: await read(), ...(await change('eve')) }
      const role = JSON.parse(
        await asAdmin('get', 'clusterrole', 'mcm-impersonator', '-o', 'json'),
      ) as ClusterRole
      const now = readImpersonator(role)
      const users = Array.from({ length: MANY }, (_, index) => `mcm:user-${index}@example.com`)
      const rules = rewrittenRules(role, { ...now, users: [...now.users, ...users] })
      const path = join(stage.directory, 'many.json')
      await writeFile(path, JSON.stringify({ ...role, rules }))
      await asAdmin('replace', '-f', path)
      await read()
      const many = { request: await read(), ...(await change('mallory')) }
      expect((await listed()).users.length).toBeGreaterThan(MANY)
      const line = ({ request, granted, revoked }: typeof few) =>
        `request p50 ${request.toFixed(1)} ms, mcm grant ${granted} ms, mcm revoke ${revoked} ms`
      console.log(`Kubernetes ${version}: few names: ${line(few)}; ${MANY} names: ${line(many)}`)
      // Generous: the machine may do other things meanwhile.
      expect(many.request).toBeLessThan(few.request * 4 + 50)
      expect(many.granted).toBeLessThan(few.granted * 4 + 5_000)
    }, 300_000)
  })
})
