import { expect } from 'vitest'
import { runKubectl } from '../cluster/kubectl.ts'
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
  movesHub: false,
  async replaceAgents({ adminKubeconfig }) {
    const mustAsAdmin = async (...args: string[]) => {
      const done = await runKubectl('1.36.3', ['-n', 'mcm-system', ...args], {
        kubeconfig: adminKubeconfig,
        timeoutMs: 120_000,
      })
      expect(done).toMatchObject({ exitCode: 0 })
    }
    await mustAsAdmin('delete', 'pods', '-l', 'app.kubernetes.io/name=mcm-agent', '--wait=false')
    await mustAsAdmin('rollout', 'status', 'deployment/mcm-agent', '--timeout=120s')
  },
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
