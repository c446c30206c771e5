import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  type ChildWish,
  type ChildWorld,
  openChildClusters,
} from '../../src/device/child-clusters.ts'
import { reachableClusters, requireReachable } from '../../src/device/cluster-lookup.ts'
import { keepProxyPort, localProxy } from '../../src/device/local-proxy.ts'
import { parseKubeconfig } from '../../src/kubeconfig/merge.ts'
import { listenOnLoopback } from '../../src/proxy/loopback-listener.ts'
import { foundedFleet, registeredCluster, removeDevices, type TestFleet } from './fleet.ts'

let fleet: TestFleet
let runtime: string
let exits: (() => void)[]

beforeEach(async () => {
  fleet = await foundedFleet()
  await registeredCluster(fleet, 'ack')
  await registeredCluster(fleet, 'edge-1')
  await registeredCluster(fleet, 'edge-2')
  runtime = await mkdtemp(join(tmpdir(), 'mcm-runtime-'))
  exits = []
})

afterEach(async () => {
  await fleet.hub.stop()
  await removeDevices()
  await rm(runtime, { recursive: true })
})

function world(more: Partial<ChildWorld> = {}): ChildWorld {
  return {
    env: { PATH: '/bin', KUBECONFIG: '/home/ada/.kube/config', NO_PROXY: 'example.com' },
    self: { command: '/usr/bin/node', args: ['/opt/mcm/bin/run.js'] },
    selfEnv: {},
    runtimeDirectories: [runtime],
    atExit: (work) => void exits.push(work),
    ...more,
  }
}

const named =
  (...names: string[]): ChildWish['pick'] =>
  (directory, user) =>
    names.map((name) => requireReachable(directory, user, name))
const open = (wish: Partial<ChildWish>, more?: Partial<ChildWorld>) =>
  openChildClusters(fleet.ada, world(more), { pick: named('ack'), ...wish })

async function kubeconfigOf(env: Readonly<Record<string, string | undefined>>) {
  const path = env['KUBECONFIG']!
  return { path, config: parseKubeconfig(await readFile(path, 'utf8'), path) }
}

test('a program gets a file only its owner can read, with the clusters chosen and no key', async () => {
  const opened = await open({ pick: named('edge-2', 'ack') })
  const env = await opened.environment(opened.clusters, opened.clusters[0])
  expect(env).toMatchObject({ PATH: '/bin', MCM_CLUSTER: 'edge-2', MCM_CLUSTERS: 'edge-2,ack' })
  const { path, config } = await kubeconfigOf(env)
  expect(config.contexts?.map(({ name }) => name)).toEqual(['mcm-edge-2', 'mcm-ack'])
  expect(config['current-context']).toBe('mcm-edge-2')
  expect(config.users?.map(({ user }) => Object.keys(user!).sort())).toEqual(
    Array(2).fill(['exec', 'extensions']),
  )
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect((await stat(dirname(path))).mode & 0o777).toBe(0o700)
  expect(dirname(dirname(path))).toBe(runtime)
})

test('every environment has a file of its own, and all go at once, also when the process ends early', async () => {
  const opened = await open({ pick: (directory, user) => reachableClusters(directory, user) })
  const paths: string[] = []
  for (const cluster of opened.clusters) {
    const { path, config } = await kubeconfigOf(await opened.environment([cluster], cluster))
    expect(config.contexts).toHaveLength(1)
    paths.push(path)
  }
  expect(new Set(paths).size).toBe(3)
  for (const work of exits) work()
  expect(existsSync(dirname(paths[0]!))).toBe(false)
  opened.remove()
})

test('with none chosen no context is current: kubectl must not take the first', async () => {
  const opened = await open({ pick: named('ack', 'edge-1') })
  const env = await opened.environment(opened.clusters)
  expect(env).toMatchObject({ MCM_CLUSTER: undefined, MCM_CLUSTERS: 'ack,edge-1' })
  expect((await kubeconfigOf(env)).config['current-context']).toBe('')
})

