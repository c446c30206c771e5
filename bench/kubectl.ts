/** kubectl as a person runs it, on one of the ways, with its output counted instead of kept. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { kubectlPath } from '../test/cluster/kubectl.ts'
import type { StreamStage, Way } from './stream-stage.ts'

const VERSION = '1.36.3'

type KubectlStage = Pick<StreamStage, 'env' | 'kubeconfigs'>

/** Starts it; `stdio` of stdin, stdout. What it says on stderr is `wordsOf`'s. */
export async function startKubectl(
  stage: KubectlStage,
  way: Way,
  args: readonly string[],
  stdio: readonly ['ignore' | 'pipe', 'ignore' | 'pipe'] = ['ignore', 'ignore'],
): Promise<ChildProcess> {
  const child = spawn(await kubectlPath(VERSION), args, {
    env: { ...process.env, ...stage.env, KUBECONFIG: stage.kubeconfigs[way] },
    stdio: [...stdio, 'pipe'],
  })
  running.add(child)
  child.once('close', () => running.delete(child))
  child.stdin?.on('error', () => {})
  let text = ''
  child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(-2_000)
    words.set(child, text)
  })
  return child
}

/** The end of what it said on stderr. */
export function wordsOf(child: ChildProcess): string {
  return words.get(child) ?? ''
}

/** Milliseconds until it has ended. @throws Error with its words unless it exits 0 */
export async function runMs(
  stage: KubectlStage,
  way: Way,
  args: readonly string[],
): Promise<number> {
  const started = performance.now()
  const child = await startKubectl(stage, way, args)
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${way}: kubectl ${args.join(' ')}: ${wordsOf(child)}`)
  return performance.now() - started
}

/** Milliseconds until it has printed so many bytes; then it is ended. @throws Error when it ends before */
export async function untilPrintedMs(
  stage: KubectlStage,
  way: Way,
  args: readonly string[],
  bytes: number,
): Promise<number> {
  const started = performance.now()
  const child = await startKubectl(stage, way, args, ['ignore', 'pipe'])
  let left = bytes
  await new Promise<void>((resolve, reject) => {
    child.stdout!.on('data', (chunk: Buffer) => {
      left -= chunk.length
      if (left <= 0) resolve()
    })
    child.once('close', () =>
      reject(new Error(`${way}: kubectl ${args.join(' ')}: ${left} bytes left: ${wordsOf(child)}`)),
    )
  })
  const ms = performance.now() - started
  await end(child)
  return ms
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'close')
}

const words = new WeakMap<ChildProcess, string>()
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
