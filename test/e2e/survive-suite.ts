/**
 * What must survive when the way between `mcm proxy` and the agent breaks: streams of real kubectl, which neither it
 * nor the API server may notice. The same for every cluster in which pods run.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { LongRunning, MCM, runForBytes, runProgram } from './program.ts'
import type { Person } from './stage.ts'
import { type StreamCluster, transportEnv } from './stream-suite.ts'
import {
  type Env,
  startCounting,
  startFollowing,
  startForwarding,
  startWatching,
  type UnderWay,
} from './survive-streams.ts'
import { Way } from './survive-way.ts'

export interface SurviveSuiteOptions {
  readonly title: string
  readonly start: () => Promise<StreamCluster>
  /** How long a path stands still without a word, in the test for that; 0 leaves it out. */
  readonly frozenMs: number
  /** Whether the hub can come back at another address. */
  readonly movesHub: boolean
  /** Tells all agents to stop, as a rollout does, and has others come. */
  readonly replaceAgents: (cluster: StreamCluster) => Promise<void>
  readonly skip?: boolean
}

const KUBECTL = '1.36.3'

/** Somebody who reaches the cluster through a `mcm proxy` of their own, over a network that can fail. */
interface Traveller {
  readonly person: Person
  readonly way: Way
  readonly proxy: LongRunning
  readonly env: Env
}

