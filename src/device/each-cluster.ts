import { EXIT_ALL_FAILED, EXIT_SOME_FAILED } from '../errors.ts'
import type { Child, ChildEnd, StartChild } from './child-process.ts'
import { inParallel } from './in-parallel.ts'
import { linesOf, OutputTooLong, textOf } from './output-lines.ts'

/**
 * One command on many clusters, a number of them at a time. It knows processes, their output and the clock, and
 * nothing of what the command is. Invariant: when it resolves or throws, nothing it started is running.
 */

export interface EachTarget {
  readonly name: string
  readonly id: string
  /** The environment of the command for this cluster. */
  environment(): Promise<Readonly<Record<string, string | undefined>>>
}

/** How a command went on one cluster. */
export interface ClusterRun {
  readonly name: string
  readonly id: string
  /** interrupted: Ctrl-C came before its end, or before it began. */
  readonly outcome: 'succeeded' | 'failed' | 'timed out' | 'interrupted'
  /** null when a signal ended it, or it never ran. */
  readonly exitCode: number | null
  /** Why it is no success, in a few words. */
  readonly problem?: string
  /** What was kept of its output; empty where it was passed on line by line. */
  readonly stdout: string
  readonly stderr: string
  readonly durationMs: number
}

export interface EachOptions {
  readonly start: StartChild
  readonly command: readonly string[]
  /** How many at a time. */
  readonly parallel: number
  /** For each cluster; no limit unless told. */
  readonly timeoutMs?: number
  /** Ends all of them. */
  readonly signal: AbortSignal
  /** Where lines go as they come; an output without one is kept. A promise holds the program back. */
  readonly lines: { readonly stdout?: LineSink; readonly stderr?: LineSink }
  /** Told whenever other clusters are being run. */
  onRunning?(names: readonly string[]): void
}

export type LineSink = (target: EachTarget, line: string) => Promise<void> | void

/** Of each output of each cluster that is kept. */
const MAX_KEPT_BYTES = 64 << 20
/** Between asking a program to end and ending it. */
const GRACE_MS = 2_000

/** In the order of the targets. @throws NotFoundError MCM_PROGRAM_UNKNOWN, UsageError, and what a sink throws */
export async function runOnEach(
  targets: readonly EachTarget[],
  options: EachOptions,
): Promise<ClusterRun[]> {
  const failure = new AbortController()
  const signal = AbortSignal.any([options.signal, failure.signal])
  const running = new Set<string>()
  return inParallel(targets, options.parallel, async (target) => {
    try {
      running.add(target.name)
      options.onRunning?.([...running])
      const run = await runOne(target, { ...options, signal })
      running.delete(target.name)
      return run
    } catch (error) {
      // The same would happen everywhere: a program that is not there, an output nobody reads.
      failure.abort()
      throw error
    }
  })
}

/** 0 when all went well, EXIT_SOME_FAILED, EXIT_ALL_FAILED. */
export function exitCodeOfRuns(runs: readonly ClusterRun[]): number {
  const failed = runs.filter(({ outcome }) => outcome !== 'succeeded')
  if (failed.length === 0) return 0
  return failed.length === runs.length ? EXIT_ALL_FAILED : EXIT_SOME_FAILED
}

async function runOne(target: EachTarget, options: EachOptions): Promise<ClusterRun> {
  const { name, id } = target
  const nothing = { name, id, exitCode: null, stdout: '', stderr: '', durationMs: 0 }
  if (options.signal.aborted)
    return { ...nothing, outcome: 'interrupted', problem: 'it had not begun' }
  const env = await target.environment()
  const began = performance.now()
  const child = options.start(options.command, { env, kind: 'detached' })
  const ender = endEarly(child, options)
  try {
    const [end, stdout, stderr] = await allOrFirstError(
      [
        child.ended,
        consume(child.stdout, target, options.lines.stdout),
        consume(child.stderr, target, options.lines.stderr),
      ],
      () => child.kill('SIGKILL'),
    )
    const durationMs = Math.round(performance.now() - began)
    return { ...nothing, ...verdict(end, ender.reason()), stdout, stderr, durationMs }
  } catch (error) {
    if (!(error instanceof OutputTooLong)) throw error
    const durationMs = Math.round(performance.now() - began)
    return { ...nothing, outcome: 'failed', problem: 'printed more than 64 MiB', durationMs }
  } finally {
    ender.stop()
  }
}

type EarlyEnd = { readonly outcome: 'timed out' | 'interrupted'; readonly problem: string }

/** Ends a program on Ctrl-C or when its time is over: first it is asked to. */
function endEarly(child: Child, { signal, timeoutMs }: EachOptions) {
  let why: EarlyEnd | undefined
  let killing: NodeJS.Timeout | undefined
  const end = (reason: EarlyEnd) => {
    if (why) return
    why = reason
    child.kill('SIGTERM')
    killing = setTimeout(() => child.kill('SIGKILL'), GRACE_MS)
  }
  const interrupt = () => end({ outcome: 'interrupted', problem: 'it did not finish' })
  signal.addEventListener('abort', interrupt, { once: true })
  if (signal.aborted) interrupt()
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(
          () => end({ outcome: 'timed out', problem: `no end within ${timeoutMs / 1000} s` }),
          timeoutMs,
        )
  return {
    reason: () => why,
    stop() {
      signal.removeEventListener('abort', interrupt)
      clearTimeout(timer)
      clearTimeout(killing)
    },
  }
}

async function consume(
  output: AsyncIterable<Uint8Array> | undefined,
  target: EachTarget,
  sink: LineSink | undefined,
): Promise<string> {
  if (!output) return ''
  if (!sink) return textOf(output, MAX_KEPT_BYTES)
  for await (const line of linesOf(output)) await sink(target, line)
  return ''
}

/** All of them, settled in any case; at the first failure `onError` makes the others end. That it never began counts first. */
async function allOrFirstError(
  [end, stdout, stderr]: [Promise<ChildEnd>, Promise<string>, Promise<string>],
  onError: () => void,
): Promise<[ChildEnd, string, string]> {
  const all = [end, stdout, stderr] as const
  try {
    return await Promise.all(all)
  } catch (error) {
    onError()
    const [ended] = await Promise.allSettled(all)
    throw ended.status === 'rejected' ? ended.reason : error
  }
}

function verdict(
  { exitCode, signal }: ChildEnd,
  early: EarlyEnd | undefined,
): Pick<ClusterRun, 'outcome' | 'exitCode' | 'problem'> {
  if (early) return { ...early, exitCode }
  if (exitCode === 0) return { outcome: 'succeeded', exitCode }
  const problem = signal === null ? `exit code ${exitCode}` : `ended by ${signal}`
  return { outcome: 'failed', exitCode, problem }
}
