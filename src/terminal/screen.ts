import { once } from 'node:events'
import { Chalk, type ChalkInstance } from 'chalk'

/**
 * Where output goes: stdout is data, stderr is talk. Knows streams, width and colour, nothing of mcm.
 * Invariant: nothing is coloured, cut or redrawn off a terminal.
 */
export interface Screen {
  /** Data: whole lines. */
  print(text: string): void
  /** Data that goes on coming: resolves when there is room for more. */
  flow(text: string): Promise<void>
  /** Talk: a sentence to the person. */
  say(text: string): void
  /** Styles for data; they do nothing where stdout is no terminal. */
  readonly style: ChalkInstance
  /** Styles for talk. */
  readonly talkStyle: ChalkInstance
  /** Columns of stdout; Infinity off a terminal, where nothing is cut. */
  readonly width: number
  /** Whether somebody watches stderr. */
  readonly isWatched: boolean
  /** Whether somebody can answer: stdin and stderr are a terminal. */
  readonly isInteractive: boolean
  readonly talk: NodeJS.WritableStream
}

export interface ScreenStreams {
  readonly stdin: { readonly isTTY?: boolean }
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number }
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean }
}

/** https://no-color.org: any non-empty value switches colour off. */
export function openScreen(
  streams: ScreenStreams,
  env: Readonly<Record<string, string | undefined>>,
): Screen {
  const isPlain = Boolean(env['NO_COLOR']) || env['TERM'] === 'dumb'
  const styleFor = (isTerminal: boolean | undefined) =>
    new Chalk({ level: isTerminal && !isPlain ? 1 : 0 })
  const isWatched = streams.stderr.isTTY === true && env['TERM'] !== 'dumb' && !env['CI']
  return {
    print: (text) => void streams.stdout.write(endLine(text)),
    async flow(text) {
      if (!streams.stdout.write(endLine(text))) await once(streams.stdout, 'drain')
    },
    say: (text) => void streams.stderr.write(endLine(text)),
    style: styleFor(streams.stdout.isTTY),
    talkStyle: styleFor(streams.stderr.isTTY),
    width: streams.stdout.isTTY ? (streams.stdout.columns ?? 80) : Number.POSITIVE_INFINITY,
    isWatched,
    isInteractive: streams.stdin.isTTY === true && streams.stderr.isTTY === true,
    talk: streams.stderr,
  }
}

function endLine(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`
}
