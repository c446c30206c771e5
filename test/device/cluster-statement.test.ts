import { expect, test } from 'vitest'
import { clusterDetailOf } from '../../src/device/cluster-statement.ts'
import type { ClusterDetail } from '../../src/directory/details.ts'
import { clusterRecord } from '../../src/directory/replaceable.ts'

/** Every member that there is: one more in the schema does not compile before it is here. */
const WHOLE: Required<ClusterDetail> = {
  id: 'c-aaaaaaaaaa',
  name: 'idc-k8s',
  labels: { env: 'prod' },
  serverCa: 'AAAA',
  userCa: 'AAAB',
  agentKey: 'A'.repeat(43),
  issuer: 'local',
  prefix: 'mcm:',
  direct: { sessions: 'a.example.com:443', enrolment: 'b.example.com:443' },
  previous: { serverCa: 'AAAC', userCa: 'AAAD', until: '2026-01-02T00:00:00Z' },
  approvals: 2,
}

test('a cluster that is signed anew keeps everything that was said of it, two approvals above all', () => {
  expect(clusterDetailOf(clusterRecord(7, WHOLE))).toEqual(WHOLE)
})
