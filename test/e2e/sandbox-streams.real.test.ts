import { startSandboxCluster } from './sandbox-cluster.ts'
import { Stage } from './stage.ts'
import { type StreamCluster, streamSuite } from './stream-suite.ts'

const NAME = 'idc-k8s'

/** The sandbox, registered, its agent outside, and alice with a kubeconfig of every mode. */
async function startRegisteredSandbox(): Promise<StreamCluster> {
  const sandbox = await startSandboxCluster()
  const stage = await Stage.open()
  const owner = await stage.found('alice')
  await stage.addCluster(owner, NAME, sandbox)
  const proxy = owner.start(['proxy'])
  await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
  const [exec, fixed, local] = await Promise.all(
    (['exec', 'static', 'proxy'] as const).map((mode) => owner.kubeconfig(mode)),
  )
  return {
    stage,
    owner,
    name: NAME,
    adminKubeconfig: sandbox.adminKubeconfig,
    kubeconfigs: { exec: exec!, static: fixed!, proxy: local! },
    image: 'registry.example/shell:1',
    auditEvents: sandbox.auditEvents,
    close: async () => {
      await stage.close()
      await sandbox.stop()
    },
  }
}

streamSuite({
  title: 'streams of real kubectl to pods of the sandbox, through hub, agent and local proxy',
  start: startRegisteredSandbox,
  kubectl: ['1.36.3', '1.33.13'],
  bulkBytes: 4_000_000,
})
