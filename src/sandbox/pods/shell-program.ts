/** `sh`: a script given with -c, in a file, or on stdin; with a prompt when that is a terminal. */
import { FileError } from './file-system.ts'
import { withLines } from './lines.ts'
import { Killed, LoopJump, type ProgramContext, pathFor, say } from './process.ts'
import { type Io, Shell } from './shell.ts'
import { parseScript } from './shell-parser.ts'
import { SyntaxProblem } from './shell-words.ts'

const SYNTAX_ERROR = 2
const NOT_FOUND = 127
const SIGINT = 2

export async function sh(context: ProgramContext): Promise<number> {
  const words = context.words.slice(1)
  const flags = words.findIndex((word) => !/^-[abd-z]+$/.test(word))
  const [first, ...rest] = flags < 0 ? [] : words.slice(flags)
  if (first !== undefined && /^-[a-z]*c$/.test(first)) return await runCommand(context, rest)
  if (first !== undefined) return await runFile(context, first, rest)
  const shell = new Shell(context, ['sh'])
  return context.terminal ? await converse(shell) : await runInput(shell)
}

async function runCommand(context: ProgramContext, words: readonly string[]): Promise<number> {
  const [script, ...positional] = words
  if (script === undefined) {
    await say(context.stderr, 'sh: -c requires an argument\n')
    return SYNTAX_ERROR
  }
  const shell = new Shell(context, positional.length > 0 ? positional : ['sh'])
  return await runScript(shell, script, shell.io)
}

async function runFile(
  context: ProgramContext,
  name: string,
  rest: readonly string[],
): Promise<number> {
  const shell = new Shell(context, [name, ...rest])
  try {
    const script = context.container.files.read(pathFor(context, name)).toString('utf8')
    return await runScript(shell, script, shell.io)
  } catch (error) {
    if (!(error instanceof FileError)) throw error
    await say(context.stderr, `sh: can't open '${name}': ${error.message}\n`)
    return NOT_FOUND
  }
}

async function runScript(shell: Shell, script: string, io: Io): Promise<number> {
  try {
    return await shell.runList(parseScript(script), io)
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error
    await say(io.stderr, `sh: syntax error: ${error.message}\n`)
    return SYNTAX_ERROR
  }
}

/** Line by line, so that what a command reads from stdin is not read as a script before. */
async function runInput(shell: Shell): Promise<number> {
  const io = { ...shell.io, stdin: withLines(shell.context.stdin) }
  let status = 0
  for (;;) {
    const script = await readScript(io, async () => {})
    if (script === undefined) return status
    status = await runScript(shell, script, io)
  }
}

async function converse(shell: Shell): Promise<number> {
  const { context } = shell
  const io = { ...shell.io, stdin: withLines(context.stdin) }
  const terminal = context.terminal!
  const prompt = () => say(io.stdout, `${shell.directory} # `)
  for (;;) {
    terminal.onInterrupt = () => void prompt().catch(() => {})
    await prompt()
    const script = await readScript(io, () => say(io.stdout, '> '))
    if (script === undefined) return shell.lastStatus
    const line = new AbortController()
    terminal.onInterrupt = () => line.abort(new Killed(SIGINT))
    shell.context = { ...context, signal: AbortSignal.any([context.signal, line.signal]) }
    shell.lastStatus = await survive(shell, script, io)
    context.signal.throwIfAborted()
  }
}

/** What was typed may end by a signal; only `exit` ends the shell. @throws Exit */
async function survive(shell: Shell, script: string, io: Io): Promise<number> {
  try {
    return await runScript(shell, script, io)
  } catch (error) {
    if (error instanceof LoopJump) return 0
    if (error instanceof Killed) return error.code
    throw error
  }
}

/** Lines up to the end of a command; undefined at the end of the input. */
async function readScript(io: Io, goOn: () => Promise<void>): Promise<string | undefined> {
  let script = await io.stdin.readLine()
  while (script !== undefined && isUnfinished(script)) {
    await goOn()
    const more = await io.stdin.readLine()
    if (more === undefined) return script
    script += `\n${more}`
  }
  return script
}

function isUnfinished(script: string): boolean {
  if (/(^|[^\\])\\$/.test(script)) return true
  try {
    parseScript(script)
    return false
  } catch (error) {
    return error instanceof SyntaxProblem && /end of file|unterminated/.test(error.message)
  }
}
