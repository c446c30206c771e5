/** A source that can also be read by the line, what follows the line staying for the next reader. */
import type { Source } from './pipe.ts'

const NEWLINE = 10
const MAX_LINE_BYTES = 1024 * 1024

export class LineSource implements Source {
  readonly #source: Source
  #left: Buffer | undefined

  constructor(source: Source) {
    this.#source = source
  }

  async read(signal?: AbortSignal): Promise<Buffer | undefined> {
    const left = this.#left
    this.#left = undefined
    return left ?? (await this.#source.read(signal))
  }

  /** A line without its end; at the end of the source undefined, or what stands behind the last line. */
  async readLine(signal?: AbortSignal): Promise<string | undefined> {
    let line = Buffer.alloc(0)
    for (;;) {
      const chunk = await this.read(signal)
      if (!chunk) return line.length > 0 ? line.toString('utf8') : undefined
      const end = chunk.indexOf(NEWLINE)
      line = Buffer.concat([line, end < 0 ? chunk : chunk.subarray(0, end)])
      if (end < 0 && line.length < MAX_LINE_BYTES) continue
      if (end >= 0 && end + 1 < chunk.length) this.#left = chunk.subarray(end + 1)
      return line.toString('utf8')
    }
  }

  cancel(): void {
    this.#source.cancel()
  }
}

export function withLines(source: Source): LineSource {
  return source instanceof LineSource ? source : new LineSource(source)
}
