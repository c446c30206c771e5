/**
 * Runs scripts as a small POSIX shell. Its commands are the programs of this folder and nothing else: a name
 * that is none of them ends with 127, whatever the machine may have.
 */
import { setImmediate } from 'node:timers/promises'
import { isBuiltin, runBuiltin } from './builtins.ts'
import { type Expansion, expandText, expandWords } from './expansion.ts'
import { FileError } from './file-system.ts'
import { type LineSource, withLines } from './lines.ts'
import { openRedirections } from './open-file.ts'
import { NOTHING, Pipe, type Sink } from './pipe.ts'
import {
  ended,
  Killed,
  killable,
  killableSink,
  LoopJump,
  type ProgramContext,
  say,
} from './process.ts'
import { findProgram } from './program-path.ts'
import type { AndOr, Command, List, Pipeline } from './shell-syntax.ts'
import { SyntaxProblem } from './shell-words.ts'

/** Exit codes of POSIX XCU 2.8.2. */
const NOT_FOUND = 127
const NOT_EXECUTABLE = 126
const BREATHE_EVERY = 32

/** Where a command reads and writes. */
export interface Io {
  readonly stdin: LineSource
  readonly stdout: Sink
  readonly stderr: Sink
}

export class Shell {
  /** What its programs are given, with this shell's own environment and directory. */
  context: ProgramContext
  readonly variables: Map<string, string>
  readonly exported: Set<string>
  readonly positional: readonly string[]
  directory: string
  lastStatus = 0
  lastBackground = 0
  readonly jobs = new Set<Promise<number>>()
  #commands = 0

  /** @param positional `$0` first */
  constructor(context: ProgramContext, positional: readonly string[]) {
    this.context = context
    this.positional = positional
    this.variables = new Map(context.env)
    this.exported = new Set(context.env.keys())
    this.directory = context.directory
  }

  get io(): Io {
    const { stdin, stdout, stderr } = this.context
    return { stdin: withLines(stdin), stdout, stderr }
  }

  /** @throws Exit, Killed, LoopJump */
  async runList(list: List, io: Io): Promise<number> {
    for (const andOr of list) {
      if (andOr.isBackground) this.#startBackground(andOr, io)
      else this.lastStatus = await this.#runAndOr(andOr, io)
    }
    return this.lastStatus
  }

  /** A copy whose changes stay its own. */
  subshell(context: Partial<ProgramContext> = {}): Shell {
    const env = new Map(this.variables)
    const copy = new Shell(
      { ...this.context, env, directory: this.directory, ...context },
      this.positional,
    )
    copy.exported.clear()
    for (const name of this.exported) copy.exported.add(name)
    copy.lastStatus = this.lastStatus
    return copy
  }

  /** What the words of a command are expanded with. */
  expansion(io: Io): Expansion {
    return {
      files: this.context.container.files,
      directory: this.directory,
      parameter: (name) => this.parameter(name),
      output: (list) => this.#outputOf(list, io),
      positional: this.positional.slice(1),
    }
  }

  parameter(name: string): string | undefined {
    if (name === '?') return String(this.lastStatus)
    if (name === '$') return String(this.context.pid)
    if (name === '!') return String(this.lastBackground)
    if (name === '#') return String(this.positional.length - 1)
    if (name === '@' || name === '*') return this.positional.slice(1).join(' ')
    if (/^\d$/.test(name)) return this.positional[Number(name)]
    return this.variables.get(name)
  }

  #startBackground(andOr: AndOr, io: Io): void {
    const { container, signal } = this.context
    const controller = new AbortController()
    const command = 'sh'
    const pid = container.processes.add({
      command,
      kill: (number) => controller.abort(new Killed(number)),
    })
    const both = AbortSignal.any([signal, controller.signal])
    const shell = this.subshell({ pid, signal: both })
    const job = ended(shell.#runAndOr(andOr, { ...io, stdin: withLines(NOTHING) }))
    this.lastBackground = pid
    this.jobs.add(job)
    void job.then(() => {
      container.processes.remove(pid)
      this.jobs.delete(job)
    })
    this.lastStatus = 0
  }

