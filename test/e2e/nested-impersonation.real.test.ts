import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import type { AuditEvent } from '../cluster/audit-log.ts'
import { runKubectl } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import type { Finished } from './program.ts'
import { requestThroughProxy } from './proxy-request.ts'
import { type Person, Stage } from './stage.ts'
import { MCM_WAYS, type McmWay, Ways } from './ways.ts'

const SERVICE_ACCOUNT = 'system:serviceaccount:mcm-system:mcm-impersonator'

/** The sentence, as kubectl prints it; HTTP/2 has the header's name in lower case. */
function refusal(header: string, why: string): RegExp {
  const escaped = RegExp.escape(`header "${header}" is refused: ${why}`)
  return new RegExp(`^Warning: mcm: ${escaped}`, 'im')
}

/** Carol may act as bob and with his group; dave may not. Both are in a group of their own. */
const ROLES = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: may-be-bob }
rules:
  - { apiGroups: [''], resources: [users], resourceNames: ['mcm:bob', 'mcm:mallory'], verbs: [impersonate] }
  - { apiGroups: [''], resources: [groups], resourceNames: ['mcm:watchers'], verbs: [impersonate] }
  - { apiGroups: [authentication.k8s.io], resources: [uids], resourceNames: [u-1], verbs: [impersonate] }
  - apiGroups: [authentication.k8s.io]
    resources: [userextras/example.com/scopes]
    resourceNames: [view]
    verbs: [impersonate]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: may-be-bob }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: may-be-bob }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: 'mcm:carol' }]
