import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { impersonatorRole } from '../../src/access/impersonator.ts'
import { agentManifest } from '../../src/access/manifest.ts'
import { type AgentConfiguration, configurationFromSecret } from '../../src/agent/configuration.ts'
import { openDirectoryHolder } from '../../src/agent/directory-holder.ts'
import { loadOrCreateIdentity } from '../../src/agent/identity-secret.ts'
import { isListedUser, startListedNames } from '../../src/agent/listed-names.ts'
import { type NewCertificate, type Revoked, startPrincipals } from '../../src/agent/principals.ts'
import { tokenSource } from '../../src/agent/service-token.ts'
import { SECRETS_PATH } from '../../src/agent/state-secret.ts'
import { type ClosableTransport, directTransport } from '../../src/client/direct-transport.ts'
import { type KubernetesApi, openKubernetes } from '../../src/client/kubernetes.ts'
import type { KubernetesObject } from '../../src/kube/object.ts'
import { Secret } from '../../src/secret.ts'
import { ask, collectionPath } from '../access/api-server-client.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { CLUSTER, Fleet } from '../directory/fleet.ts'
import { RecordedLog } from './frozen-world.ts'

const ROLE = '/apis/rbac.authorization.k8s.io/v1/clusterroles/mcm-impersonator'
const world = {
  now: () => new Date(),
  random: (byteCount: number) => crypto.getRandomValues(new Uint8Array(byteCount)),
}

/** One agent process, with the rights of agent.yaml and nothing else. */
interface Replica {
  readonly api: KubernetesApi
  readonly paths: string[]
  readonly log: RecordedLog
  readonly background: { world: typeof world; log: RecordedLog; signal: AbortSignal }
}

function manifest(fleet: Fleet): KubernetesObject[] {
  return agentManifest({
    cluster: CLUSTER,
    hub: { endpoints: ['hub.example.org:8443'], pin: 'p'.repeat(43) },
    fleet: fleet.directory.fleet!,
    joinToken: new Secret('join-token'),
    pairingSecret: new Secret('S'.repeat(43)),
    prefix: 'mcm:',
    owner: 'alice',
  })
}

