/** Verbs whose stream is the matter: what they carry while they live, and many at once. */
import { randomBytes } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { KubernetesVersion } from '../cluster/kubernetes-version.ts'
import { fallsBack, inEach, type Lane, lanesOf } from './every-way.ts'
import { connectLocal, echoThrough, forwardedPorts } from './forwarded-port.ts'
import { agentImageName, type NodeStage } from './node-stage.ts'
import type { LongRunning } from './program.ts'
import { onePod } from './stream-pods.ts'
import { sha256 } from './ways.ts'

const CONNECTIONS = 50
const ECHO_PORT = 7003

/** @param kubectls the first copies fifty megabytes, the others five */
export function streamVerbSuite(
  stage: () => NodeStage,
  kubectls: readonly KubernetesVersion[],
): void {
  beforeAll(async () => {
    await stage().node.runShellPod({ name: 'plain', command: ['sleep', '100000'] })
    await runEchoPod(stage(), ECHO_PORT)
  })

  describe.each(kubectls)('streams of kubectl %s', (kubectl) => {
    const megabytes = kubectl === kubectls[0] ? 50 : 5
    const lanes = lanesOf(kubectl)
    const dashed = kubectl.replaceAll('.', '-')
    const run = ({ way, env }: Lane, args: readonly string[], input?: string) =>
      stage().ways.kubectl(way, args, { kubectl, env, input, timeoutMs: 120_000 })
    const start = ({ way, env }: Lane, args: readonly string[]): Promise<LongRunning> =>
      stage().ways.start(way, args, { kubectl, env })

    test('the transport is the one that this kubectl chooses by itself, or is told to use', async () => {
      await inEach(lanes, async (lane) => {
        const marker = `chosen-${lane.name}-${dashed}`
        const { stdout } = await run(lane, ['exec', 'plain', '--', 'echo', marker])
        expect(stdout.toString()).toBe(`${marker}\n`)
        const events = await stage().node.auditEvents()
        const verbs = events
          .filter(({ requestURI }) => requestURI.includes(marker))
          .map(({ verb }) => verb)
        expect(new Set(verbs)).toEqual(new Set([expectedVerb(lane)]))
      })
    })

    test('logs -f shows what is said as it is said, to the end', async () => {
      const name = `said-${dashed}`
      const until = (file: string) => `until [ -e ${file} ]; do sleep 0.1; done`
      const script = `echo first; ${until('/tmp/go')}; seq 1 20000; ${until('/tmp/end')}`
      await stage().mustAsAdmin(['create', '-f', '-'], onePod(name, ['sh', '-c', script]))
      await stage().mustAsAdmin(['wait', `pod/${name}`, '--for=condition=Ready', '--timeout=60s'])
      const following = new Map<Lane, LongRunning>()
      await inEach(lanes, async (lane) => {
        const logs = await start(lane, ['logs', '-f', name])
        following.set(lane, logs)
        await logs.shows(/^first\n/)
      })
      await stage().mustAsAdmin(['exec', name, '--', 'touch', '/tmp/go'])
      const whole = `first\n${Array.from({ length: 20_000 }, (_, index) => `${index + 1}\n`).join('')}`
      await inEach(lanes, async (lane) => {
        await following.get(lane)!.shows(/\n20000\n/)
      })
      await stage().mustAsAdmin(['exec', name, '--', 'touch', '/tmp/end'])
      await inEach(lanes, async (lane) => {
        const logs = following.get(lane)!
        expect(await logs.ended).toBe(0)
        expect(logs.stdout === whole).toBe(true)
      })
    })

    test(`port-forward carries ${CONNECTIONS} connections at once, and one reset hurts no other`, async () => {
      await inEach(lanes, async (lane) => {
        const forward = await start(lane, ['port-forward', 'pod/echo', `:${ECHO_PORT}`])
        const [port] = await forwardedPorts(forward, [ECHO_PORT])
        const all = await Promise.all(
          Array.from({ length: CONNECTIONS }, () => connectLocal(port!)),
        )
        await Promise.all(all.map((each) => each.roundTrip(randomBytes(20_000))))
        const [reset, ...others] = all
        await Promise.all([
          reset!.roundTrip(randomBytes(2_000_000)).catch(() => {}),
          ...others.map((each) => each.roundTrip(randomBytes(40_000))),
          Promise.resolve().then(() => reset!.reset()),
        ])
        await Promise.all(others.map((each) => each.roundTrip(randomBytes(20_000))))
        for (const each of others) each.reset()
        await echoThrough(port!, randomBytes(1_000))
        await forward.stop()
      })
    })

    test('wait and get -w see a change, by streaming lists and by plain ones', async () => {
      await inEach(lanes, async (lane) => {
        const name = `changing-${lane.name}-${dashed}`
        await stage().mustAsAdmin(['create', 'configmap', name])
        const condition = [
          'wait',
          `configmap/${name}`,
          '--for=jsonpath={.data.x}=1',
          '--timeout=60s',
        ]
        const env = { KUBE_FEATURE_WatchListClient: 'true' }
        const waiting = [
          await start(lane, condition),
          await start({ ...lane, env: { ...lane.env, ...env } }, condition),
        ]
        const watching = await start(lane, ['get', 'configmap', name, '-w', '-o', 'name'])
        await watching.shows(/configmap\//)
        await stage().mustAsAdmin(['patch', 'configmap', name, '-p', '{"data":{"x":"1"}}'])
        for (const each of waiting) {
          await each.shows(new RegExp(`configmap/${name} condition met`))
          expect(await each.ended).toBe(0)
        }
        await watching.shows(/(configmap\/\S+\n){2}/)
        await watching.stop()
      })
    })

    test(`cp carries ${megabytes} megabytes there and back unchanged`, async () => {
      const content = randomBytes(megabytes * 1_000_000)
      const { scratch } = stage()
      const there = join(scratch, `there-${dashed}`)
      await writeFile(there, content)
      for (const lane of lanes) {
        const remote = `plain:/tmp/copied-${lane.name}-${dashed}`
        const back = join(scratch, `back-${lane.name}-${dashed}`)
        expect(await run(lane, ['cp', there, remote])).toMatchObject({ exitCode: 0 })
        const sum = await run(lane, [
          'exec',
          'plain',
          '--',
          'sha256sum',
          remote.slice('plain:'.length),
        ])
        expect(sum.stdout.toString().split(' ')[0]).toBe(sha256(content))
        // An exec that ends while its reader is late loses its last bytes, also without mcm: hence the retries.
        const down = await run(lane, ['cp', remote, back, '--retries=20'])
        expect(down.exitCode, down.stderr).toBe(0)
        expect(sha256(await readFile(back)), lane.name).toBe(sha256(content))
        await run(lane, ['exec', 'plain', '--', 'rm', remote.slice('plain:'.length)])
        await rm(back)
      }
      await rm(there)
    })
  })
}

/** Many at once want a server with a queue for them, which busybox's `nc` has not: the agent's image has Node. */
async function runEchoPod({ node }: NodeStage, port: number): Promise<void> {
  const program = `require('net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(${port})`
  const command = ['/usr/local/bin/node', '--eval', program]
  await node.runShellPod({ name: 'echo', image: await agentImageName(), command })
}

/** A WebSocket begins with GET, SPDY/3.1 with POST. */
function expectedVerb({ name, way, kubectl }: Lane): 'get' | 'create' {
  return name === 'proxy-spdy' || fallsBack(kubectl, way) ? 'create' : 'get'
}