`

describe.each(['1.36.3', '1.33.13'] as const)('kubectl --as on Kubernetes %s', async (version) => {
  const skip = skipLoudly(`kubectl --as on ${version}`, await apiServerIsPossible(version))

  describe.skipIf(skip)('through mcm', () => {
    let cluster: ApiServer
    let stage: Stage
    let alice: Person
    let carol: Ways
    let dave: Ways
    let root: Ways

    beforeAll(async () => {
      cluster = await startApiServer({ version })
      stage = await Stage.open()
      alice = await stage.found('alice')
      await stage.addCluster(alice, 'idc-k8s', cluster)
      const reader = ['--cluster', 'idc-k8s', '--role', 'ns-ro', '--namespace', 'default']
      await stage.join(alice, 'bob', reader)
      const group = ['--group', '--role', 'ro', '--cluster', 'idc-k8s']
      for (const name of ['watchers', 'carols']) await alice.must(['grant', name, ...group])
      carol = await Ways.open(
        await stage.join(alice, 'carol', ['--group', 'carols', ...reader]),
        cluster,
      )
      dave = await Ways.open(await stage.join(alice, 'dave', reader), cluster)
      root = await Ways.open(alice, cluster)
      await asAdmin(['apply', '-f', '-'], ROLES)
      const anything = ['--clusterrole=cluster-admin', '--user=mcm:alice']
      await asAdmin(['create', 'clusterrolebinding', 'alice-may-do-anything', ...anything])
    })
    afterAll(async () => {
      await stage?.close()
      await cluster?.stop()
    })

    async function asAdmin(args: readonly string[], input?: string): Promise<void> {
      const { adminKubeconfig: kubeconfig } = cluster
      const done = await runKubectl(version, args, { kubeconfig, ...(input ? { input } : {}) })
      if (done.exitCode !== 0) throw new Error(`kubectl ${args.join(' ')}: ${done.stderr}`)
    }

    async function kubectl(ways: Ways, way: McmWay, args: readonly string[]): Promise<Finished> {
      const { stdout, ...rest } = await ways.kubectl(way, args, { kubectl: version })
      return { ...rest, stdout: stdout.toString() }
    }

    const whoAmI = ['auth', 'whoami', '-o', 'json']
    const whoIs = async (ways: Ways, way: McmWay, args: readonly string[]) => {
      const { stdout, stderr } = await kubectl(ways, way, [...whoAmI, ...args])
      if (stdout === '') throw new Error(stderr)
      return JSON.parse(stdout).status.userInfo as {
        username: string
        uid?: string
        groups: string[]
        extra?: Record<string, string[]>
      }
    }
    const raw = (ways: Ways, ...headers: (readonly [string, string])[]) =>
      requestThroughProxy(ways.kubeconfig('proxy'), '/api/v1/namespaces/default/pods', headers)
    const eventsAs = async (username: string): Promise<AuditEvent[]> =>
      (await cluster.auditEvents()).filter((event) => event.impersonatedUser?.username === username)

    test.each(MCM_WAYS)(
      'in %s mode, whoever may, acts as the other and as nobody more',
      async (way) => {
        const bob = await whoIs(carol, way, ['--as=mcm:bob'])
        expect(bob.username).toBe('mcm:bob')
        expect(bob.groups).toEqual(['system:authenticated'])
        const watcher = await whoIs(carol, way, ['--as=mcm:bob', '--as-group=mcm:watchers'])
        expect(watcher.groups.toSorted()).toEqual(['mcm:watchers', 'system:authenticated'])
        const own = await whoIs(carol, way, [])
        expect(own).toMatchObject({ username: 'mcm:carol' })
        expect(own.groups).toContain('mcm:carols')
      },
    )

    test.each(MCM_WAYS)(
      'in %s mode, whoever may not is told which header, and nothing is done',
      async (way) => {
        const before = (await eventsAs('mcm:bob')).length
        const { stderr, exitCode } = await kubectl(dave, way, ['get', 'pods', '--as=mcm:bob'])
        expect(stderr).toMatch(refusal('Impersonate-User', `you may not impersonate mcm:bob`))
        expect(exitCode).toBe(1)
        const group = ['--as=mcm:bob', '--as-group=mcm:carols']
        const refused = await kubectl(carol, way, ['get', 'pods', ...group])
        expect(refused.stderr).toMatch(
          refusal('Impersonate-Group', `you may not impersonate mcm:carols`),
        )
        expect((await eventsAs('mcm:bob')).length).toBe(before)
        expect(
          (await eventsAs('mcm:bob')).filter(({ requestURI }) => requestURI.includes('/pods')),
        ).toEqual([])
      },
    )

    test('the question is asked as the caller, and of nobody else', async () => {
      await kubectl(dave, 'static', ['get', 'pods', '--as=mcm:bob'])
      const asked = (await cluster.auditEvents()).filter(
        ({ requestURI }) => requestURI === '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      )
      expect(asked.some(({ impersonatedUser }) => impersonatedUser?.username === 'mcm:dave')).toBe(
        true,
      )
      for (const { user, impersonatedUser } of asked.filter(
        (event) => event.user.username === SERVICE_ACCOUNT,
      ))
        expect(`${user.username} as ${impersonatedUser?.username}`).toMatch(
          / as mcm:(alice|carol|dave)$/,
        )
    })

    test.each([
      'system:kube-controller-manager',
      'system:admin',
      'system:anonymous',
      'system:node:mcm-test',
      'system:serviceaccount:kube-system:default',
      'System:Masters',
      'kube:admin',
    ])('--as=%s is 403 even for whoever may do anything', async (name) => {
      for (const way of MCM_WAYS) {
        const { stderr, exitCode } = await kubectl(root, way, ['get', 'pods', `--as=${name}`])
        expect(stderr).toMatch(refusal('Impersonate-User', `"${name}" is Kubernetes' own`))
        expect(exitCode).toBe(1)
      }
      expect(await eventsAs(name)).toEqual([])
    })

    test('--as-group=system:masters is 403 even for whoever may do anything', async () => {
      const args = ['get', 'pods', '--as=mcm:bob', '--as-group=system:masters']
      const { stderr } = await kubectl(root, 'static', args)
      expect(stderr).toMatch(refusal('Impersonate-Group', `"system:masters" is Kubernetes' own`))
    })

    test('somebody the agent does not speak for is 403, whatever RBAC would say', async () => {
      const { stderr } = await kubectl(carol, 'exec', ['get', 'pods', '--as=mcm:mallory'])
      expect(stderr).toMatch(
        refusal('Impersonate-User', `this cluster's agent does not speak for mcm:mallory`),
      )
    })

    test('groups without a user are 400, and a header that mcm does not know is 403', async () => {
      expect(await raw(carol, ['Impersonate-Group', 'mcm:watchers'])).toMatchObject({ status: 400 })
      for (const name of ['Impersonate-Future', 'Impersonate_User', 'Impersonate-Users']) {
        const { status, body } = await raw(carol, ['Impersonate-User', 'mcm:bob'], [name, 'x'])
        expect({ status, names: body.includes(name.toLowerCase()) }).toEqual({
          status: 403,
          names: true,
        })
      }
    })

    test.each(['mcm.dev%2Fsession', 'MCM.dev%2Fanything', '%6dcm.dev/x'.replace('/', '%2F')])(
      'the extra %s is the agent’s own: 403',
      async (key) => {
        const { status, body } = await raw(
          root,
          ['Impersonate-User', 'mcm:bob'],
          [`Impersonate-Extra-${key}`, 'forged'],
        )
        expect(status).toBe(403)
        expect(JSON.parse(body).message).toContain('extras of mcm.dev are set by the agent alone')
      },
    )

    test('a uid and extras are refused by name until the owner lists them; then they are asked about', async () => {
      const uid = ['--as=mcm:bob', '--as-uid=u-1']
      const { stderr } = await kubectl(carol, 'static', ['get', 'pods', ...uid])
      expect(stderr).toMatch(
        refusal('Impersonate-Uid', `this cluster's agent does not speak for uid u-1`),
      )
      const bob = ['Impersonate-User', 'mcm:bob'] as const
      const refused = await raw(carol, bob, ['Impersonate-Extra-example.com%2Fscopes', 'view'])
      expect(refused.status).toBe(403)
      expect(refused.body).toContain('does not speak for example.com/scopes=view')

      await listMore()
      await expect
        .poll(() => whoIs(carol, 'static', uid).catch(() => undefined))
        .toMatchObject({ uid: 'u-1' })
      const allowed = await raw(carol, bob, ['Impersonate-Extra-Example.com%2Fscopes', 'view'])
      expect(allowed.status).toBe(200)
      const event = (await eventsAs('mcm:bob')).findLast(({ requestURI }) =>
        requestURI.endsWith('/pods'),
      )
      expect(event?.impersonatedUser?.extra?.['example.com/scopes']).toEqual(['view'])
      const other = await raw(carol, bob, ['Impersonate-Extra-example.com%2Fscopes', 'edit'])
      expect(other.body).toContain('does not speak for example.com/scopes=edit')
      const asDave = await raw(dave, ['Impersonate-User', 'mcm:dave'], ['Impersonate-Uid', 'u-1'])
      expect(asDave.status).toBe(403)

      // A grant writes the list anew, and leaves alone what the owner wrote.
      await alice.must(['grant', 'dave', '--role', 'ro', '--cluster', 'idc-k8s'])
      const more = ['--group', '--role', 'ro', '--cluster', 'idc-k8s']
      await alice.must(['grant', 'newcomers', ...more])
      expect(await whoIs(carol, 'exec', uid)).toMatchObject({ username: 'mcm:bob', uid: 'u-1' })
    })

    test.runIf(version === '1.36.3')(
      'kubectl --as-user-extra is decided in the same way',
      async () => {
        await listMore()
        const extra = (value: string) => ['--as=mcm:bob', `--as-user-extra=${value}`]
        await expect
          .poll(
            async () =>
              (await kubectl(carol, 'static', ['get', 'pods', ...extra('example.com/scopes=view')]))
                .exitCode,
          )
          .toBe(0)
        const seen = await whoIs(carol, 'proxy', extra('example.com/scopes=view'))
        expect(seen.extra?.['example.com/scopes']).toEqual(['view'])
        const forged = await kubectl(carol, 'exec', [
          'get',
          'pods',
          ...extra('mcm.dev/session=forged'),
        ])
        expect(forged.stderr).toContain('extras of mcm.dev are set by the agent alone')
      },
    )

    test('the audit of the API server has all three, and the agent’s own line has the same id', async () => {
      const name = `audited-${version}`
      await kubectl(carol, 'static', ['get', 'configmap', name, '--as=mcm:bob'])
      const event = (await eventsAs('mcm:bob')).find(({ requestURI }) => requestURI.includes(name))
      expect(event?.user.username).toBe(SERVICE_ACCOUNT)
      const [session, caller] = event?.impersonatedUser?.extra?.['mcm.dev/session'] ?? []
      expect(caller).toBe('mcm:carol')
      const { stdout, stderr } = stage.agents.get('idc-k8s/a')!
      const line = `${stdout}\n${stderr}`.split('\n').find((text) => text.includes(event!.auditID))
      expect(JSON.parse(line!)).toMatchObject({
        user: 'carol',
        session,
        as: { user: 'mcm:bob', groups: [] },
        auditId: event!.auditID,
      })
      await kubectl(carol, 'static', ['get', 'configmap', `own-${name}`])
      const own = (await eventsAs('mcm:carol')).find(({ requestURI }) =>
        requestURI.includes(`own-${name}`),
      )
      expect(own?.impersonatedUser?.extra?.['mcm.dev/session']).toHaveLength(1)
    })

    test('a kubeconfig that carries `as` needs no flag, and is judged the same', async () => {
      const path = join(alice.home, `as-${version}`)
      const config = parse(await readFile(carol.kubeconfig('static'), 'utf8'))
      config.users[0].user.as = 'mcm:bob'
      await writeFile(path, stringify(config), { mode: 0o600 })
      const run = (kubeconfig: string) => runKubectl(version, whoAmI, { kubeconfig })
      expect(JSON.parse((await run(path)).stdout).status.userInfo.username).toBe('mcm:bob')
      config.users[0].user.as = 'system:admin'
      await writeFile(path, stringify(config), { mode: 0o600 })
      expect((await run(path)).stderr).toContain(`"system:admin" is Kubernetes' own`)
    })

    test('a right that is taken back is gone with the next request', async () => {
      await asAdmin(['delete', 'clusterrolebinding', 'may-be-bob'])
      // The API server's own RBAC hears of it in a moment; nothing of ours remembers.
      await expect
        .poll(async () => (await kubectl(carol, 'static', ['get', 'pods', '--as=mcm:bob'])).stderr)
        .toContain('you may not impersonate mcm:bob')
      await asAdmin(['apply', '-f', '-'], ROLES)
      const allowed = async () =>
        (await kubectl(carol, 'static', ['get', 'pods', '--as=mcm:bob'])).exitCode
      await expect.poll(allowed).toBe(0)
    })

    test('a caller who is revoked acts as nobody any more, though RBAC would still allow it', async () => {
      await alice.must(['revoke', 'carol', '--yes'])
      const { stderr, exitCode } = await kubectl(carol, 'proxy', ['get', 'pods', '--as=mcm:bob'])
      expect(exitCode).not.toBe(0)
      expect(stderr).not.toContain('No resources found')
      expect((await raw(carol, ['Impersonate-User', 'mcm:bob'])).status).toBeGreaterThanOrEqual(400)
    })

    /** What the owner adds to the impersonator's role with their own hands. */
    async function listMore(): Promise<void> {
      const { adminKubeconfig: kubeconfig } = cluster
      const role = ['clusterrole', 'mcm-impersonator']
      const { stdout } = await runKubectl(version, ['get', ...role, '-o', 'json'], { kubeconfig })
      const object = JSON.parse(stdout)
      const more = (resource: string, name: string) => ({
        apiGroups: ['authentication.k8s.io'],
        resources: [resource],
        resourceNames: [name],
        // The list is in the form that the API server has.
        verbs: [version === '1.36.3' ? 'impersonate:user-info' : 'impersonate'],
      })
      const has = JSON.stringify(object.rules).includes('"uids"')
      if (has) return
      object.rules.push(more('uids', 'u-1'), more('userextras/example.com/scopes', 'view'))
      await asAdmin(['replace', '-f', '-'], JSON.stringify(object))
    }
  })
})
