/** What a whole node needs from the operating system, installed where apt-get can do it. */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { runCommand, TOOL_PATH } from './run-command.ts'

/** A program and the Debian package that brings it. */
const PROGRAMS: Readonly<Record<string, string>> = {
  containerd: 'containerd',
  ctr: 'containerd',
  'containerd-shim-runc-v2': 'containerd',
  runc: 'runc',
  iptables: 'iptables',
  conntrack: 'conntrack',
  ip: 'iproute2',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  mount: 'mount',
  tar: 'tar',
}
const CNI_DIRECTORIES = ['/usr/lib/cni', '/opt/cni/bin']
const BUSYBOX_PATHS = ['/bin/busybox', '/usr/bin/busybox', '/bin/busybox.static']

export interface NodePackages {
  readonly cniBinaries: string
  /** A busybox that needs no libraries. */
  readonly busybox: string
}

/**
 * Finds what a node needs, and installs what is missing (as root, with apt-get; up to a minute).
 * @throws Error naming what is still missing
 */
export async function findNodePackages(log: (line: string) => void): Promise<NodePackages> {
  const missing = await missingPackages()
  if (missing.length > 0) {
    log(`installing ${missing.join(', ')} with apt-get`)
    await install(missing)
  }
  const still = await missingPackages()
  if (still.length > 0) throw new Error(`no ${still.join(', ')} on this machine`)
  return { cniBinaries: cniDirectory()!, busybox: (await staticBusybox())! }
}

async function missingPackages(): Promise<string[]> {
  const packages = Object.entries(PROGRAMS)
    .filter(([program]) => !isOnPath(program))
    .map(([, name]) => name)
  if (cniDirectory() === undefined) packages.push('containernetworking-plugins')
  if ((await staticBusybox()) === undefined) packages.push('busybox-static')
  return [...new Set(packages)]
}

function isOnPath(program: string): boolean {
  return TOOL_PATH.split(delimiter).some((directory) => existsSync(join(directory, program)))
}

function cniDirectory(): string | undefined {
  return CNI_DIRECTORIES.find((directory) => existsSync(join(directory, 'bridge')))
}

async function staticBusybox(): Promise<string | undefined> {
  for (const path of BUSYBOX_PATHS.filter((candidate) => existsSync(candidate))) {
    // ldd fails on a program that needs no libraries.
    if ((await runCommand('ldd', [path])).exitCode !== 0) return path
  }
  return undefined
}

async function install(packages: readonly string[]): Promise<void> {
  const quietly = ['DEBIAN_FRONTEND=noninteractive', 'apt-get']
  const command = [...quietly, 'install', '-y', '--no-install-recommends', ...packages]
  if ((await runCommand('env', command)).exitCode === 0) return
  // The package lists may be missing or old.
  await runCommand('env', [...quietly, 'update'])
  await runCommand('env', command)
}
