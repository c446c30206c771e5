import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { clusterHost, enrolmentHost } from '../../src/protocol/names.ts'
import { apiServerIsPossible } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { relayHonestly } from './hostile-hub.ts'
import { exchange, getRequest, openSession, readStaticAccess } from './hostile-hub-session.ts'
import { CLUSTER, CONTEXT } from './hostile-hub-stage.ts'
import {
  Crossing,
  joinStreams,
  recording,
  relayTampering,
  untouched,
} from './hostile-hub-tampering.ts'
import { TwoPeople } from './hostile-hub-two-people.ts'

const skip = skipLoudly('a hostile hub that misdirects', await apiServerIsPossible('1.36.3'))
const WHO = '/apis/authentication.k8s.io/v1/selfsubjectreviews'

describe.skipIf(skip)('a hub that cannot read the inner layer and', () => {
  let two: TwoPeople
  beforeAll(async () => {
    two = await TwoPeople.open()
    expect(await two.create('name: whole')).toMatchObject({ status: 201 })
  })
  afterAll(() => two?.close())
  beforeEach(() => {
    two.hub.deed = relayHonestly
  })

  describe('has recorded a session', () => {
    test('cannot have a request of it executed again', async () => {
      const recorded: Buffer[] = []
      two.hub.deed = relayTampering(recording(recorded))
      expect(await two.create('generateName: replay-')).toMatchObject({ status: 201 })
      await expect.poll(async () => (await two.audited()).requests).toBeGreaterThan(0)
      const before = await two.audited()
      const replays = Array.from({ length: 3 }, async () => {
        const agent = await two.hub.toAgent(`${two.alice.clusterHost}:443`)
        agent.on('error', () => {}).resume()
        for (const record of recorded) agent.write(record)
        await new Promise((resolve) => agent.once('close', resolve))
      })
      await Promise.all(replays)
      expect(await two.audited()).toEqual(before)
    })

    test('cannot have a certificate of it issued again', async () => {
      const recorded: Buffer[] = []
      two.hub.deed = async (caught, self) => {
        const isEnrolment = caught.authority.startsWith('enrol.')
        const fate = isEnrolment ? recording(recorded) : untouched
        joinStreams(caught.client, await self.toAgent(caught.authority), fate, untouched)
      }
      const issued = () => {
        const { stderr } = two.victim.stage.agents.get(`${CLUSTER}/a`)!
        return stderr.split('certificate_issued').length - 1
      }
      const login = await two.victim.alice.mcm(['login', '--json'])
      expect(login.exitCode).toBe(0)
      expect(recorded.length).toBeGreaterThan(2)
      const before = issued()
      const agent = await two.hub.toAgent(`${enrolmentHost(two.victim.clusterId)}:443`)
      agent.on('error', () => {}).resume()
      for (const record of recorded) agent.write(record)
      await new Promise((resolve) => agent.once('close', resolve))
      expect(issued()).toBe(before)
      two.alice = await readStaticAccess(await two.victim.alice.kubeconfig('static'), CONTEXT)
    })
  })

  describe('connects streams crosswise', () => {
    test('between two clusters: refused', async () => {
      two.hub.deed = async ({ client }, self) =>
        joinStreams(
          client,
          await self.toAgent(`${clusterHost(two.otherId)}:443`),
          untouched,
          untouched,
        )
      const before = await Promise.all([two.audited(), two.audited(two.other)])
      await expect(openSession(two.alice)).rejects.toThrow('cannot be reached')
      const kubectl = await two.victim.kubectl('1.36.3', two.victim.kubeconfig('static'), [
        'get',
        '--raw',
        '/api',
      ])
      expect(kubectl).toMatchObject({ stdout: '', exitCode: 1 })
      expect(await Promise.all([two.audited(), two.audited(two.other)])).toEqual(before)
    })

    test('to the enrolment of the same cluster: refused', async () => {
      const enrolment = `${enrolmentHost(two.victim.clusterId)}:443`
      two.hub.deed = async ({ client }, self) =>
        joinStreams(client, await self.toAgent(enrolment), untouched, untouched)
      await expect(openSession(two.alice)).rejects.toThrow('cannot be reached')
    })

    test.each(['to the agent', 'to the people'] as const)(
      'between two people in the middle of their sessions, %s: both end, nothing is executed or shown',
      async (direction) => {
        const crossing = new Crossing()
        two.hub.deed = crossing.deed
        const sessions = [await openSession(two.alice), await openSession(two.bob)]
        const before = await two.audited()
        crossing.cross(direction)
        const path = '/api/v1/namespaces/default/configmaps/whole'
        const answers = await Promise.all(
          sessions.map((session, index) =>
            exchange(session, [getRequest([two.alice, two.bob][index]!, path)]),
          ),
        )
        expect(answers).toMatchObject([
          { status: undefined, text: '' },
          { status: undefined, text: '' },
        ])
        if (direction === 'to the agent') expect(await two.audited()).toEqual(before)
      },
    )

    test('between nobody: two people’s sessions side by side are answered, each as themselves', async () => {
      two.hub.deed = new Crossing().deed
      const body = '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'
      const names = await Promise.all(
        [two.alice, two.bob].map(async (access) => {
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
    await expect(two.hub.toAgent(authority, two.victim.clusterId)).rejects.toThrow()
    const api = `127.0.0.1:${two.victim.cluster.port}`
    await expect(two.hub.toAgent(api, two.victim.clusterId)).rejects.toThrow()
    // And goes on serving.
    expect((await two.configMap('whole')).status).toBe(200)
  })
})
