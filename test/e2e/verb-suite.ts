/** What takes more than one command to see: streams that live, many at once, what changes the cluster. */
import { randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import type { KubernetesVersion } from '../cluster/kubernetes-version.ts'
import { SHELL_IMAGE } from '../cluster/pod-images.ts'
import { inEach, type Lane, lanesOf } from './every-way.ts'
import { connectLocal, echoThrough, forwardedPorts } from './forwarded-port.ts'
import type { NodeStage } from './node-stage.ts'
import type { LongRunning } from './program.ts'

const CONNECTIONS = 50
const ECHO_PORT = 7003

export function verbSuite(stage: () => NodeStage, kubectls: readonly KubernetesVersion[]): void {
  beforeAll(async () => {
    const command = ['sh', '-c', `nc -ll -p ${ECHO_PORT} -e cat`]
    await stage().node.runShellPod({ name: 'echo', command })
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
        const { stdout } = await run(lane, ['exec', 'echo', '--', 'echo', marker])
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
      const script = 'echo first; until [ -e /tmp/go ]; do sleep 0.1; done; seq 1 20000'
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
      const name = JSON.parse(direct.stdout.toString()).metadata.uid
      await inEach(lanes, async (lane) => {
        const proxy = await start(lane, ['proxy', '--port=0'])
        const [, port] = await proxy.shows(/Starting to serve on 127\.0\.0\.1:(\d+)/)
        const url = `http://127.0.0.1:${port}/api/v1`
        const node = await (await fetch(`${url}/nodes/mcm-test`)).json()
        expect((node as { metadata: { uid: string } }).metadata.uid).toBe(name)
        const path = `${url}/namespaces/default/configmaps?watch=1&timeoutSeconds=60`
        const watch = (await fetch(path)).body!.pipeThrough(new TextDecoderStream()).getReader()
        const made = `proxied-${lane.name}-${dashed}`
        await stage().mustAsAdmin(['create', 'configmap', made])
        for (let text = ''; !text.includes(`"name":"${made}"`); ) {
          const { value, done } = await watch.read()
          expect(done).toBe(false)
          text += value
        }
        await watch.cancel()
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
