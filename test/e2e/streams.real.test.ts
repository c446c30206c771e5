/** What streams do to real agent, hub and proxy processes, before an API server that pours and swallows as told. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LongRunning } from './program.ts'
import { type Endpoint, exec, get } from './streams-client.ts'
import { FIXTURES, inMebibytes, MEBIBYTE, type Sizes, StreamsStage } from './streams-stage.ts'

/** An upper bound only. */
const WITHIN = { timeout: 60_000 }
const UPLOAD_BYTES = 3072 * MEBIBYTE

describe('streams through mcm proxy, hub and agent', () => {
  let stage: StreamsStage
  let endpoint: Endpoint

  beforeAll(async () => {
    stage = await StreamsStage.open()
    endpoint = stage.endpoint
  })
  afterAll(() => stage?.close())

  test('three megabytes arrive after the client has said its last word', async () => {
    const stream = await exec(endpoint, 'answer-after-end')
    stream.end('last word')
    expect((await buffer(stream)).length).toBe(3_000_000)
  })

  test('what is sent arrives whole and in order', async () => {
    const stream = await exec(endpoint, 'swallow')
    const bytes = Buffer.alloc(20 * MEBIBYTE)
    for (let index = 0; index < bytes.length; index += 4) bytes.writeUInt32BE(index, index)
    stream.end(bytes)
    const answer = JSON.parse((await buffer(stream)).toString())
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    expect(answer).toEqual({ bytes: bytes.length, sha256 })
  })

  test('a body of three gigabytes passes with flat memory', async () => {
    const { bytes, grown } = await stage.upload(UPLOAD_BYTES)
    expect(bytes).toBe(UPLOAD_BYTES)
    for (const size of Object.values(grown)) expect(size).toBeLessThan(128 * MEBIBYTE)
    expect(await stage.seen('upload')).toEqual({ requests: 1, open: 0 })
  }, 300_000)

  test('a hundred readers that stand still cost bounded memory, and another stream goes on', async () => {
    const before = await stage.residentBytes()
    const streams = await Promise.all(Array.from({ length: 100 }, () => exec(endpoint, 'pour')))
    for (const stream of streams) stream.pause()
    const neighbour = await exec(endpoint, 'echo')
    for (let count = 0; count < 100; count += 1) {
      neighbour.write('k')
      await once(neighbour, 'data')
    }
    const after = await stage.residentBytes()
    console.info('resident memory', inMebibytes(before), '->', inMebibytes(after))
    for (const [name, size] of Object.entries(after))
      expect(size - before[name]!).toBeLessThan(256 * MEBIBYTE)
    for (const stream of [...streams, neighbour]) stream.destroy()
  })

  test('three thousand requests given up at once leave the tunnel, and everybody else’s streams', async () => {
    const bob = await stage.join('bob')
    const neighbours = [await exec(endpoint, 'echo'), await exec(bob, 'echo')]
    const echoes = async () => {
      for (const stream of neighbours) {
        stream.write('k')
        await once(stream, 'data')
      }
    }
    await echoes()
    const seen = () => stage.seen('aborted', bob)
    const before = stage.tunnels()
    const args = [join(FIXTURES, 'streams-aborts.ts'), stage.kubeconfig, 'aborted', '3000']
    const client = new LongRunning(process.execPath, args, {})
    await client.shows(/^sent$/m)
    // As many as one person may have under way; the others are refused, and none is kept waiting.
    await expect.poll(async () => (await seen()).requests, WITHIN).toBeGreaterThan(900)
    await echoes()
    await client.stop('SIGKILL')
    await expect.poll(async () => (await seen()).open, WITHIN).toBe(0)
    await echoes()
    expect(await get(endpoint, '/version')).toMatchObject({ status: 200 })
    expect(stage.tunnels()).toBe(before)
    for (const stream of neighbours) stream.destroy()
  })

  test('a thousand clients killed in the middle of a stream leave no socket anywhere', async () => {
    const crowd = async () => {
      const args = [join(FIXTURES, 'streams-crowd.ts'), stage.kubeconfig, 'pour', '50']
      const clients = new LongRunning(process.execPath, args, {})
      await clients.shows(/^open$/m)
      await clients.stop('SIGKILL')
      await expect.poll(async () => (await stage.seen('crowd')).open, { timeout: 30_000 }).toBe(0)
    }
    await crowd()
    const before = await stage.descriptors()
    for (let round = 0; round < 20; round += 1) await crowd()
    expect((await stage.seen('crowd')).requests).toBe(21 * 50)
    await expect
      .poll(async () => excess(await stage.descriptors(), before), { timeout: 30_000 })
      .toBeLessThanOrEqual(10)
  })
})

/** The most that any program has more than before. */
function excess(now: Sizes, before: Sizes): number {
  return Math.max(...Object.entries(now).map(([name, count]) => count - before[name]!))
}