  async #runAndOr({ first, rest }: AndOr, io: Io): Promise<number> {
    let status = await this.#runPipeline(first, io)
    for (const { operator, pipeline } of rest) {
      this.lastStatus = status
      if ((operator === '&&') === (status === 0)) status = await this.#runPipeline(pipeline, io)
    }
    return status
  }

  async #runPipeline({ commands, isNegated }: Pipeline, io: Io): Promise<number> {
    const status =
      commands.length === 1
        ? await this.#runCommand(commands[0]!, io)
        : await this.#runPiped(commands, io)
    return isNegated ? Number(status === 0) : status
  }

  async #runPiped(commands: readonly Command[], io: Io): Promise<number> {
    const pipes = commands.slice(1).map(() => new Pipe())
    const statuses = await Promise.all(
      commands.map(async (command, index) => {
        const [input, output] = [pipes[index - 1], pipes[index]]
        const own: Io = {
          ...io,
          ...(input && { stdin: withLines(input) }),
          ...(output && { stdout: output }),
        }
        const status = await ended(this.subshell().#runCommand(command, own))
        output?.end()
        input?.cancel()
        return status
      }),
    )
    this.context.signal.throwIfAborted()
    return statuses.at(-1)!
  }

  async #runCommand(command: Command, io: Io): Promise<number> {
    await this.#breathe()
    try {
      const opened = await openRedirections(command.redirections, io, this)
      return await this.#runRedirected(command, opened)
    } catch (error) {
      if (!(error instanceof FileError) && !(error instanceof SyntaxProblem)) throw error
      await say(io.stderr, `sh: ${error.message}\n`)
      return 1
    }
  }

  async #runRedirected(command: Command, io: Io): Promise<number> {
    switch (command.kind) {
      case 'simple':
        return await this.#runSimple(command, io)
      case 'group':
        if (!command.isSubshell) return await this.runList(command.list, io)
        return await ended(this.subshell().runList(command.list, io))
      case 'if':
        if ((await this.runList(command.condition, io)) === 0)
          return await this.runList(command.then, io)
        return command.otherwise ? await this.runList(command.otherwise, io) : 0
      case 'loop':
        return await this.#runLoop(command, io)
      case 'for':
        return await this.#runFor(command, io)
    }
  }

  async #runLoop(loop: Command & { kind: 'loop' }, io: Io): Promise<number> {
    let status = 0
    for (;;) {
      const isTrue = (await this.runList(loop.condition, io)) === 0
      if (isTrue === loop.until) return status
      if (await jumped(async () => (status = await this.runList(loop.body, io)))) return status
    }
  }

  async #runFor(loop: Command & { kind: 'for' }, io: Io): Promise<number> {
    let status = 0
    for (const value of await expandWords(loop.words, this.expansion(io))) {
      this.variables.set(loop.name, value)
      if (await jumped(async () => (status = await this.runList(loop.body, io)))) break
    }
    return status
  }

  async #runSimple(command: Command & { kind: 'simple' }, io: Io): Promise<number> {
    const expansion = this.expansion(io)
    const words = await expandWords(command.words, expansion)
    const assigned: [string, string][] = []
    for (const { name, value } of command.assignments)
      assigned.push([name, await expandText(value, expansion)])
    const [name] = words
    if (name === undefined) {
      for (const pair of assigned) this.variables.set(...pair)
      return command.words.length > 0 ? this.lastStatus : 0
    }
    if (isBuiltin(name)) return await runBuiltin(this, words, io)
    return await this.runProgram(words, io, assigned)
  }

  /** Runs one of the programs, or a script in a file. */
  async runProgram(
    words: readonly string[],
    io: Io,
    assigned: readonly (readonly [string, string])[] = [],
  ): Promise<number> {
    const name = words[0]!
    const program = findProgram(this.context.container, this.directory, words)
    if (program === 'missing') {
      await say(io.stderr, `sh: ${name}: not found\n`)
      return NOT_FOUND
    }
    if (program === 'forbidden') {
      await say(io.stderr, `sh: ${name}: Permission denied\n`)
      return NOT_EXECUTABLE
    }
    return await program.run(this.#contextFor(program.words, io, assigned))
  }

  #contextFor(
    words: readonly string[],
    io: Io,
    assigned: readonly (readonly [string, string])[],
  ): ProgramContext {
    const { signal } = this.context
    const exported = [...this.exported].map((one) => [one, this.variables.get(one) ?? ''] as const)
    return {
      ...this.context,
      words,
      stdin: killable(io.stdin, signal),
      stdout: killableSink(io.stdout, signal),
      stderr: killableSink(io.stderr, signal),
      env: new Map([...exported, ...assigned]),
      directory: this.directory,
    }
  }

  async #outputOf(list: List, io: Io): Promise<string> {
    const pipe = new Pipe()
    const running = ended(this.subshell().runList(list, { ...io, stdout: pipe }))
    void running.then(() => pipe.end())
    const chunks: Buffer[] = []
    for (let chunk = await pipe.read(); chunk; chunk = await pipe.read()) chunks.push(chunk)
    this.lastStatus = await running
    return Buffer.concat(chunks).toString('utf8').replace(/\n+$/, '')
  }

  /** A loop without any waiting in it must not hold up everything else. */
  async #breathe(): Promise<void> {
    this.#commands += 1
    if (this.#commands % BREATHE_EVERY === 0) await setImmediate()
    this.context.signal.throwIfAborted()
  }
}

/** Whether the body left its loop. */
async function jumped(body: () => Promise<unknown>): Promise<boolean> {
  try {
    await body()
    return false
  } catch (error) {
    if (error instanceof LoopJump) return error.isBreak
    throw error
  }
}
