/** What a whole node is made of: Kubernetes' programs, the operating system's, and namespaces. */
import { findKubernetesBinaries } from './binaries.ts'
import { BINARIES } from './kubernetes-version.ts'
import type { NodePackages } from './node-packages.ts'
import { findNodePackages } from './node-packages.ts'
import { runCommand } from './run-command.ts'

/** The one version that can be a whole node. */
export const NODE_VERSION = '1.36.3'

export interface NodeParts {
  /** The folder with Kubernetes' programs. */
  readonly binaries: string
  readonly packages: NodePackages
}

/**
 * Finds, installs and builds what is missing; minutes the first time.
 * @throws Error with the one thing that cannot be had here
 */
export async function findNodeParts(log: (line: string) => void): Promise<NodeParts> {
  if (process.platform !== 'linux') throw new Error('a node needs Linux')
  if (process.getuid?.() !== 0) throw new Error('a node needs root')
  const packages = await findNodePackages(log)
  const namespaces = ['--mount', '--net', '--pid', '--fork', '--mount-proc']
  const tried = await runCommand('unshare', [...namespaces, 'ip', 'link', 'add', 'type', 'bridge'])
  if (tried.exitCode !== 0) throw new Error(`no namespaces or bridges: ${tried.stderr.trim()}`)
  const binaries = await findKubernetesBinaries(NODE_VERSION, BINARIES[NODE_VERSION], log)
  if (binaries === undefined) throw new Error(`no Kubernetes ${NODE_VERSION} programs`)
  return { binaries: binaries.directory, packages }
}
