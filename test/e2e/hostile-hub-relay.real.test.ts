import { once } from 'node:events'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { clusterHost, enrolmentHost } from '../../src/protocol/names.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { type HostileHub, relayHonestly } from './hostile-hub.ts'
import {
  createRequest,
  exchange,
  getRequest,
  openSession,
  readStaticAccess,
  type StaticAccess,
} from './hostile-hub-session.ts'
import {
  CLUSTER,
  CONTEXT,
  hubHasAgent,
  identityOf,
  openVictim,
  type Victim,
} from './hostile-hub-stage.ts'
import {
  Crossing,
  flipByte,
  joinStreams,
  type RecordFate,
  recording,
  relayTampering,
  relayTruncating,
  swapFullRecords,
  toSecondFullRecord,
  untouched,
} from './hostile-hub-tampering.ts'

const skip = skipLoudly('a hostile hub that tampers', await apiServerIsPossible('1.36.3'))
const KILOBYTES = 100
const ATTEMPTS = 24
const WHO = '/apis/authentication.k8s.io/v1/selfsubjectreviews'

describe.skipIf(skip)('a hub that cannot read the inner layer and', () => {
  let victim: Victim
  let hub: HostileHub
  let other: ApiServer
  let otherId: string
  let alice: StaticAccess
  let bob: StaticAccess

  beforeAll(async () => {
    other = await startApiServer({ version: '1.36.3' })
    victim = await openVictim({
      hubHost: '127.0.0.1',
      modes: ['static'],
      prepare: async (stage, owner) => {
        await stage.addCluster(owner, 'other', other)
        const grant = ['--cluster', CLUSTER, '--role', 'ns-ro', '--namespace', 'default']
        const person = await stage.join(owner, 'bob', grant)
        bob = await readStaticAccess(await person.kubeconfig('static'), CONTEXT)
      },
    })
    alice = await readStaticAccess(victim.kubeconfig('static'), CONTEXT)
    otherId = (await identityOf(other)).clusterId
    hub = await victim.turnHostile()
    await hubHasAgent(hub, otherId)
  })
  afterAll(async () => {
    await victim?.stop()
    await other?.stop()
  })
  beforeEach(() => {
    hub.deed = relayHonestly
  })

  /** What people did, as the API server has audited it: creations that succeeded, all creations, all requests. */
  async function audited(cluster = victim.cluster) {
    const events = (await cluster.auditEvents()).filter(({ stage, impersonatedUser }) => {
      return stage === 'ResponseComplete' && impersonatedUser?.username.startsWith('mcm:')
    })
    const creations = events.filter(
      ({ verb, objectRef }) => verb === 'create' && objectRef?.resource === 'configmaps',
    )
    const created = creations.filter(({ responseStatus }) => (responseStatus?.code ?? 500) < 300)
    return { created: created.length, creations: creations.length, requests: events.length }
  }

  async function configMap(name: string) {
    hub.deed = relayHonestly
    const path = `/api/v1/namespaces/default/configmaps/${name}`
    return exchange(await openSession(alice), [getRequest(alice, path)])
  }

  async function create(metadata: string) {
    return exchange(await openSession(alice), createRequest(alice, metadata, KILOBYTES))
  }

  describe('changes what a person sends', () => {
    test('carries a long request whole as long as it changes nothing', async () => {
      hub.deed = relayTampering(untouched)
      const before = await audited()
      expect(await create('name: whole')).toMatchObject({ status: 201, failure: undefined })
      const { text } = await configMap('whole')
      expect(text.match(/"entry-\d{4}":/g)).toHaveLength(KILOBYTES)
      await expect.poll(async () => (await audited()).created).toBe(before.created + 1)
    })

    const changes: readonly (readonly [string, () => RecordFate])[] = [
      ['flips one bit in the middle', () => toSecondFullRecord((record) => [flipByte(record)])],
      [
        'flips one bit of a record’s header',
        () => toSecondFullRecord((record) => [flipByte(record, 2)]),
      ],
      ['drops a record', () => toSecondFullRecord(() => [])],
      ['says a record twice', () => toSecondFullRecord((record) => [record, record])],
      ['swaps two records', swapFullRecords],
    ]
    test.each(changes)('that %s: nothing is executed, in whole or in part', async (_, fate) => {
      hub.deed = relayTampering(fate())
      const before = await audited()
      const { status } = await create('name: victim')
      expect([undefined, 400, 500, 502, 503, 504]).toContain(status)
      expect(await configMap('victim')).toMatchObject({ status: 404 })
      expect((await audited()).created).toBe(before.created)
    })

    test.each([
      ['half-closes it', (agent: { end(): void }) => agent.end()],
      ['tears it', (agent: { destroy(): void }) => agent.destroy()],
    ])('and %s in the middle: nothing is executed in part', async (_, end) => {
      hub.deed = relayTruncating(end)
      const before = await audited()
      const { status } = await create('name: victim')
      expect([undefined, 400, 500, 502, 503, 504]).toContain(status)
      expect(await configMap('victim')).toMatchObject({ status: 404 })
      expect((await audited()).created).toBe(before.created)
    })

    describe('and says a whole small request twice', () => {
      const REQUEST_BYTES = 3_200
      const body = '{"metadata":{"generateName":"twice-"}}'
      const request = () =>
        `POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: ${alice.clusterHost}\r\n` +
        `X-Padding: ${'p'.repeat(3_000)}\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${body.length}\r\n\r\n${body}`
      const isRequest = ({ length }: Buffer) => length >= REQUEST_BYTES && length < 3_500

      test('at once: it is not executed twice', async () => {
        const before = await audited()
        hub.deed = relayTampering((record) => (isRequest(record) ? [record, record] : [record]))
        const { text } = await exchange(await openSession(alice), [request()])
        expect(text.match(/HTTP\/1\.1 201/g)?.length ?? 0).toBeLessThanOrEqual(1)
        expect((await audited()).creations - before.creations).toBeLessThanOrEqual(1)
      })

      test('the second time after its answer: it is executed once, and the connection ends', async () => {
        const before = await audited()
        let sayAgain = () => {}
        hub.deed = async ({ authority, client }, self) => {
          const agent = await self.toAgent(authority)
          const listen: RecordFate = (record) => {
            const copy = Buffer.from(record)
            if (isRequest(record)) sayAgain = () => agent.write(copy)
            return [record]
          }
          joinStreams(client, agent, listen, untouched)
        }
        const session = await openSession(alice)
        const answer = exchange(session, [request()])
        await once(session, 'data')
        sayAgain()
        const { text } = await answer
        expect(text.match(/HTTP\/1\.1 201/g)).toHaveLength(1)
        await expect.poll(async () => (await audited()).created).toBe(before.created + 1)
        expect((await audited()).creations).toBe(before.creations + 1)
      })
    })
  })

  describe('changes what a cluster answers', () => {
    test.each<readonly [string, () => RecordFate]>([
      ['flips one bit', () => toSecondFullRecord((record) => [flipByte(record)])],
      ['drops a record', () => toSecondFullRecord(() => [])],
      ['says a record twice', () => toSecondFullRecord((record) => [record, record])],
      ['swaps two records', swapFullRecords],
    ])('and %s: nobody takes it for an answer', async (_, fate) => {
      const path = '/api/v1/namespaces/default/configmaps/whole'
      const whole = await exchange(await openSession(alice), [getRequest(alice, path)])
      hub.deed = relayTampering(untouched, fate())
      const { text, failure } = await exchange(await openSession(alice), [getRequest(alice, path)])
      expect(failure).toBeDefined()
      expect(text.length).toBeLessThan(whole.text.length)
      hub.deed = relayTampering(untouched, fate())
      const args = ['get', 'configmap', 'whole', '-o', 'json']
      const result = await victim.kubectl('1.36.3', victim.kubeconfig('static'), args)
      expect(result).toMatchObject({ stdout: '', exitCode: 1 })
    })
  })

  test('flips bits anywhere: what kubectl says it created is there, and nothing is tried twice', async () => {
    const before = await audited()
    const said: string[] = []
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const at = Math.floor(attempt / 2)
      const fate: RecordFate = (record, index) => [index === at ? flipByte(record) : record]
      hub.deed = attempt % 2 ? relayTampering(fate) : relayTampering(untouched, fate)
      const args = ['create', 'configmap', `flip-${attempt}`, '-o', 'name']
      const { stdout } = await victim.kubectl('1.36.3', victim.kubeconfig('static'), args)
      if (stdout !== '') said.push(stdout.trim())
    }
    hub.deed = relayHonestly
    const list = ['get', 'configmaps', '-o', 'name']
    const { stdout } = await victim.kubectl('1.36.3', victim.kubeconfig('static'), list)
    const there = stdout.split('\n').filter((name) => name.startsWith('configmap/flip-'))
    expect(there).toEqual(expect.arrayContaining(said))
    await expect.poll(async () => (await audited()).created - before.created).toBe(there.length)
    expect((await audited()).creations - before.creations).toBe(there.length)
    expect(said.length).toBeLessThan(ATTEMPTS)
    console.info(
      `${ATTEMPTS} tampered creations: kubectl tells of ${said.length}, made ${there.length}`,
    )
  })

  describe('has recorded a session', () => {
    test('cannot have a request of it executed again', async () => {
      const recorded: Buffer[] = []
      hub.deed = relayTampering(recording(recorded))
      expect(await create('generateName: replay-')).toMatchObject({ status: 201 })
      await expect.poll(async () => (await audited()).requests).toBeGreaterThan(0)
      const before = await audited()
      const replays = Array.from({ length: 3 }, async () => {
        const agent = await hub.toAgent(`${alice.clusterHost}:443`)
        agent.on('error', () => {}).resume()
        for (const record of recorded) agent.write(record)
        await new Promise((resolve) => agent.once('close', resolve))
      })
      await Promise.all(replays)
      expect(await audited()).toEqual(before)
    })

    test('cannot have a certificate of it issued again', async () => {
      const recorded: Buffer[] = []
      hub.deed = async (caught, self) => {
        const isEnrolment = caught.authority.startsWith('enrol.')
        const fate = isEnrolment ? recording(recorded) : untouched
        joinStreams(caught.client, await self.toAgent(caught.authority), fate, untouched)
      }
      const issued = () => {
        const { stderr } = victim.stage.agents.get(`${CLUSTER}/a`)!
        return stderr.split('certificate_issued').length - 1
      }
      const login = await victim.alice.mcm(['login', '--json'])
      expect(login.exitCode).toBe(0)
      expect(recorded.length).toBeGreaterThan(2)
      const before = issued()
      const agent = await hub.toAgent(`${enrolmentHost(victim.clusterId)}:443`)
      agent.on('error', () => {}).resume()
      for (const record of recorded) agent.write(record)
      await new Promise((resolve) => agent.once('close', resolve))
      expect(issued()).toBe(before)
      alice = await readStaticAccess(await victim.alice.kubeconfig('static'), CONTEXT)
    })
  })

  describe('connects streams crosswise', () => {
    test('between two clusters: refused', async () => {
      hub.deed = async ({ client }, self) =>
        joinStreams(client, await self.toAgent(`${clusterHost(otherId)}:443`), untouched, untouched)
      const before = await Promise.all([audited(), audited(other)])
      await expect(openSession(alice)).rejects.toThrow('cannot be reached')
      const kubectl = await victim.kubectl('1.36.3', victim.kubeconfig('static'), [
        'get',
        '--raw',
        '/api',
      ])
      expect(kubectl).toMatchObject({ stdout: '', exitCode: 1 })
      expect(await Promise.all([audited(), audited(other)])).toEqual(before)
    })

    test('to the enrolment of the same cluster: refused', async () => {
      const enrolment = `${enrolmentHost(victim.clusterId)}:443`
      hub.deed = async ({ client }, self) =>
        joinStreams(client, await self.toAgent(enrolment), untouched, untouched)
      await expect(openSession(alice)).rejects.toThrow('cannot be reached')
    })

    test.each(['to the agent', 'to the people'] as const)(
      'between two people in the middle of their sessions, %s: both end, nothing is executed or shown',
      async (direction) => {
        const crossing = new Crossing()
        hub.deed = crossing.deed
        const sessions = [await openSession(alice), await openSession(bob)]
        const before = await audited()
        crossing.cross(direction)
        const path = '/api/v1/namespaces/default/configmaps/whole'
        const answers = await Promise.all(
          sessions.map((session, index) =>
            exchange(session, [getRequest([alice, bob][index]!, path)]),
          ),
        )
        expect(answers).toMatchObject([
          { status: undefined, text: '' },
          { status: undefined, text: '' },
        ])
        if (direction === 'to the agent') expect(await audited()).toEqual(before)
      },
    )

    test('between nobody: two people’s sessions side by side are answered, each as themselves', async () => {
      hub.deed = new Crossing().deed
      const body = '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'
      const names = await Promise.all(
        [alice, bob].map(async (access) => {
          const request =
            `POST ${WHO} HTTP/1.1\r\nHost: ${access.clusterHost}\r\nContent-Type: application/json\r\n` +
            `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`
          const { text } = await exchange(await openSession(access), [request])
          return /"username":"([^"]+)"/.exec(text)?.[1]
        }),
      )
      expect(names).toEqual(['mcm:alice', 'mcm:bob'])
    })
  })

  test.each([
    '127.0.0.1:443',
    'kubernetes.default.svc:443',
    'c-aaaaaaaaaa.clusters.mcm.internal:443',
  ])('asks an agent for %s: it connects to nothing but itself', async (authority) => {
    await expect(hub.toAgent(authority, victim.clusterId)).rejects.toThrow()
    const api = `127.0.0.1:${victim.cluster.port}`
    await expect(hub.toAgent(api, victim.clusterId)).rejects.toThrow()
    // And goes on serving.
    expect((await configMap('whole')).status).toBe(200)
  })
})
