import type { ClusterRun, EachOptions } from '../device/each-cluster.ts'
import { linePrefixer, viewFailedRuns } from './each-views.ts'
import { mergeTables } from './merged-table.ts'
import type { Progress } from './progress.ts'
import type { Screen } from './screen.ts'

/** What a person sees of a command on many clusters: lines as they come, tables and failures at the end. */
export interface EachScreen {
  /** Where lines go at once; errors always, data unless it is to become one table. */
  readonly lines: EachOptions['lines']
  /** What there is to show when all have ended. */
  finish(runs: readonly ClusterRun[]): Promise<void>
}

export function openEachScreen(
  screen: Screen,
  progress: Pick<Progress, 'clear'>,
  names: readonly string[],
  isMerged: boolean,
): EachScreen {
  const isTerminal = screen.width < Number.POSITIVE_INFINITY
  const data = linePrefixer(names, screen.style, isTerminal)
  const talk = linePrefixer(names, screen.talkStyle, screen.isWatched)
  const print = async ({ name }: { readonly name: string }, line: string) => {
    progress.clear()
    await screen.flow(data(name, line))
  }
  const say = ({ name }: { readonly name: string }, line: string) => {
    progress.clear()
    screen.say(talk(name, line))
  }
  return {
    lines: isMerged ? { stderr: say } : { stdout: print, stderr: say },
    async finish(runs) {
      if (isMerged) await showMerged(screen, runs, print)
      screen.say(viewFailedRuns(runs, screen))
    },
  }
}

/** What is no table is shown as lines, below. */
async function showMerged(
  screen: Screen,
  runs: readonly ClusterRun[],
  print: (run: { readonly name: string }, line: string) => Promise<void>,
): Promise<void> {
  const { text, unread } = mergeTables(runs)
  await screen.flow(text)
  for (const output of unread)
    for (const line of output.stdout.trimEnd().split('\n')) await print(output, line)
}
