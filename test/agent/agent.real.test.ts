import { randomBytes } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { impersonatorRole } from '../../src/access/impersonator.ts'
import { agentManifest } from '../../src/access/manifest.ts'
import { startAgent } from '../../src/agent/agent.ts'
import type { AuditEvent } from '../../src/agent/audit-event.ts'
import {
  agentTransport,
  connectionOutside,
  waitForConfiguration,
} from '../../src/agent/connections.ts'
import { type AgentApi, openAgentApi } from '../../src/client/agent.ts'
import { openInner } from '../../src/client/inner.ts'
import { type KubernetesApi, openKubernetes } from '../../src/client/kubernetes.ts'
import { signEnrolmentProof, verifyPublication } from '../../src/directory/proofs.ts'
import type { SigningKey } from '../../src/directory/signing-key.ts'
import type { ApiServerConnection } from '../../src/kube/connection.ts'
import type { KubernetesObject } from '../../src/kube/object.ts'
import { createCsr, readCsr } from '../../src/pki/csr.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { keyId, sha256 } from '../../src/protocol/keys.ts'
import { clusterHost, enrolmentHost } from '../../src/protocol/names.ts'
import { Secret } from '../../src/secret.ts'
import type { Running } from '../../src/world.ts'
import { ask, collectionPath } from '../access/api-server-client.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { CLUSTER, Fleet } from '../directory/fleet.ts'
import { FakeHub } from './fake-hub.ts'
import { RecordedLog } from './frozen-world.ts'

/** Two whole agents, outside the cluster, on a real kube-apiserver, reached through a real tunnel. */

const world = { now: () => new Date(), random: (count: number) => randomBytes(count) }
const PAIRING_SECRET = 'S'.repeat(43)
const REVIEW = '/apis/authentication.k8s.io/v1/selfsubjectreviews'
const CONFIG_MAPS = '/api/v1/namespaces/default/configmaps'

interface Person {
  readonly device: SigningKey
  certPem: string
  keyPem: Secret<string>
}

