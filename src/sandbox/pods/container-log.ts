/** What a container's main process has said, the newest mebibyte and ten thousand lines of it. */
import type { World } from '../../world.ts'

export interface LogLine {
  /** RFC 3339 with milliseconds. */
  readonly time: string
  /** With its end, but for a last line that has none. */
  readonly text: string
}

const KEPT_BYTES = 1024 * 1024
const KEPT_LINES = 10_000
const NEWLINE = 10

export class ContainerLog {
  readonly #world: World
  readonly #lines: LogLine[] = []
  readonly #listeners = new Set<() => void>()
  #partial: Buffer = Buffer.alloc(0)
  #bytes = 0
  /** How many lines are forgotten. */
  #forgotten = 0

  constructor(world: World) {
    this.#world = world
  }

  lines(): readonly LogLine[] {
    return this.linesFrom(0)
  }

  /** Where the next line will stand. */
  get end(): number {
    return this.#forgotten + this.#lines.length
  }

  /** What is still known of the lines from a place on. */
  linesFrom(place: number): readonly LogLine[] {
    return this.#lines.slice(Math.max(0, place - this.#forgotten))
  }

  append(bytes: Buffer): void {
    const time = this.#world.now().toISOString()
    let rest = this.#partial.length > 0 ? Buffer.concat([this.#partial, bytes]) : bytes
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      this.#add(time, rest.subarray(0, end + 1))
      rest = rest.subarray(end + 1)
    }
    this.#partial = rest
    if (rest.length > KEPT_BYTES) this.flush()
    this.#forget()
    for (const listener of [...this.#listeners]) listener()
  }

  /** Nothing more comes: what has no end is a line all the same. */
  flush(): void {
    if (this.#partial.length > 0) this.#add(this.#world.now().toISOString(), this.#partial)
    this.#partial = Buffer.alloc(0)
  }

  /** Calls back whenever there is more; the answer ends it. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #add(time: string, bytes: Buffer): void {
    const line = { time, text: bytes.toString('utf8') }
    this.#lines.push(line)
    this.#bytes += line.text.length
  }

  /** In one go, since taking lines off the front one by one is slow. */
  #forget(): void {
    let count = Math.max(0, this.#lines.length - KEPT_LINES)
    for (let index = 0; index < count; index += 1) this.#bytes -= this.#lines[index]!.text.length
    for (; this.#bytes > KEPT_BYTES; count += 1) this.#bytes -= this.#lines[count]!.text.length
    this.#lines.splice(0, count)
    this.#forgotten += count
  }
}
