/** What streams do to real agent, hub and proxy processes, before an API server that pours and swallows as told. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LongRunning } from './program.ts'
import { Stage } from './stage.ts'
import { answerOf, ask, type Endpoint, endpointOf, exec, get } from './streams-client.ts'

const FIXTURES = join(import.meta.dirname, 'fixtures')
const MEBIBYTE = 1024 * 1024
const UPLOAD_BYTES = 300 * MEBIBYTE

describe('streams through mcm proxy, hub and agent', () => {
  let directory: string
  let apiServer: LongRunning
  let stage: Stage
  let kubeconfig: string
  let endpoint: Endpoint
  const programs = new Map<string, number>()

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'mcm-test-streams-'))
    apiServer = new LongRunning(process.execPath, [join(FIXTURES, 'streams-api-server.ts')], {})
    const [line] = await apiServer.shows(/^\{.*\}$/m)
    const adminKubeconfig = join(directory, 'admin')
    await writeFile(adminKubeconfig, JSON.parse(line).kubeconfig, { mode: 0o600 })
    stage = await Stage.open()
    const alice = await stage.found()
    await stage.addCluster(alice, 'streams', { adminKubeconfig })
    const proxy = alice.start(['proxy'])
    await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
    kubeconfig = await alice.kubeconfig('proxy')
    endpoint = await endpointOf(kubeconfig)
    programs.set('proxy', proxy.child.pid!)
    programs.set('hub', stage.hub.child.pid!)
    programs.set('agent', stage.agents.get('streams/a')!.child.pid!)
    expect((await get(endpoint, '/version')).status).toBe(200)
  })
  afterAll(async () => {
    await stage?.close()
    await apiServer?.stop('SIGKILL')
    await rm(directory, { recursive: true, force: true })
  })

  async function ofEach(measure: (pid: number) => Promise<number>) {
    const entries = [...programs].map(async ([name, pid]) => [name, await measure(pid)] as const)
    return Object.fromEntries(await Promise.all(entries))
  }
  const descriptors = () => ofEach(async (pid) => (await readdir(`/proc/${pid}/fd`)).length)
  const residentBytes = () =>
    ofEach(async (pid) => {
      const status = await readFile(`/proc/${pid}/status`, 'utf8')
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024
    })
  const seen = async (id: string): Promise<{ requests: number; open: number }> =>
    JSON.parse((await get(endpoint, `/streams/seen?id=${id}`)).text)

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

  test('a body of hundreds of megabytes passes with flat memory', async () => {
    const before = await residentBytes()
    const request = ask(endpoint, '/streams/count?id=upload', { method: 'PATCH' })
    const answered = answerOf(request)
    const piece = Buffer.alloc(256 * 1024)
    let peak = before
    for (let sent = 0; sent < UPLOAD_BYTES; sent += piece.length) {
      if (!request.write(piece)) await once(request, 'drain')
      if (sent % (32 * MEBIBYTE) === 0) peak = highest(peak, await residentBytes())
    }
    request.end()
    const { bytes } = JSON.parse((await answered).text)
    expect(bytes).toBe(UPLOAD_BYTES)
    console.info('resident memory', inMebibytes(before), '->', inMebibytes(peak))
    for (const [name, size] of Object.entries(peak))
      expect(size - before[name]!).toBeLessThan(128 * MEBIBYTE)
    expect(await seen('upload')).toEqual({ requests: 1, open: 0 })
  })

  test('a hundred readers that stand still cost bounded memory, and another stream goes on', async () => {
    const before = await residentBytes()
    const streams = await Promise.all(Array.from({ length: 100 }, () => exec(endpoint, 'pour')))
    for (const stream of streams) stream.pause()
    const neighbour = await exec(endpoint, 'echo')
    for (let count = 0; count < 100; count += 1) {
      neighbour.write('k')
      await once(neighbour, 'data')
    }
    const after = await residentBytes()
    console.info('resident memory', inMebibytes(before), '->', inMebibytes(after))
    for (const [name, size] of Object.entries(after))
      expect(size - before[name]!).toBeLessThan(256 * MEBIBYTE)
    for (const stream of [...streams, neighbour]) stream.destroy()
  })

  test('a thousand clients killed in the middle of a stream leave no socket anywhere', async () => {
    const crowd = async () => {
      const args = [join(FIXTURES, 'streams-crowd.ts'), kubeconfig, 'pour', '50']
      const clients = new LongRunning(process.execPath, args, {})
      await clients.shows(/^open$/m)
      await clients.stop('SIGKILL')
      await expect.poll(async () => (await seen('crowd')).open, { timeout: 30_000 }).toBe(0)
    }
    await crowd()
    const before = await descriptors()
    for (let round = 0; round < 20; round += 1) await crowd()
    expect((await seen('crowd')).requests).toBe(21 * 50)
    await expect
      .poll(async () => excess(await descriptors(), before), { timeout: 30_000 })
      .toBeLessThanOrEqual(10)
  })
})

type Sizes = Readonly<Record<string, number>>

function highest(left: Sizes, right: Sizes): Sizes {
  return Object.fromEntries(
    Object.entries(left).map(([name, size]) => [name, Math.max(size, right[name]!)]),
  )
}

/** The most that any program has more than before. */
function excess(now: Sizes, before: Sizes): number {
  return Math.max(...Object.entries(now).map(([name, count]) => count - before[name]!))
}

function inMebibytes(sizes: Sizes): string {
  const texts = Object.entries(sizes).map(
    ([name, size]) => `${name} ${Math.round(size / MEBIBYTE)}`,
  )
  return `${texts.join(', ')} MiB`
}
