/**
 * Removes what a machine leaves when it ends: its folder, its containers' cgroups, its network device
 * if the kernel has not yet. Also for killed runs, by our own names only.
 */
import { existsSync } from 'node:fs'
import { readdir, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { linkOf, MACHINE_PREFIX } from './machine-network.ts'
import { runCommand } from './run-command.ts'
import { abandonedDirectories } from './temporary-state.ts'

const CGROUPS = '/sys/fs/cgroup'
/** containerd keeps a folder here for every container that has not ended in order. */
const CONTAINERS = 'containerd-state/io.containerd.runtime.v2.task/k8s.io'

/** Removes every machine whose run has died; the kernel has ended their processes already. */
export async function sweepAbandonedMachines(): Promise<void> {
  for (const directory of await abandonedDirectories(MACHINE_PREFIX)) await removeMachine(directory)
}

/** Removes a stopped machine's network device, cgroups and folder. */
export async function removeMachine(directory: string): Promise<void> {
  await runCommand('ip', ['link', 'delete', linkOf(directory)])
  for (const cgroup of await cgroupsOf(directory)) {
    await removeCgroup(cgroup)
    // Goes only when nobody else's containers are in it.
    await rmdir(dirname(cgroup)).catch(() => {})
  }
  await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
}

/** The paths that exist because of a machine, outside its own namespaces. */
export async function tracesOf(directory: string): Promise<string[]> {
  const link = join('/sys/class/net', linkOf(directory))
  const paths = [directory, link, ...(await cgroupsOf(directory))]
  return paths.filter((path) => existsSync(path))
}

/** Containers' cgroups, in every tree: one per controller with cgroup v1, a single one with v2. */
async function cgroupsOf(directory: string): Promise<string[]> {
  const containers = await readdir(join(directory, CONTAINERS)).catch(() => [])
  const controllers = await readdir(CGROUPS).catch(() => [])
  const trees = [CGROUPS, ...controllers.map((each) => join(CGROUPS, each))]
  const paths = trees.flatMap((tree) => containers.map((id) => join(tree, 'k8s.io', id)))
  return paths.filter((path) => existsSync(path))
}

/** A cgroup is removed by rmdir, children first; the files in it are no obstacle. */
async function removeCgroup(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => [])
  for (const entry of entries.filter((each) => each.isDirectory())) {
    await removeCgroup(join(path, entry.name))
  }
  await rmdir(path).catch(() => {})
}
