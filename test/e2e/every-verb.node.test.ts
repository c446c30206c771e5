import { afterAll, beforeAll, describe } from 'vitest'
import { type MetricsApi, startMetricsApi } from '../cluster/metrics-api.ts'
import { wholeNodeIsPossible } from '../cluster/node.ts'
import { SHELL_IMAGE } from '../cluster/pod-images.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { CLUSTER_NAME, type NodeStage, openNodeStage } from './node-stage.ts'
import { sameAsDirectSuite } from './same-as-direct.ts'
import { streamSuite } from './stream-suite.ts'
import { streamVerbSuite } from './stream-verb-suite.ts'
import { terminalSuite } from './terminal-suite.ts'
import { transportSuite } from './transport-suite.ts'
import { verbSuite } from './verb-suite.ts'
import { KUBECTLS } from './ways.ts'

const skip = skipLoudly('kubectl through mcm on a whole node', await wholeNodeIsPossible())

describe.skipIf(skip)('a whole node, through every way of mcm', () => {
  let stage: NodeStage
  let metrics: MetricsApi
  beforeAll(async () => {
    stage = await openNodeStage()
    metrics = await startMetricsApi(stage.node)
  })
  afterAll(async () => {
    metrics?.stop()
    await stage?.close()
  })

  sameAsDirectSuite(() => stage, KUBECTLS)
  terminalSuite(() => stage, KUBECTLS)
  streamVerbSuite(() => stage, KUBECTLS)
  verbSuite(() => stage)
  transportSuite(() => stage, KUBECTLS)
  streamSuite({
    title: 'streams',
    // The other versions are in the suites above; this one is the same over the sandbox.
    kubectl: ['1.36.3'],
    bulkBytes: 5_000_000,
    start: async () => ({
      stage: stage.stage,
      owner: stage.alice,
      name: CLUSTER_NAME,
      adminKubeconfig: stage.node.adminKubeconfig,
      kubeconfigs: {
        exec: stage.ways.kubeconfig('exec'),
        static: stage.ways.kubeconfig('static'),
        proxy: stage.ways.kubeconfig('proxy'),
      },
      image: SHELL_IMAGE,
      auditEvents: stage.node.auditEvents,
      close: async () => {},
    }),
  })
})
