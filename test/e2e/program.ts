/** mcm and other programs as a person starts them: real processes, their text collected. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'

export const MCM = join(import.meta.dirname, '..', '..', 'bin', 'run.js')
const DEFAULT_TIMEOUT_MS = 60_000

export interface Finished {
  readonly stdout: string
  readonly stderr: string
  /** null when a signal ended it. */
  readonly exitCode: number | null
}

/** As `Finished`, where every byte counts. */
export interface Ran {
  readonly stdout: Buffer
  readonly stderr: string
  readonly exitCode: number | null
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Given on stdin, then EOF. */
  readonly input?: string | Uint8Array
  readonly timeoutMs?: number
}

/** Runs a program to its end; a failure is a result. */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Finished> {
  const { stdout, ...rest } = await runForBytes(command, args, options)
  return { ...rest, stdout: stdout.toString() }
}

/** Runs a program to its end and gives its output as it is. */
export function runForBytes(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ran> {
  const { env, input, timeoutMs = DEFAULT_TIMEOUT_MS } = options
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  })
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []]
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (exitCode) => {
      const error = Buffer.concat(stderr).toString()
      resolve({ stdout: Buffer.concat(stdout), stderr: error, exitCode })
    })
  })
}

/** A program that stays. */
export class LongRunning {
  readonly child: ChildProcess
  readonly ended: Promise<number | null>
  readonly #text: { stdout(): string; stderr(): string; changed(): Promise<void> }

  constructor(
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string | undefined>>,
    stdin: 'ignore' | 'pipe' = 'ignore',
  ) {
    this.child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: [stdin, 'pipe', 'pipe'],
    })
    this.child.stdin?.on('error', () => {})
    this.#text = collect(this.child)
    this.ended = new Promise((resolve) => this.child.once('close', resolve))
    liveChildren.add(this.child)
    void this.ended.then(() => liveChildren.delete(this.child))
  }

  get stdout(): string {
    return this.#text.stdout()
  }

  get stderr(): string {
    return this.#text.stderr()
  }

  /** Resolves with the match once stdout or stderr shows it. @throws when it ends or the time is up */
  async shows(pattern: RegExp, timeoutMs = 30_000): Promise<RegExpExecArray> {
    const deadline = AbortSignal.timeout(timeoutMs)
    const gaveUp = new Promise<'gave up'>((resolve) =>
      deadline.addEventListener('abort', () => resolve('gave up'), { once: true }),
    )
    for (;;) {
      const match = pattern.exec(`${this.stdout}\n${this.stderr}`)
      if (match) return match
      const what = await Promise.race([
        this.#text.changed(),
        this.ended.then(() => 'ended' as const),
        gaveUp,
      ])
      if (
        what === 'gave up' ||
        (what === 'ended' && !pattern.test(`${this.stdout}\n${this.stderr}`))
      ) {
        throw new Error(
          `never showed ${pattern}: ${what}\n--- stdout\n${this.stdout}\n--- stderr\n${this.stderr}`,
        )
      }
    }
  }

  /** Sends a signal and waits for the end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.child.kill(signal)
    return await this.ended
  }
}

const liveChildren = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of liveChildren) child.kill('SIGKILL')
})

function collect(child: ChildProcess) {
  const texts = { stdout: '', stderr: '' }
  let wake = () => {}
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (chunk: string) => {
      texts[name] += chunk
      wake()
    })
  }
  return {
    stdout: () => texts.stdout,
    stderr: () => texts.stderr,
    changed: () =>
      new Promise<void>((resolve) => {
        wake = resolve
      }),
  }
}
