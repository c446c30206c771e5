import { networkInterfaces } from 'node:os'
import { freePort } from '../cluster/free-port.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { startSandboxCluster } from './sandbox-cluster.ts'
import { Stage } from './stage.ts'
import { type StreamCluster, startPods } from './stream-suite.ts'
import { surviveSuite } from './survive-suite.ts'

const NAME = 'idc-k8s'

/** An address of this machine that is not loopback: to loopback nobody goes through a proxy. */
const ADDRESS = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ internal, family }) => !internal && family === 'IPv4')?.address
const skip = skipLoudly(
  'streams that survive',
  ADDRESS === undefined
    ? { possible: false, reason: 'this machine has no IPv4 address but loopback' }
    : { possible: true },
)

async function startRegisteredSandbox(): Promise<StreamCluster> {
  const sandbox = await startSandboxCluster()
  const stage = await Stage.open(ADDRESS, [await freePort(), await freePort()])
  const owner = await stage.found('alice')
  await stage.addCluster(owner, NAME, sandbox)
  const kubeconfig = await owner.kubeconfig('static')
  const cluster = {
    stage,
    owner,
    name: NAME,
    adminKubeconfig: sandbox.adminKubeconfig,
    kubeconfigs: { exec: kubeconfig, static: kubeconfig, proxy: kubeconfig },
    image: 'registry.example/shell:1',
    auditEvents: sandbox.auditEvents,
    close: async () => {
      await stage.close()
      await sandbox.stop()
    },
  }
  await startPods(cluster)
  return cluster
}

surviveSuite({
  title: 'streams of real kubectl to pods of the sandbox survive',
  start: startRegisteredSandbox,
  frozenMs: Number(process.env['MCM_TEST_FROZEN_MS'] ?? 0),
  movesHub: true,
  async replaceAgents({ stage, name, adminKubeconfig }) {
    await stage.agents.get(`${name}/a`)!.stop('SIGTERM')
    await stage.startAgent(name, { adminKubeconfig })
  },
  skip,
})
