import { PassThrough } from 'node:stream'
import type { Child, ChildEnd, ChildOptions, StartChild } from '../../src/device/child-process.ts'

/** Programs that do what the test says, in the place of real ones. */
export class FakeChild implements Child {
  readonly command: readonly string[]
  readonly options: ChildOptions
  readonly stdout = new PassThrough()
  readonly stderr = new PassThrough()
  readonly signals: NodeJS.Signals[] = []
  /** Called on every signal; as of a program without handlers unless replaced. */
  onSignal = (signal: NodeJS.Signals) => this.end({ exitCode: null, signal })
  readonly #end = Promise.withResolvers<ChildEnd>()
  readonly ended = this.#end.promise
  isOver = false

  constructor(command: readonly string[], options: ChildOptions) {
    this.command = command
    this.options = options
    // Nobody reads the output of an attached one.
    for (const stream of [this.stdout, this.stderr]) stream.on('error', () => {})
  }

  get cluster(): string {
    return String(this.options.env['MCM_CLUSTER'])
  }

  end(end: Partial<ChildEnd> = {}): void {
    if (this.isOver) return
    this.isOver = true
    this.stdout.end()
    this.stderr.end()
    this.#end.resolve({ exitCode: end.signal ? null : 0, signal: null, ...end })
  }

  fail(error: Error): void {
    this.isOver = true
    this.stdout.destroy(new Error('premature close'))
    this.stderr.destroy()
    this.#end.reject(error)
  }

  kill(signal: NodeJS.Signals): void {
    this.signals.push(signal)
    if (!this.isOver) this.onSignal(signal)
  }
}

/** Starts fakes and lets `play` act for each of them at once. */
export function fakeChildren(play: (child: FakeChild) => void = () => {}) {
  const children: FakeChild[] = []
  const start: StartChild = (command, options) => {
    const child = new FakeChild(command, options)
    children.push(child)
    queueMicrotask(() => play(child))
    return child
  }
  return { children, start, running: () => children.filter(({ isOver }) => !isOver) }
}
