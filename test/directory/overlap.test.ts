import { expect, test } from 'vitest'
import type { ClusterDetail, HubDetail } from '../../src/directory/details.ts'
import {
  standingLeaves,
  standingServerCas,
  standingUserCas,
  writtenLeaves,
  writtenServerCas,
} from '../../src/directory/overlap.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import { CLUSTER, clusterDraft, Fleet, hubDraft } from './fleet.ts'

const UNTIL = '2026-01-02T00:00:00Z'
const [OLD, NEW] = ['b2xk', 'bmV3']
const der = (text: string) => Buffer.from(text, 'base64')
const at = (minutes: number) => new Date(Date.parse(UNTIL) + minutes * 60_000)

async function rotated(overlapMinutes?: number) {
  const fleet = await Fleet.found()
  const { detail } = clusterDraft(CLUSTER, 'idc-k8s', 'k'.repeat(43))
  const previous = { serverCa: OLD, userCa: OLD, until: UNTIL }
  const cas = { serverCa: NEW, userCa: NEW, previous }
  const draft = { type: 'cluster', detail: { ...(detail as ClusterDetail), ...cas } } as const
  const time = overlapMinutes === undefined ? undefined : at(-overlapMinutes)
  await fleet.append(draft, undefined, time)
  return fleet.state.clusters.get(CLUSTER)!
}

test('until the signed moment both CAs stand, the new one first', async () => {
  const cluster = await rotated()
  expect(cluster.previous?.until).toEqual(at(0))
  expect(standingServerCas(cluster, at(-1))).toEqual([der(NEW), der(OLD)])
  expect(standingUserCas(cluster, at(-1))).toEqual([der(NEW), der(OLD)])
})

test('user certificates of the CA before end with it; its server certificates are taken ten minutes more', async () => {
  const cluster = await rotated()
  expect(standingUserCas(cluster, at(0))).toEqual([der(NEW)])
  expect(standingServerCas(cluster, at(9))).toEqual([der(NEW), der(OLD)])
  expect(standingServerCas(cluster, at(10))).toEqual([der(NEW)])
})

test('a cluster that was never rotated has one of each', async () => {
  const fleet = await Fleet.found()
  await fleet.register()
  const cluster = fleet.state.clusters.get(CLUSTER)!
  expect(standingServerCas(cluster, at(0))).toHaveLength(1)
  expect(standingUserCas(cluster, at(0))).toHaveLength(1)
})

test('a hub may show the certificate before until its time, and ten minutes more', async () => {
  const fleet = await Fleet.found()
  const { detail } = hubDraft(['hub:8443'], [], NEW)
  const previous = { certificate: OLD, until: UNTIL }
  await fleet.append({ type: 'hub', detail: { ...(detail as HubDetail), previous } })
  const hub = fleet.state.hubs[0]!
  const pins = (minutes: number) => standingLeaves(hub, at(minutes)).map(({ pin }) => pin)
  expect(pins(9)).toEqual([sha256(der(NEW)), sha256(der(OLD))])
  expect(pins(10)).toEqual([sha256(der(NEW))])
  expect(writtenLeaves(hub, at(-1))).toEqual([der(NEW), der(OLD)])
  expect(writtenLeaves(hub, at(0))).toEqual([der(NEW)])
})

test('what stood beside the new one for three minutes gets three minutes of grace, and for none gets none', async () => {
  const short = await rotated(3)
  expect(standingServerCas(short, at(2))).toHaveLength(2)
  expect(standingServerCas(short, at(3))).toEqual([der(NEW)])
  expect(standingServerCas(await rotated(0), at(0))).toEqual([der(NEW)])
})

test('what kubectl is to trust ends with the overlap: it forgets nothing by itself', async () => {
  const cluster = await rotated()
  expect(writtenServerCas(cluster, at(-1))).toEqual([der(NEW), der(OLD)])
  expect(writtenServerCas(cluster, at(0))).toEqual([der(NEW)])
})

test('whatever was signed, nothing stands beside its successor for more than ninety days', async () => {
  const days = 24 * 60
  const cluster = await rotated(100 * days)
  expect(cluster.previous!.until).toEqual(at(-10 * days))
  expect(standingUserCas(cluster, at(-10 * days))).toEqual([der(NEW)])
})
