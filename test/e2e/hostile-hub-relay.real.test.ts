import { once } from 'node:events'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { apiServerIsPossible } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { relayHonestly } from './hostile-hub.ts'
import { exchange, getRequest, openSession } from './hostile-hub-session.ts'
import {
  flipByte,
  joinStreams,
  type RecordFate,
  relayTampering,
  relayTruncating,
  swapFullRecords,
  toSecondFullRecord,
  untouched,
} from './hostile-hub-tampering.ts'
import { KILOBYTES, TwoPeople } from './hostile-hub-two-people.ts'

const skip = skipLoudly('a hostile hub that tampers', await apiServerIsPossible('1.36.3'))
const ATTEMPTS = 24

describe.skipIf(skip)('a hub that cannot read the inner layer and', () => {
  let two: TwoPeople
  beforeAll(async () => {
    two = await TwoPeople.open()
  })
  afterAll(() => two?.close())
  beforeEach(() => {
    two.hub.deed = relayHonestly
  })

  describe('changes what a person sends', () => {
    test('carries a long request whole as long as it changes nothing', async () => {
      two.hub.deed = relayTampering(untouched)
      const before = await two.audited()
      expect(await two.create('name: whole')).toMatchObject({ status: 201, failure: undefined })
      const { text } = await two.configMap('whole')
      expect(text.match(/"entry-\d{4}":/g)).toHaveLength(KILOBYTES)
      await expect.poll(async () => (await two.audited()).created).toBe(before.created + 1)
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
      two.hub.deed = relayTampering(fate())
      const before = await two.audited()
      const { status } = await two.create('name: victim')
      expect([undefined, 400, 500, 502, 503, 504]).toContain(status)
      expect(await two.configMap('victim')).toMatchObject({ status: 404 })
      expect((await two.audited()).created).toBe(before.created)
    })

    test.each([
      ['half-closes it', (agent: { end(): void }) => agent.end()],
      ['tears it', (agent: { destroy(): void }) => agent.destroy()],
    ])('and %s in the middle: nothing is executed in part', async (_, end) => {
      two.hub.deed = relayTruncating(end)
      const before = await two.audited()
      const { status } = await two.create('name: victim')
      expect([undefined, 400, 500, 502, 503, 504]).toContain(status)
      expect(await two.configMap('victim')).toMatchObject({ status: 404 })
      expect((await two.audited()).created).toBe(before.created)
    })

    describe('and says a whole small request twice', () => {
      const REQUEST_BYTES = 3_200
      const body = '{"metadata":{"generateName":"twice-"}}'
      const request = () =>
        `POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: ${two.alice.clusterHost}\r\n` +
        `X-Padding: ${'p'.repeat(3_000)}\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${body.length}\r\n\r\n${body}`
      const isRequest = ({ length }: Buffer) => length >= REQUEST_BYTES && length < 3_500

      test('at once: it is not executed twice', async () => {
        const before = await two.audited()
        two.hub.deed = relayTampering((record) => (isRequest(record) ? [record, record] : [record]))
        const { text } = await exchange(await openSession(two.alice), [request()])
        expect(text.match(/HTTP\/1\.1 201/g)?.length ?? 0).toBeLessThanOrEqual(1)
        expect((await two.audited()).creations - before.creations).toBeLessThanOrEqual(1)
      })

      test('the second time after its answer: it is executed once, and the connection ends', async () => {
        const before = await two.audited()
        let sayAgain = () => {}
        two.hub.deed = async ({ authority, client }, self) => {
          const agent = await self.toAgent(authority)
          const listen: RecordFate = (record) => {
            const copy = Buffer.from(record)
            if (isRequest(record)) sayAgain = () => agent.write(copy)
            return [record]
          }
          joinStreams(client, agent, listen, untouched)
        }
        const session = await openSession(two.alice)
        const answer = exchange(session, [request()])
        await once(session, 'data')
        sayAgain()
        const { text } = await answer
        expect(text.match(/HTTP\/1\.1 201/g)).toHaveLength(1)
        await expect.poll(async () => (await two.audited()).created).toBe(before.created + 1)
        expect((await two.audited()).creations).toBe(before.creations + 1)
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
      const whole = await exchange(await openSession(two.alice), [getRequest(two.alice, path)])
      two.hub.deed = relayTampering(untouched, fate())
      const { text, failure } = await exchange(await openSession(two.alice), [
        getRequest(two.alice, path),
      ])
      expect(failure).toBeDefined()
      expect(text.length).toBeLessThan(whole.text.length)
      two.hub.deed = relayTampering(untouched, fate())
      const args = ['get', 'configmap', 'whole', '-o', 'json']
      const result = await two.victim.kubectl('1.36.3', two.victim.kubeconfig('static'), args)
      expect(result).toMatchObject({ stdout: '', exitCode: 1 })
    })
  })

  test('flips bits anywhere: what kubectl says it created is there, and nothing is tried twice', async () => {
    const said: string[] = []
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const at = Math.floor(attempt / 2)
      const fate: RecordFate = (record, index) => [index === at ? flipByte(record) : record]
      two.hub.deed = attempt % 2 ? relayTampering(fate) : relayTampering(untouched, fate)
      const name = `flip-${attempt}`
      const args = ['create', 'configmap', name, '-o', 'name', `--field-manager=${name}`]
      const { stdout } = await two.victim.kubectl('1.36.3', two.victim.kubeconfig('static'), args)
      if (stdout !== '') said.push(stdout.trim())
    }
    two.hub.deed = relayHonestly
    const list = ['get', 'configmaps', '-o', 'name']
    const { stdout } = await two.victim.kubectl('1.36.3', two.victim.kubeconfig('static'), list)
    const there = stdout.split('\n').filter((name) => name.startsWith('configmap/flip-'))
    expect(there).toEqual(expect.arrayContaining(said))
    // One torn in its request fails at the API server, one torn in its answer may be audited as failed.
    const triesOf = async () => {
      const tries = await two.creationsByFieldManager()
      return there.map((name) => tries.get(name.replace('configmap/', '')))
    }
    await expect.poll(triesOf).toEqual(there.map(() => 1))
    const tries = [...(await two.creationsByFieldManager())].filter(([by]) =>
      by.startsWith('flip-'),
    )
    expect(tries.filter(([, count]) => count !== 1)).toEqual([])
    expect(said.length).toBeLessThan(ATTEMPTS)
    console.info(
      `${ATTEMPTS} tampered creations: kubectl tells of ${said.length}, made ${there.length}`,
    )
  })
})
