/** What passes on, waits for or changes more than one object: `proxy`, `rollout status`, `drain`. */
import { request } from 'undici'
import { expect, test } from 'vitest'
import { SHELL_IMAGE } from '../cluster/pod-images.ts'
import { inEach, type Lane, lanesOf } from './every-way.ts'
import type { NodeStage } from './node-stage.ts'
import type { LongRunning } from './program.ts'
import { onePod } from './stream-pods.ts'

export function verbSuite(stage: () => NodeStage): void {
  const lanes = lanesOf('1.36.3')
  const run = ({ way, env }: Lane, args: readonly string[]) =>
    stage().ways.kubectl(way, args, { env, timeoutMs: 120_000 })
  const start = ({ way, env }: Lane, args: readonly string[]): Promise<LongRunning> =>
    stage().ways.start(way, args, { env })

  test('kubectl proxy passes on what kubectl itself would get, and a watch as it happens', async () => {
    const direct = await stage().ways.kubectl('direct', ['get', '--raw', '/api/v1/nodes/mcm-test'])
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
      const made = `proxied-${lane.name}`
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

  test('rollout status follows a rollout to its end', async () => {
    await inEach(lanes, async (lane) => {
      const name = `rolled-${lane.name}`
      const made = await run(lane, ['create', 'deployment', name, `--image=${SHELL_IMAGE}`])
      expect(made.exitCode).toBe(0)
      const status = await run(lane, ['rollout', 'status', `deployment/${name}`, '--timeout=60s'])
      expect(status.stdout.toString()).toContain(`deployment "${name}" successfully rolled out`)
      const deleted = await run(lane, ['delete', 'deployment', name])
      expect(deleted.exitCode).toBe(0)
    })
  })

  test('drain evicts what it was told to, and uncordon takes pods again', async () => {
    const label = (lane: Lane) => lane.name
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
}
