/** What a container's main process has said, the newest mebibyte of it. */
import type { World } from '../../world.ts'

export interface LogLine {
  /** RFC 3339 with milliseconds. */
  readonly time: string
  /** With its end, but for a last line that has none. */
  readonly text: string
}

const KEPT_BYTES = 1024 * 1024
const NEWLINE = 10

export class ContainerLog {
  readonly #world: World
  readonly #lines: LogLine[] = []
  readonly #listeners = new Set<(line: LogLine) => void>()
  #partial: Buffer = Buffer.alloc(0)
  #bytes = 0

  constructor(world: World) {
    this.#world = world
  }

  lines(): readonly LogLine[] {
    return [...this.#lines]
  }

  append(bytes: Buffer): void {
    let rest = this.#partial.length > 0 ? Buffer.concat([this.#partial, bytes]) : bytes
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      this.#add(rest.subarray(0, end + 1))
      rest = rest.subarray(end + 1)
    }
    this.#partial = rest
    if (rest.length > KEPT_BYTES) this.flush()
  }

  /** Nothing more comes: what has no end is a line all the same. */
  flush(): void {
    if (this.#partial.length > 0) this.#add(this.#partial)
    this.#partial = Buffer.alloc(0)
  }

  /** Calls back for every later line; the answer ends it. */
  subscribe(listener: (line: LogLine) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #add(bytes: Buffer): void {
    const line = { time: this.#world.now().toISOString(), text: bytes.toString('utf8') }
    this.#lines.push(line)
    this.#bytes += line.text.length
    while (this.#bytes > KEPT_BYTES) this.#bytes -= this.#lines.shift()!.text.length
    for (const listener of [...this.#listeners]) listener(line)
  }
}
