import type { ClusterRun } from '../device/each-cluster.ts'
import { outputFormat } from './child-command.ts'
import type { Screen } from './screen.ts'
import { plainLine } from './text.ts'

/** A command on many clusters, as lines, as JSON, and in a few words at its end. */

const COLOURS = ['cyan', 'magenta', 'yellow', 'green', 'blue'] as const

/** Puts a cluster's name before a line of its output; names are as wide as the widest of them. */
export function linePrefixer(
  names: readonly string[],
  style: Screen['style'],
  isTerminal: boolean,
): (name: string, line: string) => string {
  const width = Math.max(0, ...names.map(({ length }) => length))
  const paint = new Map(
    names.map((name, index) => [name, style[COLOURS[index % COLOURS.length]!]] as const),
  )
  return (name, line) => {
    const shown = isTerminal ? printable(line) : line
    return `${paint.get(name)?.(name.padEnd(width)) ?? name} | ${shown}`
  }
}

/** On a screen no cluster may write into the lines of another; tabs stay. */
function printable(line: string): string {
  return line.split('\t').map(plainLine).join('\t')
}

/** The document of --json: an answer of `-o json` as the object it is. */
export function runsDocument(runs: readonly ClusterRun[], command: readonly string[]) {
  const isJson = outputFormat(command) === 'json'
  return {
    clusters: runs.map(({ name, id, outcome, exitCode, problem, stdout, stderr, durationMs }) => {
      const object = isJson ? parsed(stdout) : undefined
      const verdict = { outcome, exitCode, ...(problem === undefined ? {} : { problem }) }
      const output = object === undefined ? { stdout } : { object }
      return { name, id, ...verdict, ...output, stderr, durationMs }
    }),
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What went wrong where, for stderr; '' when nothing did. */
export function viewFailedRuns(runs: readonly ClusterRun[], screen: Screen): string {
  const failed = runs.filter(({ outcome }) => outcome !== 'succeeded')
  if (failed.length === 0) return ''
  const isInterrupted = failed.some(({ outcome }) => outcome === 'interrupted')
  const count = `${failed.length} of ${clusterCount(runs.length)}`
  const width = Math.max(...failed.map(({ name }) => name.length))
  const lines = failed.map(
    ({ name, problem = '' }) => `  ${screen.talkStyle.red(name.padEnd(width))}   ${problem}`,
  )
  const what = isInterrupted ? `interrupted: ${count} did not finish` : `${count} failed`
  return [`mcm: ${what}`, ...lines, ''].join('\n')
}

const MAX_NAMES = 3

/** For the moving line: how many are still to come, and some of them. */
export function viewRunning(running: readonly string[], total: number): string {
  const names = running.slice(0, MAX_NAMES).join(', ')
  const more = running.length > MAX_NAMES ? ', …' : ''
  return `${clusterCount(total)}: running on ${names}${more}`
}

function clusterCount(count: number): string {
  return `${count} ${count === 1 ? 'cluster' : 'clusters'}`
}

export function viewShellHint(names: readonly string[], hasCurrent: boolean): string {
  if (names.length === 0) return 'there is no cluster you may reach; exit ends this shell'
  const current = hasCurrent
    ? `current: ${names[0]}`
    : 'none is current: kubectl --context mcm-NAME'
  return `clusters: ${names.join(', ')}; ${current}; exit ends this shell`
}