test('where the first place cannot be written, the next is taken; with none it is said', async () => {
  const nowhere = join(runtime, 'missing')
  const opened = await open({}, { runtimeDirectories: [nowhere, runtime] })
  const { path } = await kubeconfigOf(await opened.environment(opened.clusters))
  expect(dirname(dirname(path))).toBe(runtime)
  await expect(open({}, { runtimeDirectories: [nowhere] })).rejects.toMatchObject({
    code: 'MCM_STATE_UNWRITABLE',
    message: expect.stringContaining(`no private directory can be made in ${nowhere}`),
  })
})

test('while no hub answers the copy of the directory serves; what is not in it is the hub’s to know', async () => {
  await fleet.hub.stop()
  const opened = await open({ pick: named('edge-1') })
  expect(opened.clusters.map(({ name }) => name)).toEqual(['edge-1'])
  await expect(open({ pick: named('new') })).rejects.toMatchObject({ code: 'MCM_HUB_UNREACHABLE' })
})

async function runningLocalProxy() {
  const { caPem, server, port } = await localProxy(fleet.ada)
  const listening = await listenOnLoopback({ caPem, ...server }, 0, (socket) => socket.end())
  await keepProxyPort(fleet.ada, listening.port)
  return { listening, keptPort: port }
}

test('through the local proxy when one runs: its address, its key, and no forward proxy before it', async () => {
  const { listening } = await runningLocalProxy()
  try {
    const opened = await open({})
    expect(opened.mode).toBe('proxy')
    const env = await opened.environment(opened.clusters, opened.clusters[0])
    expect(env['NO_PROXY']).toBe('example.com,127.0.0.1,localhost,::1')
    expect(env['no_proxy']).toBe(env['NO_PROXY'])
    for (const [proxy, itself] of [
      ['http://corporate.example:3128', 'corporate.example:3128'],
      ['corporate.example:3128', 'corporate.example:3128'],
      ['https://corporate.example', 'corporate.example:443'],
      ['http://192.0.2.7:3128', '192.0.2.7'],
    ]) {
      const behind = await open({}, { env: { ...world().env, HTTPS_PROXY: proxy } })
      const { NO_PROXY } = await behind.environment(behind.clusters)
      expect(NO_PROXY).toBe(`example.com,127.0.0.1,localhost,::1,${itself}`)
    }
    const { config, path } = await kubeconfigOf(env)
    const { id } = opened.clusters[0]!
    expect(config.clusters?.[0]?.cluster?.server).toBe(`https://127.0.0.1:${listening.port}/${id}`)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect((await open({ mode: 'exec' })).mode).toBe('exec')
  } finally {
    await listening.stop()
  }
  expect((await open({})).mode).toBe('exec')
  await expect(open({ mode: 'proxy' })).rejects.toMatchObject({
    message: 'no mcm proxy runs on this machine',
    hint: 'start one in another terminal: mcm proxy',
  })
})

test('beside a proxy the hub is asked only about clusters that are not in the copy', async () => {
  const { listening } = await runningLocalProxy()
  try {
    const before = fleet.hub.requests.length
    await open({ pick: named('ack') })
    expect(fleet.hub.requests.length).toBe(before)
    await expect(open({ pick: named('nowhere') })).rejects.toMatchObject({
      code: 'MCM_CLUSTER_UNKNOWN',
    })
    expect(fleet.hub.requests.length).toBeGreaterThan(before)
  } finally {
    await listening.stop()
  }
})

test('whoever else has the port gets no program and no key', async () => {
  await localProxy(fleet.ada)
  const impostor = await foundedFleet()
  const other = await localProxy(impostor.ada)
  const squatter = await listenOnLoopback({ caPem: other.caPem, ...other.server }, 0, () => {})
  try {
    await keepProxyPort(fleet.ada, squatter.port)
    expect((await open({})).mode).toBe('exec')
  } finally {
    await squatter.stop()
    await impostor.hub.stop()
  }
})
