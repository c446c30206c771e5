/** What takes more than one command to see: streams that live, many at once, what changes the cluster. */
import { randomBytes } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { request } from 'undici'
import { beforeAll, describe, expect, test } from 'vitest'
import type { KubernetesVersion } from '../cluster/kubernetes-version.ts'
import { SHELL_IMAGE } from '../cluster/pod-images.ts'
import { inEach, type Lane, lanesOf } from './every-way.ts'
import { connectLocal, echoThrough, forwardedPorts } from './forwarded-port.ts'
import { agentImageName, type NodeStage } from './node-stage.ts'
import type { LongRunning } from './program.ts'
import { sha256 } from './ways.ts'

const CONNECTIONS = 50
const ECHO_PORT = 7003

export function verbSuite(stage: () => NodeStage, kubectls: readonly KubernetesVersion[]): void {
  beforeAll(async () => {
    await stage().node.runShellPod({ name: 'plain', command: ['sleep', '100000'] })
    await runEchoPod(stage(), ECHO_PORT)
  })

  describe.each(kubectls)('kubectl %s', (kubectl) => {
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

    test('kubectl proxy passes on what kubectl itself would get, and a watch as it happens', async () => {
      const direct = await stage().ways.kubectl('direct', [
        'get',
        '--raw',
        '/api/v1/nodes/mcm-test',
      ])
      const { uid } = JSON.parse(direct.stdout.toString()).metadata
      await inEach(lanes, async (lane) => {
        // A server with a path, which that of `mcm proxy` is, must be asked for.
        const path = lane.way === 'proxy' ? ['--append-server-path'] : []
        const proxy = await start(lane, ['proxy', '--port=0', ...path])
        const [, port] = await proxy.shows(/Starting to serve on 127\.0\.0\.1:(\d+)/)
        const url = `http://127.0.0.1:${port}/api/v1`
        // Not `fetch`: it calls itself a browser's (Sec-Fetch-Mode), which `mcm proxy` refuses by design.
        const node = await request(`${url}/nodes/mcm-test`)
        expect(await node.body.json()).toMatchObject({ metadata: { uid } })
        const events = `${url}/namespaces/default/configmaps?watch=1&timeoutSeconds=60`
        const watch = (await request(events)).body.setEncoding('utf8')
        const made = `proxied-${lane.name}-${dashed}`
        await stage().mustAsAdmin(['create', 'configmap', made])
        let text = ''
        watch
          .on('error', () => {})
          .on('data', (chunk: string) => {
            text += chunk
          })
        await expect.poll(() => text).toContain(`"name":"${made}"`)
        watch.destroy()
        await proxy.stop()
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

    test('cp carries fifty megabytes there and back unchanged', async () => {
      const content = randomBytes(50_000_000)
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
        expect(await run(lane, ['cp', remote, back])).toMatchObject({ exitCode: 0 })
        expect(sha256(await readFile(back)), lane.name).toBe(sha256(content))
        await run(lane, ['exec', 'plain', '--', 'rm', remote.slice('plain:'.length)])
        await rm(back)
      }
      await rm(there)
    })

    test('rollout status follows a rollout to its end', async () => {
      await inEach(lanes, async (lane) => {
        const name = `rolled-${lane.name}-${dashed}`
        const made = await run(lane, ['create', 'deployment', name, `--image=${SHELL_IMAGE}`])
        expect(made.exitCode).toBe(0)
        const status = await run(lane, ['rollout', 'status', `deployment/${name}`, '--timeout=60s'])
        expect(status.stdout.toString()).toContain(`deployment "${name}" successfully rolled out`)
        const deleted = await run(lane, ['delete', 'deployment', name])
        expect(deleted.exitCode).toBe(0)
      })
    })

    test('drain evicts what it was told to, and uncordon takes pods again', async () => {
      const label = (lane: Lane) => `${lane.name}-${dashed}`
      for (const lane of lanes) {
        const pod = onePod(`drained-${label(lane)}`, ['sleep', '100000'], { drained: label(lane) })
        await stage().mustAsAdmin(['create', '-f', '-'], pod)
      }
      for (const lane of lanes) {
        const chosen = [`--pod-selector=drained=${label(lane)}`, '--force', '--timeout=60s']
        const drained = await run(lane, ['drain', 'mcm-test', ...chosen])
        expect(drained.exitCode, drained.stderr).toBe(0)
        expect(drained.stdout.toString()).toContain(`pod/drained-${label(lane)} evicted`)
        expect(drained.stdout.toString()).toContain('node/mcm-test drained')
        const uncordoned = await run(lane, ['uncordon', 'mcm-test'])
        expect(uncordoned.stdout.toString()).toBe('node/mcm-test uncordoned\n')
      }
    })
  })
}

/** Many at once want a server with a queue for them, which busybox's `nc` has not: the agent's image has Node. */
async function runEchoPod({ node }: NodeStage, port: number): Promise<void> {
  const program = `require('net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(${port})`
  const command = ['/usr/local/bin/node', '--eval', program]
  await node.runShellPod({ name: 'echo', image: await agentImageName(), command })
}

/**
 * A WebSocket begins with GET, SPDY/3.1 with POST. The WebSocket client of kubectl 1.32 cannot speak to an HTTPS proxy,
 * and falls back before it asks anybody.
 */
function expectedVerb({ name, way, kubectl }: Lane): 'get' | 'create' {
  if (name === 'proxy-spdy') return 'create'
  return kubectl === '1.32.2' && way !== 'proxy' ? 'create' : 'get'
}

function onePod(name: string, command: readonly string[], labels: object = {}): string {
  const main = { name: 'main', image: SHELL_IMAGE, imagePullPolicy: 'Never', command }
  const spec = { restartPolicy: 'Never', terminationGracePeriodSeconds: 0, containers: [main] }
  return JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name, labels }, spec })
}
