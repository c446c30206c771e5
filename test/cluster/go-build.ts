/**
 * Kubernetes programs built from the Go modules pinned under `go/`. The first build of a version takes
 * minutes; the Go build cache makes the next one seconds.
 */
import { spawn } from 'node:child_process'
import { mkdir, rename } from 'node:fs/promises'
import { setPriority } from 'node:os'
import { basename, join } from 'node:path'
import type { KubernetesBinary, KubernetesVersion } from './kubernetes-version.ts'
import { goPackageOf } from './kubernetes-version.ts'

const PROGRESS_INTERVAL_MS = 20_000

/**
 * Builds `names` into `directory`, logging a line every 20 seconds.
 * @throws Error with a one-line reason: no Go on PATH, or the compiler's last words
 */
export async function buildBinaries(
  version: KubernetesVersion,
  names: readonly KubernetesBinary[],
  directory: string,
  log: (line: string) => void,
): Promise<void> {
  const byModule = Map.groupBy(names, (name) => goPackageOf(version, name).module)
  for (const [module, wanted] of byModule) {
    await buildFromModule(module, version, wanted, directory, log)
  }
}

async function buildFromModule(
  module: KubernetesVersion,
  version: KubernetesVersion,
  names: readonly KubernetesBinary[],
  directory: string,
  log: (line: string) => void,
): Promise<void> {
  const output = join(directory, `go-${module}`)
  await mkdir(output)
  const packages = names.map((name) => goPackageOf(version, name).importPath)
  const flags = ['-trimpath', '-v', '-ldflags', linkerFlags(module), '-o', `${output}/`]
  log(`building ${names.join(', ')} of ${version} with Go (minutes the first time)`)
  await runGo(['build', ...flags, ...packages], join(import.meta.dirname, 'go', `v${module}`), log)
  for (const name of names) {
    const built = builtName(goPackageOf(version, name).importPath)
    await rename(join(output, built), join(directory, name))
  }
}

/** Go names a program after its package's last element that is not a major version. */
function builtName(importPath: string): string {
  return basename(importPath.replace(/\/v\d+$/, ''))
}

/** client-go is stamped too, or kubectl calls itself v0.0.0 in every audit event. */
function linkerFlags(version: KubernetesVersion): string {
  const [major, minor] = version.split('.')
  const stamps = {
    gitVersion: `v${version}`,
    gitMajor: major,
    gitMinor: minor,
    gitCommit: 'unknown',
    gitTreeState: 'clean',
    buildDate: '1970-01-01T00:00:00Z',
  }
  const packages = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version']
  const settings = packages.flatMap((path) =>
    Object.entries(stamps).map(([name, value]) => `-X ${path}.${name}=${value}`),
  )
  return ['-s', '-w', ...settings].join(' ')
}

/** Runs go to its end, saying now and then how far it is. @throws Error with its last words, or because there is no Go */
export function runGo(
  args: readonly string[],
  cwd: string,
  log: (line: string) => void,
): Promise<void> {
  const env = { ...process.env, CGO_ENABLED: '0', GOWORK: 'off' }
  const child = spawn('go', args, { cwd, env, stdio: ['ignore', 'ignore', 'pipe'] })
  // A build takes every core for minutes: let the person at this machine go first.
  if (child.pid !== undefined) setPriority(child.pid, 5)
  const progress = followProgress(log)
  child.stderr.setEncoding('utf8').on('data', progress.read)
  return new Promise<void>((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`go did not start: ${error.message}`)))
    child.once('close', (code) => {
      if (code === 0) resolve()
      else reject(new Error(`go build ended with ${code}: ${progress.lastWords()}`))
    })
  }).finally(progress.stop)
}

/** Counts the packages that `go build -v` names, and says so now and then. */
function followProgress(log: (line: string) => void) {
  const startedAt = Date.now()
  let lineCount = 0
  let tail = ''
  const report = () => {
    const seconds = Math.round((Date.now() - startedAt) / 1000)
    log(`still building after ${seconds} s: ${lineCount} modules and packages done`)
  }
  const timer = setInterval(report, PROGRESS_INTERVAL_MS)
  return {
    read: (chunk: string) => {
      lineCount += chunk.split('\n').length - 1
      tail = (tail + chunk).slice(-600)
    },
    lastWords: () => tail.trim().split('\n').slice(-4).join(' | '),
    stop: () => clearInterval(timer),
  }
}
