/** Streams on which nobody says anything for a while, and which must still be there afterwards. */
import { randomBytes } from 'node:crypto'
import { expect } from 'vitest'
import { inEach, type Lane, lanesOf } from './every-way.ts'
import { connectLocal, forwardedPorts, type LocalConnection } from './forwarded-port.ts'
import type { NodeStage } from './node-stage.ts'
import type { LongRunning } from './program.ts'

const ECHO_PORT = 7005

interface IdleStreams {
  readonly lane: Lane
  readonly forward: LongRunning
  readonly connections: readonly LocalConnection[]
  readonly exec: LongRunning
  readonly logs: LongRunning
  readonly watch: LongRunning
}

/** Opens streams of every kind in every lane and uses each once. */
export async function openIdleStreams(stage: NodeStage): Promise<IdleStreams[]> {
  const script = `nc -ll -p ${ECHO_PORT} -e cat & echo begun; until [ -e /tmp/go ]; do sleep 1; done; echo said`
  await stage.node.runShellPod({ name: 'idle', command: ['sh', '-c', `${script}; sleep 100000`] })
  await stage.mustAsAdmin(['create', 'configmap', 'idle'])
  const opened: IdleStreams[] = []
  await inEach(lanesOf('1.36.3'), async (lane) => {
    const start = (args: readonly string[]) =>
      stage.ways.start(lane.way, args, { kubectl: lane.kubectl, env: lane.env })
    const forward = await start(['port-forward', 'pod/idle', `:${ECHO_PORT}`])
    const [port] = await forwardedPorts(forward, [ECHO_PORT])
    const connections = [await connectLocal(port!), await connectLocal(port!)]
    for (const each of connections) await each.roundTrip(randomBytes(10_000))
    const exec = await start(['exec', '-i', 'idle', '--', 'cat'])
    exec.child.stdin!.write('before\n')
    await exec.shows(/before\n/)
    const logs = await start(['logs', '-f', 'idle'])
    await logs.shows(/begun\n/)
    const watch = await start(['get', 'configmap', 'idle', '-w', '-o', 'jsonpath={.data.x};'])
    await watch.shows(/;/)
    opened.push({ lane, forward, connections, exec, logs, watch })
  })
  return opened
}

/** Uses every one again. @throws Error naming the lane in which one is gone */
export async function useAgain(stage: NodeStage, opened: readonly IdleStreams[]): Promise<void> {
  await stage.mustAsAdmin(['exec', 'idle', '--', 'touch', '/tmp/go'])
  await stage.mustAsAdmin(['patch', 'configmap', 'idle', '-p', '{"data":{"x":"changed"}}'])
  const byLane = new Map(opened.map((each) => [each.lane, each]))
  await inEach([...byLane.keys()], async (lane) => {
    const { forward, connections, exec, logs, watch } = byLane.get(lane)!
    for (const each of connections) await each.roundTrip(randomBytes(1_000_000))
    exec.child.stdin!.end('after\n')
    expect(await exec.ended).toBe(0)
    expect(exec.stdout).toBe('before\nafter\n')
    await logs.shows(/said\n/)
    await watch.shows(/changed;/)
    for (const each of connections) each.reset()
    for (const program of [forward, logs, watch]) await program.stop()
  })
}
