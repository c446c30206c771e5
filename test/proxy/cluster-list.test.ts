import { expect, test } from 'vitest'
import type { ProxyCluster } from '../../src/proxy/cluster.ts'
import { clusterList } from '../../src/proxy/cluster-list.ts'
import type { ClusterUpstream } from '../../src/proxy/cluster-upstream.ts'
import { FrozenWorld, RecordedLog } from '../agent/frozen-world.ts'

const ca = (text: string) => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`
const cluster = (...cas: string[]): ProxyCluster => ({
  id: 'c-aaaaaaaaaa',
  name: 'idc',
  host: 'h',
  serverCaPem: cas.map(ca).join(''),
})

function stage(first: ProxyCluster) {
  const world = new FrozenWorld()
  const said: string[] = []
  const facts = { now: first, isInUse: true }
  const open = (opened: ProxyCluster): ClusterUpstream => {
    said.push('open')
    const upstream = {
      cluster: opened,
      follow: (next: ProxyCluster) => {
        upstream.cluster = next
        said.push(`follow ${next.serverCaPem.length}`)
      },
      close: async () => void said.push('close'),
      beat: () => {},
      get isInUse() {
        return facts.isInUse
      },
    }
    return upstream as unknown as ClusterUpstream
  }
  const list = clusterList({
    world,
    log: new RecordedLog(),
    clusters: async () => [facts.now],
    open,
  })
  /** Asked twice: the first answer may be of a list that is read anew behind its back. */
  const find = async () => {
    world.advance(6_000)
    await list.find('idc')
    await new Promise((resolve) => setImmediate(resolve))
    return (await list.find('idc')).cluster
  }
  return { facts, find, said, list, world }
}

test('a cluster whose CAs change by a rotation stays open and goes by the new ones', async () => {
  const { facts, find, said } = stage(cluster('old'))
  await find()
  facts.now = cluster('new', 'old')
  expect(await find()).toEqual(cluster('new', 'old'))
  facts.now = cluster('new')
  expect(await find()).toEqual(cluster('new'))
  expect(said.filter((line) => !line.startsWith('follow'))).toEqual(['open'])
})

test('one whose CA is simply another is closed', async () => {
  const { facts, find, said } = stage(cluster('old'))
  await find()
  facts.now = cluster('other')
  expect(await find()).toEqual(cluster('other'))
  expect(said.filter((line) => !line.startsWith('follow'))).toEqual(['open', 'close', 'open'])
})

test('while something is open and nobody asks, new CAs are heard of by itself; otherwise nobody is asked', async () => {
  const { facts, said, list, world, find } = stage(cluster('old'))
  await find()
  const followed = () => said.filter((line) => line.startsWith('follow')).length
  const before = followed()
  list.beat()
  await new Promise((resolve) => setImmediate(resolve))
  expect(followed()).toBe(before)
  world.advance(60_000)
  facts.isInUse = false
  list.beat()
  await new Promise((resolve) => setImmediate(resolve))
  expect(followed()).toBe(before)
  facts.isInUse = true
  facts.now = cluster('new', 'old')
  list.beat()
  await expect.poll(followed).toBe(before + 1)
})