export function surviveSuite(options: SurviveSuiteOptions): void {
  describe.skipIf(options.skip ?? false)(options.title, () => {
    let cluster: StreamCluster
    let scratch: string
    let kubectl: string
    let sam: Traveller
    const travellers: Traveller[] = []

    beforeAll(async () => {
      scratch = await mkdtemp(join(tmpdir(), 'mcm-test-survive-'))
      kubectl = await kubectlPath(KUBECTL)
      cluster = await options.start()
      sam = await travel('sam')
    })

    afterAll(async () => {
      for (const { proxy, way } of travellers) {
        await proxy.stop('SIGKILL')
        way.close()
      }
      await cluster?.close()
      await rm(scratch, { recursive: true, force: true })
    })

    async function travel(name: string): Promise<Traveller> {
      const { stage, owner, name: clusterName } = cluster
      const person = await stage.join(owner, name, ['--cluster', clusterName, '--role', 'admin'])
      const way = await Way.open()
      const env = { ...person.env, HTTPS_PROXY: way.url, NO_PROXY: '', no_proxy: '' }
      const proxy = new LongRunning(process.execPath, [MCM, 'proxy'], env)
      await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
      const kubeconfig = join(scratch, name)
      await person.must(['kubeconfig', '--all', '--mode', 'proxy', '--output', kubeconfig])
      const traveller = { person, way, proxy, env: { ...person.env, KUBECONFIG: kubeconfig } }
      travellers.push(traveller)
      return traveller
    }

    const admin = (...args: string[]) =>
      runKubectl(KUBECTL, args, { kubeconfig: cluster.adminKubeconfig, timeoutMs: 60_000 })
    const touch = async (name: string) => {
      const { exitCode, stderr } = await admin('create', 'configmap', name)
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    }

    async function startAll({ env }: Traveller): Promise<UnderWay[]> {
      const [websocket, spdy] = [transportEnv('websocket'), transportEnv('spdy')]
      return Promise.all([
        startCounting(kubectl, { ...env, ...websocket }, 'exec over WebSocket'),
        startCounting(kubectl, { ...env, ...spdy }, 'exec over SPDY'),
        startFollowing(kubectl, env),
        startWatching(kubectl, env, touch),
        startForwarding(kubectl, { ...env, ...websocket }),
        startForwarding(kubectl, { ...env, ...spdy }),
      ])
    }

    async function allGoOn(streams: readonly UnderWay[], what: string): Promise<void> {
      const began = performance.now()
      await Promise.all(
        streams.map(async ({ name, goesOn, program }) => {
          try {
            await goesOn()
          } catch (error) {
            const { stdout, stderr } = program
            throw new Error(`${name}: ${stdout.slice(-300)}\n${stderr}`, { cause: error })
          }
        }),
      )
      console.info(`${what}: all streams go on after ${Math.round(performance.now() - began)} ms`)
    }

    const endAll = (streams: readonly UnderWay[]) =>
      Promise.all(streams.map((stream) => stream.end()))
    const run = ({ env }: Traveller, args: readonly string[]) => runProgram(kubectl, args, { env })
    const suspensions = ({ proxy }: Traveller) =>
      proxy.stderr.match(/session_suspended/g)?.length ?? 0

    test('the network breaks off, twice, and is away for some seconds', async () => {
      const streams = await startAll(sam)
      sam.way.cut()
      await allGoOn(streams, 'cut')
      expect(suspensions(sam)).toBeGreaterThan(0)
      sam.way.down()
      await sleep(5_000)
      sam.way.up()
      await allGoOn(streams, 'away for 5 s')
      await endAll(streams)
    })

    test('the hub is killed and started again', async () => {
      const { stage } = cluster
      const streams = await startAll(sam)
      await stage.hub.stop('SIGKILL')
      await sleep(3_000)
      await stage.startHub()
      await allGoOn(streams, 'hub killed, 3 s later started')
      await endAll(streams)
    })

    test.skipIf(!options.movesHub)(
      'the hub goes and another comes at another of its addresses',
      async () => {
        const streams = await startAll(sam)
        await cluster.stage.moveHub()
        await allGoOn(streams, 'hub at another address')
        await endAll(streams)
      },
    )

    test('agents that are told to stop say so: nobody waits for them', async () => {
      const stream = await startCounting(kubectl, sam.env, 'exec')
      const began = performance.now()
      await options.replaceAgents(cluster)
      expect(await stream.program.ended).not.toBe(0)
      expect(stream.program.stderr).toContain('the agent was stopped')
      console.info(`agents replaced: exec ended after ${Math.round(performance.now() - began)} ms`)
      await expect
        .poll(async () => (await run(sam, ['get', 'pods'])).exitCode, { timeout: 60_000 })
        .toBe(0)
    })

    test.skipIf(options.frozenMs === 0)(
      'the path stands still, without a word, for longer than any client waits for a pong',
      async () => {
        const streams = await startAll(sam)
        sam.way.freeze()
        await sleep(options.frozenMs)
        for (const { name, program } of streams)
          expect([name, program.child.exitCode, program.stderr]).toEqual([name, null, ''])
        sam.way.thaw()
        await allGoOn(streams, `frozen for ${options.frozenMs / 1000} s`)
        await endAll(streams)
      },
    )

    test('sixty megabytes there and back pass three broken connections, byte for byte', async () => {
      const input = randomBytes(60_000_000)
      const before = suspensions(sam)
      const copying = runForBytes(kubectl, ['exec', '-i', 'shell', '--', 'cat'], {
        env: sam.env,
        input,
        timeoutMs: 120_000,
      })
      for (let cuts = 0; cuts < 3; cuts++) {
        await sleep(400)
        sam.way.cut()
      }
      const { stdout, stderr, exitCode } = await copying
      expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 })
      expect(stdout.equals(input)).toBe(true)
      expect(suspensions(sam)).toBeGreaterThan(before)
    })

    test('whoever is revoked while their path is broken is out, at both ends, and hears why', async () => {
      const eve = await travel('eve')
      const stream = await startCounting(kubectl, eve.env, 'exec')
      eve.way.down()
      await expect.poll(() => suspensions(eve)).toBeGreaterThan(0)
      await cluster.owner.must(['revoke', 'eve', '--yes'])
      eve.way.up()
      expect(await stream.program.ended).not.toBe(0)
      expect(stream.program.stderr).toMatch(/has been revoked|no longer stands/)
      expect(eve.proxy.stderr).toMatch(/(has been revoked|no longer stands).*session_ended/)
    })

    test('whoever is revoked while a stream runs hears why, and within a second or two', async () => {
      const kim = await travel('kim')
      const stream = await startCounting(kubectl, kim.env, 'exec')
      await cluster.owner.must(['revoke', 'kim', '--yes'])
      expect(await stream.program.ended).not.toBe(0)
      expect(stream.program.stderr).toMatch(/kim was revoked at/)
    })

    test('a request that has no answer yet is not lost with its connection', async () => {
      const gets = Array.from({ length: 5 }, () => run(sam, ['get', 'pods', '-o', 'name']))
      sam.way.cut()
      for (const { exitCode, stderr } of await Promise.all(gets))
        expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    })
  })
}
