/**
 * A terminal's line discipline, as much of it as a shell in a pod needs: what is typed is shown and given on in
 * lines, ^C interrupts, ^D ends, and lines go out with a carriage return.
 */
import type { Sink, Source } from './pipe.ts'

export interface TerminalSize {
  readonly columns: number
  readonly rows: number
}

/** Lines nobody has read; more are lost, as in a terminal. */
const MAX_TYPED = 4096
const KEY = { INTERRUPT: 3, END: 4, BACKSPACE: 8, NEWLINE: 10, RETURN: 13, DELETE: 127 } as const

export class Terminal {
  readonly stdin: Source
  readonly stdout: Sink
  size: TerminalSize = { columns: 80, rows: 24 }
  /** What ^C does. */
  onInterrupt: () => void = () => {}
  readonly #typed: (Buffer | 'end')[] = []
  #isOver = false
  #wake = () => {}
  readonly #output: Sink
  #line: number[] = []

  constructor(input: Source, output: Sink) {
    this.#output = output
    this.stdin = { read: (signal) => this.#read(signal), cancel: () => {} }
    this.stdout = { write: (bytes) => output.write(withReturns(bytes)), end: () => output.end() }
    void this.#readKeys(input)
  }

  async #readKeys(input: Source): Promise<void> {
    try {
      for (let bytes = await input.read(); bytes; bytes = await input.read())
        for (const byte of bytes) await this.#key(byte)
    } catch {
      // The client, or the process, is gone: so is what was typed.
      input.cancel()
    }
    this.#isOver = true
    this.#wake()
  }

  /** An end that was typed ends one reader; the next one goes on. */
  async #read(signal?: AbortSignal): Promise<Buffer | undefined> {
    while (this.#typed.length === 0 && !this.#isOver)
      await new Promise<void>((resolve) => {
        const before = this.#wake
        this.#wake = () => {
          before()
          resolve()
        }
      })
    const next = signal?.aborted ? undefined : this.#typed.shift()
    return next === 'end' ? undefined : next
  }

  async #key(byte: number): Promise<void> {
    if (byte === KEY.INTERRUPT) {
      this.#line = []
      await this.#echo('^C\r\n')
      this.onInterrupt()
    } else if (byte === KEY.END) {
      this.#deliver(this.#line.length === 0 ? 'end' : Buffer.from(this.#line))
    } else if (byte === KEY.BACKSPACE || byte === KEY.DELETE) {
      if (this.#line.pop() !== undefined) await this.#echo('\b \b')
    } else if (byte === KEY.RETURN || byte === KEY.NEWLINE) {
      this.#line.push(KEY.NEWLINE)
      await this.#echo('\r\n')
      this.#deliver(Buffer.from(this.#line))
    } else {
      this.#line.push(byte)
      await this.#output.write(Buffer.of(byte))
    }
  }

  #echo(text: string): Promise<void> {
    return this.#output.write(Buffer.from(text))
  }

  #deliver(typed: Buffer | 'end'): void {
    this.#line = []
    if (this.#typed.length < MAX_TYPED) this.#typed.push(typed)
    this.#wake()
    this.#wake = () => {}
  }
}

function withReturns(bytes: Buffer): Buffer {
  if (!bytes.includes(KEY.NEWLINE)) return bytes
  return Buffer.from(bytes.toString('latin1').replaceAll('\n', '\r\n'), 'latin1')
}