describe.each(['1.36.3', '1.33.13'] as const)(
  'the agent’s memory on Kubernetes %s',
  async (version) => {
    const skip = skipLoudly(`agent state on ${version}`, await apiServerIsPossible(version))

    describe.skipIf(skip)('with the rights of agent.yaml', () => {
      let server: ApiServer
      let fleet: Fleet
      let a: Replica
      let b: Replica
      let configuration: AgentConfiguration
      const ending = new AbortController()
      const transports: ClosableTransport[] = []

      beforeAll(async () => {
        server = await startApiServer({ version })
        fleet = await Fleet.found()
        for (const object of manifest(fleet)) await createAsAdmin(object)
        ;[a, b] = [await replica(), await replica()]
        configuration = configurationFromSecret(await a.api.get(`${SECRETS_PATH}/mcm-agent`))
      })
      afterAll(async () => {
        ending.abort()
        await Promise.all(transports.map((transport) => transport.close()))
        await server?.stop()
      })

      async function createAsAdmin(object: KubernetesObject): Promise<void> {
        const path = collectionPath(object)
        const created = await ask(server, server.admin, path, { method: 'POST', body: object })
        expect(created, object.metadata.name).toMatchObject({ status: 201 })
      }

      async function replica(): Promise<Replica> {
        const path = '/api/v1/namespaces/mcm-system/serviceaccounts/mcm-agent/token'
        const spec = { expirationSeconds: 3600 }
        const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec }
        const made = await ask(server, server.admin, path, { method: 'POST', body })
        const transport = directTransport({
          scheme: 'https',
          host: server.host,
          port: server.port,
          basePath: '',
          server: server.url,
          caPem: server.caPem,
          insecureSkipTlsVerify: false,
          authorization: async () => new Secret(`Bearer ${made.body.status.token}`),
        })
        transports.push(transport)
        const paths: string[] = []
        const counting = (request: Parameters<ClosableTransport>[0]) => {
          paths.push(`${request.method} ${request.path}`)
          return transport(request)
        }
        const log = new RecordedLog()
        const background = { world, log, signal: ending.signal }
        return { api: openKubernetes(counting), paths, log, background }
      }

      async function principals({ api, background }: Replica, watchSeconds = 15) {
        const options = { cluster: CLUSTER, isIssuer: true, watch: { watchSeconds } }
        const started = startPrincipals(api, options, background)
        const ended: Revoked[] = []
        started.onRevoked((what) => ended.push(what))
        await started.ready
        return { started, ended }
      }

      function certificate(name: string, device = 'L'): NewCertificate {
        const now = Math.floor(Date.now() / 1000) * 1000
        return {
          fingerprint: name.padEnd(43, 'x'),
          serial: Buffer.from(name).toString('hex'),
          device: device.repeat(43),
          deviceSince: new Date(now - 3_600_000),
          notBefore: new Date(now),
          notAfter: new Date(now + 3_600_000),
        }
      }

      const within = (ms: number, assertion: () => void) =>
        vi.waitFor(assertion, { interval: 1, timeout: ms })

      it('reads its configuration from the Secret that was applied', () => {
        expect(configuration).toMatchObject({ cluster: CLUSTER, prefix: 'mcm:' })
        expect(configuration.joinToken?.reveal()).toBe('join-token')
      })

      it('has one identity, however many replicas make one at once', async () => {
        const identities = await Promise.all(
          [a, b, a, b].map(({ api }) => loadOrCreateIdentity(api, configuration, world)),
        )
        expect(new Set(identities.map(({ agentKey }) => agentKey.id)).size).toBe(1)
        expect(new Set(identities.map(({ secret }) => secret.uid)).size).toBe(1)
      })

      it('shows a certificate and its revocation to the other replica within a second', async () => {
        const [one, two] = [await principals(a), await principals(b)]
        await one.started.record('bob', certificate('first'))
        await within(1_000, () =>
          expect(two.started.find(certificate('first').fingerprint)).toMatchObject({ user: 'bob' }),
        )
        await two.started.revoke({ user: 'bob' })
        await within(1_000, () => expect(one.ended).toEqual([{ user: 'bob' }]))
        expect(one.started.find(certificate('first').fingerprint)?.revoked).toBeDefined()
      })

      it('loses nothing when both replicas write one Secret at once', async () => {
        const [one, two] = [await principals(a), await principals(b)]
        const names = Array.from({ length: 20 }, (_, index) => `n${index}`)
        await Promise.all(
          names.map((name, index) =>
            (index % 2 ? one : two).started.record(
              'carol',
              certificate(name, index % 2 ? 'A' : 'B'),
            ),
          ),
        )
        for (const { started } of [one, two])
          await within(2_000, () => expect(started.certificatesOf('carol')).toHaveLength(20))
        const conflicts = (await server.auditEvents()).filter(
          (event) => (event as { responseStatus?: { code?: number } }).responseStatus?.code === 409,
        )
        expect(conflicts.length).toBeGreaterThan(0)
      })

      it('stays fresh where nothing happens: a silent watch is followed by a list, in good order', async () => {
        const lone = await replica()
        const { started } = await principals(lone, 2)
        const count = (part: string) => lone.paths.filter((path) => path.includes(part)).length
        await within(30_000, () => expect(count('watch=1')).toBeGreaterThan(3))
        expect(count('limit=')).toBeLessThanOrEqual(count('watch=1') + 1)
        expect(started.isFresh()).toBe(true)
        expect(lone.log.events()).toEqual([])
      })

      it('follows the names that may be spoken for, and reads no other role', async () => {
        const names = startListedNames(a.api, a.background)
        await names.ready
        expect(names.current().users).toEqual(['mcm:alice'])
        const role = impersonatorRole({ users: ['mcm:alice', 'mcm:bob'], groups: [] })
        const body = role
        await ask(server, server.admin, ROLE, { method: 'PUT', body })
        await within(1_000, () => expect(isListedUser(names.current(), 'mcm:bob')).toBe(true))
        expect((await names.fresh()).users).toEqual(['mcm:alice', 'mcm:bob'])
        expect(names.current().isUnrestricted).toBe(false)
      })

      it('remembers the directory for both replicas', async () => {
        const where = { cluster: CLUSTER, fleet: fleet.directory.fleet! }
        const one = await openDirectoryHolder(a.api, where, a.background)
        const two = await openDirectoryHolder(b.api, where, b.background)
        await fleet.register()
        await fleet.admit('bob')
        await fleet.member('add', 'user', 'bob')
        const { statements, details } = fleet.directory.page(-1)
        await one.apply({ statements, details })
        await within(1_000, () => expect(two.state.isMember('bob', CLUSTER)).toBe(true))
        const later = await openDirectoryHolder(b.api, where, b.background)
        expect(later.head).toEqual(fleet.directory.head)
      })

      async function whoHolds(token: Secret<string>) {
        const spec = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' }
        const path = '/apis/authentication.k8s.io/v1/selfsubjectreviews'
        const caller = { token: token.reveal() }
        return ask(server, caller, path, { method: 'POST', body: spec })
      }

      it('gets a token of the impersonator, bound to its own Secret, that dies with it', async () => {
        const identity = await loadOrCreateIdentity(a.api, configuration, world)
        const tokens = tokenSource(a.api, { boundTo: identity.secret }, world)
        const token = await tokens.current()
        expect((await whoHolds(token)).body.status.userInfo.username).toBe(
          'system:serviceaccount:mcm-system:mcm-impersonator',
        )
        const path = `${SECRETS_PATH}/${identity.secret.name}`
        await ask(server, server.admin, path, { method: 'DELETE' })
        await vi.waitFor(async () => expect((await whoHolds(token)).status).toBe(401), {
          interval: 500,
          timeout: 30_000,
        })
        await expect(tokens.reload()).rejects.toMatchObject({ httpStatus: 503 })
      })

      it('cannot bind that token to its own pod: Kubernetes refuses another account’s pod', async () => {
        const container = { name: 'c', image: 'x' }
        const pod = {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name: 'agent-0', namespace: 'default' },
          spec: { serviceAccountName: 'mcm-agent', containers: [container] },
        }
        await createAsAdmin(pod)
        const account = {
          apiVersion: 'v1',
          kind: 'ServiceAccount',
          metadata: { name: 'mcm-impersonator', namespace: 'default' },
        }
        await createAsAdmin(account)
        const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name: 'agent-0' }
        const asked = await ask(
          server,
          server.admin,
          '/api/v1/namespaces/default/serviceaccounts/mcm-impersonator/token',
          {
            method: 'POST',
            body: {
              apiVersion: 'authentication.k8s.io/v1',
              kind: 'TokenRequest',
              spec: { boundObjectRef },
            },
          },
        )
        expect(asked.status).toBe(400)
        expect(asked.body.message).toContain('different serviceaccount')
      })

      it('is back after the API server was away, with what happened meanwhile', async () => {
        const { started } = await principals(a)
        const names = startListedNames(b.api, b.background)
        await names.ready
        await server.restart()
        const other = await principals(b)
        await other.started.record('dave', certificate('dave'))
        await within(20_000, () =>
          expect(started.find(certificate('dave').fingerprint)).toMatchObject({ user: 'dave' }),
        )
        await within(20_000, () => expect(names.isFresh()).toBe(true))
      })
    })
  },
)
