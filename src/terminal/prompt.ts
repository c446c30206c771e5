import { createInterface } from 'node:readline/promises'
import { UsageError } from '../errors.ts'
import type { Screen } from './screen.ts'
import { plainLine } from './text.ts'

/** Questions to a person, on stderr. */

/**
 * Asks before something is destroyed; `what` names it all. Only `y` or `yes` goes on.
 * @throws UsageError MCM_USAGE when nobody can answer, or the answer is no
 */
export async function confirm(
  screen: Screen,
  stdin: NodeJS.ReadableStream,
  what: string,
): Promise<void> {
  if (!screen.isInteractive) {
    throw new UsageError('MCM_USAGE', `${what}: nobody is there to confirm it`, {
      hint: 'add --yes when that is what you want',
    })
  }
  const asking = createInterface({ input: stdin, output: screen.talk })
  try {
    const answer = await asking.question(`${what}. Go on? [y/N] `)
    if (/^y(es)?$/i.test(answer.trim())) return
  } finally {
    asking.close()
  }
  throw new UsageError('MCM_USAGE', 'stopped: nothing was changed')
}

/**
 * Asks before something is lost, with all that is; what cannot be undone wants its name typed.
 * @throws as `confirm`
 */
export async function confirmRisk(
  screen: Screen,
  stdin: NodeJS.ReadableStream,
  { level, name, lost }: { level: 'low' | 'high'; name: string; lost: readonly string[] },
): Promise<void> {
  for (const line of lost) screen.say(plainLine(line))
  if (level === 'low') return confirm(screen, stdin, 'this ends them')
  if (!screen.isInteractive) {
    throw new UsageError('MCM_USAGE', `${name}: nobody is there to confirm it`, {
      hint: 'add --yes when that is what you want',
    })
  }
  const asking = createInterface({ input: stdin, output: screen.talk })
  try {
    const answer = await asking.question(
      `This cannot be undone. Type ${plainLine(name)} to go on: `,
    )
    if (answer.trim() === name) return
  } finally {
    asking.close()
  }
  throw new UsageError('MCM_USAGE', 'stopped: nothing was changed')
}

/** One line from stdin, at most 8 KB: a link somebody pipes or pastes. */
export async function readLine(
  screen: Screen,
  stdin: NodeJS.ReadableStream,
  question: string,
): Promise<string> {
  const isEnough = (text: string) => text.includes('\n') || text.length > MAX_LINE_CHARACTERS
  const text = await readUntil(screen, stdin, question, isEnough)
  return text.split('\n')[0]!.trim()
}

const MAX_LINE_CHARACTERS = 8_192
const MAX_INPUT_CHARACTERS = 65_536
/** The last line of any block in the manner of PEM (RFC 7468). */
const END_LINE = /^-----END [A-Z ]+-----\s*$/m
const isBlock = (text: string) => END_LINE.test(text) || text.length > MAX_INPUT_CHARACTERS

/**
 * The text of a file, or for `-` what stdin has up to the end of a PEM block.
 * @throws UsageError MCM_BAD_FILE when there is none; StateError when it cannot be read
 */
export async function readInput(
  { files, screen, stdin }: InputSources,
  path: string,
  question: string,
): Promise<string> {
  if (path === '-') return readUntil(screen, stdin, question, isBlock)
  const text = await files.readTextIfAny(path)
  if (text !== undefined) return text
  throw new UsageError('MCM_BAD_FILE', `${path}: no such file`, {
    hint: 'give the path of a file, or - for standard input',
  })
}

export interface InputSources {
  readonly files: { readTextIfAny(path: string): Promise<string | undefined> }
  readonly screen: Screen
  readonly stdin: NodeJS.ReadableStream
}

/** What is put in, or piped, until it is enough. */
async function readUntil(
  screen: Screen,
  stdin: NodeJS.ReadableStream,
  question: string,
  isEnough: (text: string) => boolean,
): Promise<string> {
  if (screen.isInteractive) screen.talk.write(question)
  let text = ''
  for await (const chunk of stdin) {
    text += chunk
    if (isEnough(text)) break
  }
  return text
}