describe.each(['1.36.3', '1.33.13'] as const)('the agent on Kubernetes %s', async (version) => {
  const skip = skipLoudly(`agent on ${version}`, await apiServerIsPossible(version))

  describe.skipIf(skip)('with a tunnel for each of two replicas', () => {
    let server: ApiServer
    let fleet: Fleet
    let hub: FakeHub
    let agents: Running[]
    let serverCaPem: string
    let alice: Person
    const ending = new AbortController()
    const log = new RecordedLog()
    const audit: AuditEvent[] = []

    beforeAll(async () => {
      server = await startApiServer({ version })
      fleet = await Fleet.found()
      hub = await FakeHub.start(world)
      for (const object of manifest()) await asAdmin('POST', collectionPath(object), object)
      agents = [await agent('a'), await agent('b')]
      serverCaPem = await register()
      alice = await enrol(fleet.alice)
    })
    afterAll(async () => {
      ending.abort()
      await Promise.all(agents?.map((each) => each.closed) ?? [])
      await hub?.stop()
      await server?.stop()
    })

    function manifest(): KubernetesObject[] {
      return agentManifest({
        cluster: CLUSTER,
        hub: { endpoints: [hub.endpoint], pin: hub.pin },
        fleet: fleet.directory.fleet!,
        joinToken: new Secret(hub.joinToken),
        pairingSecret: new Secret(PAIRING_SECRET),
        prefix: 'mcm:',
        owner: 'alice',
      })
    }

    async function asAdmin(method: string, path: string, body?: object) {
      const answer = await ask(server, server.admin, path, { method, body })
      expect(answer.status, `${method} ${path}`).toBeLessThan(300)
      return answer.body
    }

    async function agent(replica: string): Promise<Running> {
      const owner: ApiServerConnection = {
        scheme: 'https',
        host: server.host,
        port: server.port,
        basePath: '',
        server: server.url,
        caPem: server.caPem,
        insecureSkipTlsVerify: false,
        clientCertPem: server.admin.certPem,
        clientKeyPem: new Secret(server.admin.keyPem),
        authorization: async () => undefined,
      }
      const apiServer = connectionOutside(owner, world)
      const api = openKubernetes(agentTransport(apiServer))
      const configuration = await waitForConfiguration(api, log, ending.signal)
      const runtime = {
        nodeVersion: process.version,
        nodeArguments: [],
        tlsRejectUnauthorized: undefined,
      }
      return startAgent(
        {
          world,
          log,
          runtime,
          apiServer,
          proxyFor: () => undefined,
          audit: (event) => audit.push(event),
          signal: ending.signal,
        },
        { configuration, replica, version: 'test' },
      )
    }

    /** The owner's part: signs what the agents published; gives the server CA. */
    async function register(): Promise<string> {
      await vi.waitUntil(() => hub.joins.length > 0, { timeout: 10_000 })
      const text = hub.joins[0]!.body.publication
      const published = await verifyPublication(new Secret(PAIRING_SECRET), text, CLUSTER)
      const { serverCa, userCa } = published
      const cas = { serverCa, userCa, agentKey: keyId(published.agentKey) }
      const detail = {
        id: CLUSTER,
        name: 'idc-k8s',
        labels: {},
        ...cas,
        issuer: 'agent',
        prefix: 'mcm:',
      } as const
      await fleet.append({ type: 'cluster', detail })
      await fleet.member('add', 'user', 'alice')
      hub.directory = fleet.directory
      await vi.waitUntil(() => hub.tunnels.length > 1, { timeout: 15_000 })
      return `-----BEGIN CERTIFICATE-----\n${serverCa}\n-----END CERTIFICATE-----\n`
    }

    function tunnels() {
      return hub.tunnels.map(({ tunnel }) => tunnel).filter((tunnel) => tunnel.isOpen())
    }

    async function push(): Promise<void> {
      hub.directory = fleet.directory
      const { statements } = fleet.directory.page(-1)
      const details = [...fleet.directory.details.values()]
      await Promise.all(
        tunnels().map((tunnel) =>
          tunnel.request('POST', '/.mcm/v1/directory', { statements, details }),
        ),
      )
    }

    async function enrol(device: SigningKey): Promise<Person> {
      const { privateKeyPem } = generateKeyPair()
      const csr = await createCsr(privateKeyPem)
      const host = enrolmentHost(CLUSTER)
      const stream = await tunnels()[0]!.connect(`${host}:443`)
      const socket = await openInner(stream, { host, serverCaPem, alpn: ['h2'] })
      const api = openAgentApi(socket)
      const exporter = socket.exportKeyingMaterial(32, 'EXPORTER-mcm-enrol-v1', Buffer.alloc(0))
      const proof = await signEnrolmentProof(device, {
        cluster: CLUSTER,
        csr: sha256((await readCsr(csr)).der),
        exporter: exporter.toString('base64url'),
        time: `${new Date().toISOString().slice(0, 19)}Z`,
      })
      const { certificate } = await api.enrol({ csr, proof })
      api.close()
      return { device, certPem: certificate, keyPem: privateKeyPem }
    }

    async function innerSocket(person: Person, replica = 0, alpn = ['h2']): Promise<TLSSocket> {
      const host = clusterHost(CLUSTER)
      const forwardedFor = { 'mcm-forwarded-for': '192.0.2.7' }
      const stream = await tunnels()[replica]!.connect(`${host}:443`, forwardedFor)
      const { certPem, keyPem } = person
      return openInner(stream, { host, serverCaPem, certPem, keyPem, alpn })
    }

    async function session(
      person: Person,
      replica = 0,
    ): Promise<{ api: AgentApi; kube: KubernetesApi }> {
      const api = openAgentApi(await innerSocket(person, replica))
      return { api, kube: openKubernetes((request) => api.request(request)) }
    }

    /** As whom the API server sees a person. */
    async function whoAmI(kube: KubernetesApi) {
      const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' }
      const answer = await kube.create<{
        status: { userInfo: { username: string; groups: string[] } }
      }>(REVIEW, body)
      return answer.status.userInfo
    }

    test('a person enrolled at one replica is the same person at both, under the API server’s own name', async () => {
      for (const replica of [0, 1]) {
        const { api, kube } = await session(alice, replica)
        expect(await api.whoami()).toMatchObject({
          user: 'alice',
          impersonates: { user: 'mcm:alice' },
        })
        const { username, groups } = await whoAmI(kube)
        expect([username, groups]).toEqual(['mcm:alice', ['system:authenticated']])
        api.close()
      }
    })

    test('objects are made, changed, listed and deleted through it', async () => {
      const { api, kube } = await session(alice)
      const object = {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'c' },
        data: { a: '1' },
      }
      await kube.create(CONFIG_MAPS, object)
      await kube.apply(
        `${CONFIG_MAPS}/c`,
        { ...object, data: { a: '2' } },
        { fieldManager: 't', force: true },
      )
      expect(await kube.get(`${CONFIG_MAPS}/c`)).toMatchObject({ data: { a: '2' } })
      expect((await kube.list(CONFIG_MAPS)).items).toHaveLength(1)
      await kube.delete(`${CONFIG_MAPS}/c`)
      await expect(kube.get(`${CONFIG_MAPS}/c`)).rejects.toMatchObject({ code: 'MCM_NOT_FOUND' })
      api.close()
    })

    test('the API server’s audit names the person, our session and our id; the agent’s line has the same', async () => {
      const { api, kube } = await session(alice)
      audit.length = 0
      await kube.list(CONFIG_MAPS)
      api.close()
      await expect.poll(() => audit.at(-1)?.resource).toBe('configmaps')
      const own = audit.at(-1)!
      await expect
        .poll(async () =>
          (await server.auditEvents()).some(({ auditID }) => auditID === own.auditId),
        )
        .toBe(true)
      const theirs = (await server.auditEvents()).find(({ auditID }) => auditID === own.auditId)!
      expect(theirs.user.username).toBe('system:serviceaccount:mcm-system:mcm-impersonator')
      expect(theirs.impersonatedUser).toMatchObject({
        username: 'mcm:alice',
        extra: { 'mcm.dev/session': [own.session] },
      })
      expect(theirs.sourceIPs).toContain('192.0.2.7')
      expect(own).toMatchObject({
        user: 'alice',
        as: { user: 'mcm:alice' },
        code: 200,
        addressByHub: '192.0.2.7',
      })
    })

    test('what RBAC refuses is the API server’s own Forbidden of that person', async () => {
      const bob = await admit('bob')
      const { api, kube } = await session(bob)
      await expect(kube.list('/api/v1/secrets')).rejects.toMatchObject({
        code: 'MCM_FORBIDDEN',
        message: expect.stringContaining('User "mcm:bob" cannot list resource "secrets"'),
      })
      api.close()
    })

    /** Makes somebody a member with a name on the impersonator's list, and enrols them. */
    async function admit(user: string): Promise<Person> {
      const device = await fleet.admit(user)
      await fleet.member('add', 'user', user)
      await list('alice', user)
      await push()
      return enrol(device)
    }

    async function list(...users: string[]): Promise<void> {
      const role = impersonatorRole({ users: users.map((user) => `mcm:${user}`), groups: [] })
      await asAdmin('PUT', '/apis/rbac.authorization.k8s.io/v1/clusterroles/mcm-impersonator', role)
    }

    test('somebody without a grant gets no certificate, and is told so', async () => {
      const device = await fleet.admit('carol')
      await fleet.member('add', 'user', 'carol')
      await push()
      await expect(enrol(device)).rejects.toMatchObject({ code: 'MCM_NO_GRANT', httpStatus: 403 })
    })

    test('--as needs the right to impersonate, asked of the real RBAC', async () => {
      const dave = await admit('dave')
      await list('alice', 'dave', 'erin')
      const { api } = await session(dave)
      const asErin = {
        method: 'GET',
        path: CONFIG_MAPS,
        headers: { 'impersonate-user': 'mcm:erin' },
      }
      expect((await api.request(asErin)).status).toBe(403)
      const rules = [
        {
          apiGroups: [''],
          resources: ['users'],
          verbs: ['impersonate'],
          resourceNames: ['mcm:erin'],
        },
      ]
      const role = {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        metadata: { name: 'as-erin' },
        rules,
      }
      const roles = '/apis/rbac.authorization.k8s.io/v1/clusterroles'
      await asAdmin('POST', roles, role)
      const roleRef = {
        apiGroup: 'rbac.authorization.k8s.io',
        kind: 'ClusterRole',
        name: 'as-erin',
      }
      const subjects = [{ kind: 'User', name: 'mcm:dave', apiGroup: 'rbac.authorization.k8s.io' }]
      await asAdmin('POST', `${roles.replace('roles', 'rolebindings')}`, {
        ...role,
        kind: 'ClusterRoleBinding',
        rules: undefined,
        roleRef,
        subjects,
      })
      await expect
        .poll(async () => {
          const answer = await api.request({
            ...asErin,
            method: 'POST',
            path: REVIEW,
            body: JSON.stringify({
              apiVersion: 'authentication.k8s.io/v1',
              kind: 'SelfSubjectReview',
            }),
          })
          let text = ''
          for await (const chunk of answer.body) text += Buffer.from(chunk).toString()
          return JSON.parse(text).status?.userInfo?.username
        })
        .toBe('mcm:erin')
      api.close()
    })

    test('a revocation written at one replica cuts a watch at the other within a second', async () => {
      const frank = await admit('frank')
      const [here, there] = await Promise.all([session(frank, 0), session(frank, 1)])
      const reviewer = await session(frank, 1)
      await asAdmin('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name: 'frank' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'mcm:ro' },
        subjects: [{ kind: 'User', name: 'mcm:frank', apiGroup: 'rbac.authorization.k8s.io' }],
      })
      await expect
        .poll(() =>
          reviewer.kube.list(CONFIG_MAPS).then(
            () => true,
            () => false,
          ),
        )
        .toBe(true)
      const watch = await there.api.request({ method: 'GET', path: `${CONFIG_MAPS}?watch=1` })
      expect(watch.status).toBe(200)
      const ended = there.api.closed
      const started = performance.now()
      await here.api.revoke({ device: frank.device.id })
      await ended
      expect(performance.now() - started).toBeLessThan(1_000)
      await expect(enrol(frank.device)).rejects.toMatchObject({ code: 'MCM_REVOKED' })
    })

    test('a revocation of a certificate, a device or a user cuts watches and switched streams at both replicas; p99 printed', async () => {
      const users = Array.from({ length: 12 }, (_, index) => `leaver${index}`)
      const people: SigningKey[] = []
      for (const user of users) people.push(await admitUnlisted(user))
      await list('alice', ...users)
      await push()
      await asAdmin('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name: 'leavers' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'mcm:ro' },
        subjects: users.map((user) => ({
          kind: 'User',
          name: `mcm:${user}`,
          apiGroup: 'rbac.authorization.k8s.io',
        })),
      })
      const times: number[] = []
      const switchTimes: number[] = []
      const acknowledged: number[] = []
      for (const [index, device] of people.entries()) {
        const person = await enrolWhenListed(device)
        // One after the other: once a watch is let in, RBAC knows the binding.
        const watches = await Promise.all([0, 1].map((replica) => liveWatch(person, replica)))
        const switches = await Promise.all([0, 1].map((replica) => liveSwitch(person, replica)))
        const { api } = await session(alice, index % 2)
        const { serial } = (await api.certificates('all')).find(
          ({ user }) => user === users[index],
        )!
        const [bySerial, byDevice] = [{ serial }, { device: person.device.id }]
        const order = [bySerial, byDevice, { user: users[index]! }][index % 3]!
        const started = performance.now()
        const since = () => performance.now() - started
        const ended = [watches, switches].map((live) =>
          Promise.all(live.map(({ end }) => end.then(since))),
        )
        await api.revoke(order)
        acknowledged.push(since())
        const [ofWatches, ofSwitches] = await Promise.all(ended)
        times.push(...ofWatches!)
        switchTimes.push(...ofSwitches!)
        api.close()
      }
      printTimes('revocation to its answer', acknowledged)
      printTimes('revocation to the end of a watch', times)
      printTimes('revocation to the last frame of a switched stream', switchTimes)
      expect(Math.max(...times, ...switchTimes)).toBeLessThan(1_000)
    })

    function printTimes(what: string, times: number[]): void {
      times.sort((a, b) => a - b)
      const at = (share: number) => times[Math.ceil(times.length * share) - 1]!.toFixed(1)
      const all = `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`
      console.log(`${what}, Kubernetes ${version}, two replicas, ${times.length} times: ${all}`)
    }

    /** A member whom the list does not name yet. */
    async function admitUnlisted(user: string): Promise<SigningKey> {
      const device = await fleet.admit(user)
      await fleet.member('add', 'user', user)
      return device
    }

    async function enrolWhenListed(device: SigningKey): Promise<Person> {
      return vi.waitFor(() => enrol(device), { timeout: 10_000 })
    }

    /** Begins a watch; the promise inside resolves when it is cut. */
    async function liveWatch(person: Person, replica: number): Promise<{ end: Promise<void> }> {
      const { api } = await session(person, replica)
      await expect
        .poll(async () => {
          const answer = await api.request({ method: 'GET', path: `${CONFIG_MAPS}?watch=1` })
          if (answer.status !== 200) for await (const _ of answer.body);
          return answer.status
        })
        .toBe(200)
      return { end: api.closed }
    }

    /** The same over WebSocket, which the agent carries as it carries an exec. */
    async function liveSwitch(person: Person, replica: number): Promise<{ end: Promise<void> }> {
      const socket = await innerSocket(person, replica, ['http/1.1'])
      // Told why, in the last frame: from there on nothing comes any more, whenever the socket closes.
      const end = new Promise<void>((resolve) => {
        socket.once('close', () => resolve())
        socket.on('data', (chunk: Buffer) => chunk.includes('was revoked') && resolve())
      })
      socket.on('error', () => {})
      const lines = [
        `GET ${CONFIG_MAPS}?watch=1 HTTP/1.1`,
        `Host: ${clusterHost(CLUSTER)}`,
        'Connection: Upgrade',
        'Upgrade: websocket',
        // The API server refuses a watch over WebSocket without one.
        'Origin: http://localhost',
        'Sec-WebSocket-Version: 13',
        `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
      ]
      socket.write(`${lines.join('\r\n')}\r\n\r\n`)
      const head = await new Promise<string>((resolve) =>
        socket.once('data', (chunk: Buffer) => resolve(chunk.toString('latin1'))),
      )
      expect(head).toMatch(/^HTTP\/1\.1 101 /)
      socket.resume()
      return { end }
    }

    test('a user revoked in the directory is cut and refused at both replicas', async () => {
      const grace = await admit('grace')
      const sessions = await Promise.all([session(grace, 0), session(grace, 1)])
      await Promise.all(sessions.map(({ kube }) => whoAmI(kube)))
      const ended = Promise.all(sessions.map(({ api }) => api.closed))
      await fleet.revoke({ user: 'grace' })
      await push()
      await ended
      const { api } = await session(grace)
      await expect(api.whoami()).rejects.toMatchObject({ code: 'MCM_REVOKED', httpStatus: 403 })
    })

    test('when the impersonator’s token dies, nobody sees a 401: the next one is asked for', async () => {
      const { api, kube } = await session(alice)
      await whoAmI(kube)
      const account = '/api/v1/namespaces/mcm-system/serviceaccounts'
      const before = await asAdmin('GET', `${account}/mcm-impersonator`)
      await asAdmin('DELETE', `${account}/mcm-impersonator`)
      const metadata = {
        name: 'mcm-impersonator',
        namespace: 'mcm-system',
        labels: before.metadata.labels,
      }
      await asAdmin('POST', account, { apiVersion: 'v1', kind: 'ServiceAccount', metadata })
      const codes = new Set<number>()
      await expect
        .poll(
          async () => {
            const answer = await api.request({ method: 'GET', path: CONFIG_MAPS })
            for await (const _ of answer.body);
            codes.add(answer.status)
            return answer.status
          },
          { timeout: 15_000 },
        )
        .toBe(200)
      expect([...codes].filter((code) => code !== 200 && code !== 503)).toEqual([])
      api.close()
    })

    test('when the API server restarts, sessions live on and work again', async () => {
      const { api, kube } = await session(alice)
      await whoAmI(kube)
      await server.restart()
      await expect
        .poll(
          () =>
            whoAmI(kube).then(
              ({ username }) => username,
              () => '',
            ),
          { timeout: 60_000, interval: 500 },
        )
        .toBe('mcm:alice')
      api.close()
    })

    test('no key and no token was logged', () => {
      const text = JSON.stringify([log.lines, audit])
      expect(text).not.toMatch(/PRIVATE KEY|eyJ[A-Za-z0-9_-]{20}|S{43}/)
      expect(log.lines.filter(({ level }) => level === 'error')).toEqual([])
    })
  })
})
