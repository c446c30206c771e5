/**
 * A program on a terminal of its own (`script` of util-linux holds the other end), typed at and resized as by a
 * person at a window.
 */
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runCommand } from '../cluster/run-command.ts'

export interface TerminalOptions {
  readonly env: Readonly<Record<string, string | undefined>>
  /** A folder for the terminal's name. */
  readonly scratch: string
  readonly rows?: number
  readonly columns?: number
}

const DEFAULT_TIMEOUT_MS = 30_000
let opened = 0

/** Everything the program shows, with the terminal's `\r\n`. */
export class Terminal {
  readonly ended: Promise<number | null>
  readonly #child
  readonly #nameFile: string
  #text = ''
  #changed = () => {}

  constructor(command: string, args: readonly string[], options: TerminalOptions) {
    const { env, scratch, rows = 24, columns = 80 } = options
    this.#nameFile = join(scratch, `terminal-${process.pid}-${opened++}`)
    const words = [command, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')
    const size = `stty rows ${rows} cols ${columns}`
    const script = `tty > '${this.#nameFile}'; ${size}; exec ${words}`
    this.#child = spawn('script', ['-qefc', script, '/dev/null'], {
      env: { ...process.env, ...env, SHELL: '/bin/sh', TERM: 'dumb' },
    })
    this.#child.stdin.on('error', () => {})
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text
      this.#changed()
    })
    this.ended = new Promise((resolve) => this.#child.once('close', resolve))
    void this.ended.then(() => this.#changed())
  }

  get text(): string {
    return this.#text
  }

  type(text: string): void {
    this.#child.stdin.write(text)
  }

  /** Gives the window another size; the program hears of it as of a real one (SIGWINCH). */
  async resize(rows: number, columns: number): Promise<void> {
    const name = (await readFile(this.#nameFile, 'utf8')).trim()
    const size = ['rows', String(rows), 'cols', String(columns)]
    const { exitCode, stderr } = await runCommand('stty', ['-F', name, ...size])
    if (exitCode !== 0) throw new Error(`stty of ${name}: ${stderr}`)
  }

  /** Resolves once the screen has shown it. @throws Error with the screen when it never does */
  async shows(pattern: RegExp, timeoutMs = DEFAULT_TIMEOUT_MS): Promise<RegExpExecArray> {
    const deadline = Date.now() + timeoutMs
    for (;;) {
      const match = pattern.exec(this.#text)
      if (match) return match
      const isOver = this.#child.exitCode !== null || this.#child.signalCode !== null
      const left = deadline - Date.now()
      if (isOver || left <= 0)
        throw new Error(`the terminal never showed ${pattern}:\n${JSON.stringify(this.#text)}`)
      await this.#change(left)
    }
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #change(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#changed = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
