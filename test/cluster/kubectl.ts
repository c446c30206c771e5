/** The kubectl of a Kubernetes version, run as a person would, with a home folder of its own. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findKubernetesBinaries } from './binaries.ts'
import type { KubernetesVersion } from './kubernetes-version.ts'

const DEFAULT_TIMEOUT_MS = 60_000

export interface KubectlOptions {
  readonly kubeconfig: string
  /** Adds to the environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Given on stdin, then EOF. Without it stdin is empty. */
  readonly input?: string | Uint8Array
  /** Default 60 000. Then it is killed and `exitCode` is null. */
  readonly timeoutMs?: number
}

export interface KubectlResult {
  readonly stdout: string
  readonly stderr: string
  /** null when a signal ended it: ours, after the time limit, or another. */
  readonly exitCode: number | null
}

/**
 * Where the kubectl of a version is.
 * @throws Error when it cannot be had on this machine
 */
export async function kubectlPath(version: KubernetesVersion): Promise<string> {
  const found = await findKubernetesBinaries(version, ['kubectl'], console.warn)
  if (found === undefined) throw new Error(`no kubectl ${version} on this machine`)
  return join(found.directory, 'kubectl')
}

/** Runs kubectl to its end. A failure is a result, not an error. */
export async function runKubectl(
  version: KubernetesVersion,
  args: readonly string[],
  options: KubectlOptions,
): Promise<KubectlResult> {
  const path = await kubectlPath(version)
  // Discovery caches live under HOME, keyed by address: a later server on this port must not see them.
  const home = await mkdtemp(join(tmpdir(), 'mcm-test-kubectl-'))
  try {
    const env = { ...process.env, HOME: home, KUBECONFIG: options.kubeconfig, ...options.env }
    return await runToEnd(path, args, env, options)
  } finally {
    await rm(home, { recursive: true, force: true })
  }
}

function runToEnd(
  path: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  { input, timeoutMs = DEFAULT_TIMEOUT_MS }: KubectlOptions,
): Promise<KubectlResult> {
  const child = spawn(path, args, { env, timeout: timeoutMs, killSignal: 'SIGKILL' })
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
  // It may end without reading its input.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (exitCode) => {
      const [out, err] = [stdout, stderr].map((chunks) => Buffer.concat(chunks).toString())
      resolve({ stdout: out!, stderr: err!, exitCode })
    })
  })
}
