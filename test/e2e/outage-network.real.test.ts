import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { untilItWorks } from './outage-load.ts'
import { AgentNetwork, networkIsPossible } from './outage-network.ts'
import { LongRunning, MCM, runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

const network = await networkIsPossible()
const skip = skipLoudly(
  'an agent behind a NAT',
  network.possible ? await apiServerIsPossible('1.36.3') : network,
)
const NOTICED_MS = 15_000
const REPLACED_MS = 30_000
const HEALTH_PORT = 8081

describe.skipIf(skip)('an agent in a network that nothing reaches', () => {
  let cluster: ApiServer
  let stage: Stage
  let alice: Person
  let net: AgentNetwork
  let kubeconfig: string

  beforeAll(async () => {
    cluster = await startApiServer({ version: '1.36.3' })
    net = await AgentNetwork.open()
    await net.bring(cluster.port)
    stage = await Stage.open(net.hostAddress)
    stage.startAgent = async (name, { adminKubeconfig }, replica = 'a') => {
      const args = ['agent', '--kubeconfig', adminKubeconfig, '--replica', replica]
      const health = ['--health-port', String(HEALTH_PORT)]
      const agent = net.start(process.execPath, [MCM, ...args, ...health], {
        MCM_HOME: `${stage.directory}/agent-home`,
      })
      stage.agents.set(`${name}/${replica}`, agent)
      return agent
    }
    alice = await stage.found('alice')
    await stage.addCluster(alice, 'idc-k8s', cluster)
    kubeconfig = await alice.kubeconfig('exec')
  })
  afterAll(async () => {
    await stage?.close()
    await net?.close()
    await cluster?.stop()
  })

  const kubectl = async (...args: string[]) =>
    runProgram(await kubectlPath('1.36.3'), args, { env: { ...alice.env, KUBECONFIG: kubeconfig } })
  const get = () => kubectl('get', 'namespace', 'default', '-o', 'name')
  const agent = () => stage.agents.get('idc-k8s/a')!

  /** How often the hub has logged something. */
  const logged = ({ stderr }: LongRunning, event: RegExp) => [...stderr.matchAll(event)].length
  const OPENED = /"tunnel_opened"/g
  const CLOSED = /"tunnel_closed"/g
  /** Milliseconds from `began` until a program has logged something more often than `before`. */
  async function after(began: number, program: LongRunning, event: RegExp, before: number) {
    const limits = { timeout: 60_000, interval: 20 }
    await vi.waitUntil(() => logged(program, event) > before, limits)
    return Math.round(performance.now() - began)
  }
  function connects(port: number): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect({ port, host: net.agentAddress, timeout: 1_000 })
      const end = (result: boolean) => {
        socket.destroy()
        resolve(result)
      }
      socket.once('connect', () => end(true))
      socket.once('timeout', () => end(false))
      socket.once('error', () => end(false))
    })
  }

  test('serves kubectl all the same', async () => {
    const url = `http://127.0.0.1:${HEALTH_PORT}/readyz`
    const probe = `fetch('${url}').then((answer) => console.log(answer.status))`
    expect(await net.inside(process.execPath, '-e', probe)).toBe('200\n')
    expect(await connects(HEALTH_PORT)).toBe(false)
    expect(await get()).toMatchObject({ stdout: 'namespace/default\n', exitCode: 0 })
  })

  test('whose NAT forgets its connection: noticed by both within 15 s, replaced within 30 s', async () => {
    const [opened, closed] = [logged(stage.hub, OPENED), logged(stage.hub, CLOSED)]
    const lost = logged(agent(), /tunnel_draining/g)
    const port = await net.portTo(stage.hubPort)
    const began = performance.now()
    await net.drop(port)
    const [hubNoticed, agentNoticed, replaced] = await Promise.all([
      after(began, stage.hub, CLOSED, closed),
      after(began, agent(), /tunnel_draining/g, lost),
      after(began, stage.hub, OPENED, opened),
    ])
    await net.restore(port)
    console.info(
      `connection forgotten: hub noticed after ${hubNoticed} ms, agent after ${agentNoticed} ms, ` +
        `replaced after ${replaced} ms`,
    )
    expect(Math.max(hubNoticed, agentNoticed)).toBeLessThan(NOTICED_MS)
    expect(replaced).toBeLessThan(REPLACED_MS)
    expect(await get()).toMatchObject({ stdout: 'namespace/default\n', exitCode: 0 })
  })

  test('whose whole path is dropped in silence and comes back: said within 15 s, used again within 30 s', async () => {
    await kubectl('create', 'configmap', 'watched')
    const args = ['get', 'configmaps', '--watch', '-o', 'name']
    const env = { ...alice.env, KUBECONFIG: kubeconfig }
    const watch = new LongRunning(await kubectlPath('1.36.3'), args, env)
    await watch.shows(/configmap\//)
    const closed = logged(stage.hub, CLOSED)
    const began = performance.now()
    await net.drop()
    const noticed = await after(began, stage.hub, CLOSED, closed)
    const { stderr, exitCode } = await get()
    expect({ stderr, exitCode }).toEqual({
      stderr: expect.stringContaining('no agent of this cluster is connected to the hub'),
      exitCode: 1,
    })
    await watch.ended
    const ended = Math.round(performance.now() - began)
    // Long enough for its back-off to have grown.
    await sleep(Math.max(0, began + 25_000 - performance.now()))
    await net.restore()
    const { ms } = await untilItWorks(get, REPLACED_MS)
    console.info(
      `path lost: hub noticed after ${noticed} ms, a watch ended after ${ended} ms; ` +
        `25 s later restored: kubectl works after ${ms} ms`,
    )
    expect(noticed).toBeLessThan(NOTICED_MS)
    expect(ended).toBeLessThan(NOTICED_MS)
    expect(ms).toBeLessThan(REPLACED_MS)
  })
})
