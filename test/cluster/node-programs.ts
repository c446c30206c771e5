/** Starts, inside a machine and beside a running API server, everything that makes it a node. */
import { existsSync } from 'node:fs'
import { mkdir, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ControlPlane, Launch } from './control-plane.ts'
import { writeKubeconfig, writePrivateFiles } from './control-plane-files.ts'
import type { Machine } from './machine.ts'
import type { NodeConfigOptions } from './node-config.ts'
import {
  cniConfig,
  containerdConfig,
  controllerManagerFlags,
  kubeletConfig,
  kubeProxyConfig,
  RESOLV_CONF,
  schedulerFlags,
} from './node-config.ts'
import type { NodePackages } from './node-packages.ts'
import { writePodImages } from './pod-images.ts'
import type { RunningProcess } from './running-process.ts'
import { waitUntil } from './running-process.ts'

const OVERLAY_MAGIC = 0x794c7630
const CONTAINERD_TIMEOUT_MS = 20_000

export interface NodeSetup {
  readonly directory: string
  readonly machine: Machine
  readonly packages: NodePackages
  readonly launch: Launch
}

/** containerd, with the pause and shell images in it; needs no API server. */
export async function startContainerd(setup: NodeSetup): Promise<RunningProcess> {
  const { directory, launch } = setup
  const options = await nodeConfigOptions(setup)
  await mkdir(join(directory, 'cni'), { recursive: true })
  await writePrivateFiles(directory, {
    'containerd.toml': containerdConfig(options),
    'cni/pods.conflist': cniConfig(options),
  })
  const containerd = launch('containerd', [`--config=${join(directory, 'containerd.toml')}`])
  const images = await writePodImages(directory, setup.packages.busybox)
  const isListening = async () => existsSync(join(directory, 'containerd.sock'))
  const limits = { timeoutMs: CONTAINERD_TIMEOUT_MS, processes: [containerd] }
  await waitUntil('containerd listens', isListening, limits)
  for (const image of images) await importImage(setup, image)
  return containerd
}

/**
 * Makes the image of an archive known to the node.
 * @throws Error with ctr's words
 */
export async function importImage(
  { directory, machine }: Pick<NodeSetup, 'directory' | 'machine'>,
  tarPath: string,
): Promise<void> {
  const socket = ['--address', join(directory, 'containerd.sock'), '--namespace', 'k8s.io']
  const imported = await machine.run('ctr', [...socket, 'images', 'import', tarPath])
  if (imported.exitCode !== 0) throw new Error(`ctr images import: ${imported.stderr.trim()}`)
}

/** kubelet, kube-proxy and the controllers, each with an identity of its own, as everywhere. */
export async function startNodePrograms(
  setup: NodeSetup,
  plane: ControlPlane,
): Promise<RunningProcess[]> {
  const { directory, machine, launch } = setup
  await writeNodeFiles(setup, plane)
  const kubelet = [
    `--config=${join(directory, 'kubelet.json')}`,
    `--kubeconfig=${join(directory, 'kubelet.kubeconfig')}`,
    `--root-dir=${join(directory, 'kubelet')}`,
    `--cert-dir=${directory}`,
    `--hostname-override=${machine.hostName}`,
    `--node-ip=${machine.address}`,
  ]
  return [
    launch('kube-controller-manager', controllerManagerFlags(directory)),
    launch('kube-scheduler', schedulerFlags(directory)),
    launch('kubelet', kubelet),
    launch('kube-proxy', [`--config=${join(directory, 'kube-proxy.json')}`]),
  ]
}

async function writeNodeFiles(setup: NodeSetup, plane: ControlPlane): Promise<void> {
  const { directory, machine } = setup
  const { url, authority } = plane
  const { hostName, address } = machine
  const options = await nodeConfigOptions(setup)
  const serving = await authority.newServingCert(address, hostName)
  const clients = {
    kubelet: await authority.newClientCert(`system:node:${hostName}`, ['system:nodes']),
    'kube-proxy': await authority.newClientCert('system:kube-proxy'),
    'kube-scheduler': await authority.newClientCert('system:kube-scheduler'),
    'kube-controller-manager': await authority.newClientCert('system:kube-controller-manager'),
  }
  for (const [name, client] of Object.entries(clients)) {
    await writeKubeconfig(directory, name, { url, authority, client })
  }
  await writePrivateFiles(directory, {
    'kubelet.crt': serving.certPem,
    'kubelet.key': serving.keyPem,
    'kubelet.json': kubeletConfig(options),
    'kube-proxy.json': kubeProxyConfig(options),
  })
  // Pods get a copy, and not all of them run as root.
  await writeFile(join(directory, 'resolv.conf'), RESOLV_CONF, { mode: 0o644 })
}

async function nodeConfigOptions(setup: NodeSetup): Promise<NodeConfigOptions> {
  const { directory, machine, packages } = setup
  // An overlay cannot lie on an overlay, which a machine that is itself a container has.
  const { type } = await statfs(directory)
  return {
    directory,
    nodeName: machine.hostName,
    cniBinaries: packages.cniBinaries,
    snapshotter: type === OVERLAY_MAGIC ? 'native' : 'overlayfs',
  }
}
