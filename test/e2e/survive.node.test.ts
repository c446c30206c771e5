import { wholeNodeIsPossible } from '../cluster/node.ts'
import { SHELL_IMAGE } from '../cluster/pod-images.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { CLUSTER_NAME, openNodeStage } from './node-stage.ts'
import { startPods } from './stream-suite.ts'
import { surviveSuite } from './survive-suite.ts'

surviveSuite({
  title: 'streams of real kubectl to pods of a whole node, with two agents in pods, survive',
  // client-go gives a WebSocket up after 61 s without a pong, and a watch after 45.
  frozenMs: 90_000,
  skip: skipLoudly('streams that survive, on a whole node', await wholeNodeIsPossible()),
  async start() {
    const { stage, alice, node, ways, close } = await openNodeStage()
    const [exec, fixed, proxy] = (['exec', 'static', 'proxy'] as const).map((mode) =>
      ways.kubeconfig(mode),
    )
    const cluster = {
      stage,
      owner: alice,
      name: CLUSTER_NAME,
      adminKubeconfig: node.adminKubeconfig,
      kubeconfigs: { exec: exec!, static: fixed!, proxy: proxy! },
      image: SHELL_IMAGE,
      auditEvents: node.auditEvents,
      close,
    }
    await startPods(cluster)
    return cluster
  },
})
