import { EXIT_INTERRUPTED, exitCodeOf, isMcmError, messageOf } from '../errors.ts'
import { plainLine, plainText, withoutLinkSecrets } from './text.ts'

/** What a failed command says: one sentence and the next step, as text or as JSON, and its exit code. */

/** The allow-list of what leaves the program: nothing else of an error is ever printed as JSON. */
export interface Failure {
  readonly code: string
  readonly message: string
  readonly hint?: string
  readonly exitCode: number
}

export interface FailureContext {
  /** As typed: `mcm clusters show`. */
  readonly command: string
  readonly version: string
  readonly isInterrupted: boolean
}

/** Any thrown value as a Failure. */
export function failureOf(error: unknown, context: FailureContext): Failure {
  // Whatever broke then, broke because of it.
  if (context.isInterrupted) return INTERRUPTED
  if (isMcmError(error)) {
    const hint = error.hint === undefined ? {} : { hint: clean(error.hint) }
    const { code, exitCode } = error
    return { code, message: clean(error.message), ...hint, exitCode }
  }
  if (isParseError(error)) {
    const hint = `${context.command} --help`
    return { code: 'MCM_USAGE', message: parseSentence(error), hint, exitCode: 2 }
  }
  const message = `internal error: ${clean(messageOf(error))}`
  return { code: 'MCM_BUG', message, hint: reportHint(context), exitCode: exitCodeOf(error) }
}

const INTERRUPTED: Failure = {
  code: 'MCM_INTERRUPTED',
  message: 'interrupted',
  exitCode: EXIT_INTERRUPTED,
}

/** The text for stderr, with the stack only where it is a bug of ours. */
export function renderFailure(failure: Failure, error: unknown): string {
  const lines = [`mcm: ${failure.message}`]
  if (failure.hint !== undefined) lines.push(`try: ${failure.hint}`)
  if (failure.code === 'MCM_BUG' && error instanceof Error && error.stack) {
    lines.push('', withoutLinkSecrets(plainText(error.stack)))
  }
  return `${lines.join('\n')}\n`
}

function reportHint(context: FailureContext): string {
  return `this is a bug in mcm ${context.version}: please report it with the lines below and the command`
}

/** Errors of the command line parser: they carry `oclif.exit`. */
function isParseError(error: unknown): error is Error {
  return error instanceof Error && typeof (error as { oclif?: object }).oclif === 'object'
}

/** `Nonexistent flag: --x\nSee more help…` → `nonexistent flag: --x`; list lines are joined, `Parsing --x` goes. */
function parseSentence(error: Error): string {
  const lines = plainText(error.message)
    .split('\n')
    .filter((line) => !/^(See more help|USAGE|Note:|Alternatively|The following)/.test(line.trim()))
    .map((line) => line.trim().replace(/\s{2,}/g, ' — '))
  const text = withoutLinkSecrets(lines.filter((line) => line !== '').join(' '))
  const [, flag, problem] = /^Parsing (--[\w-]+)\s+(.+)$/.exec(text) ?? []
  if (flag && problem) return `${flag}: ${lowerFirst(problem)}`
  return lowerFirst(text)
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1)
}

function clean(text: string): string {
  return withoutLinkSecrets(plainLine(text))
}
