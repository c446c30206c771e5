/** The ends that simulated processes read from and write to. */

/** Where bytes come from. */
export interface Source {
  /** The next bytes; undefined at the end. Whoever stops waiting by the signal takes none. */
  read(signal?: AbortSignal): Promise<Buffer | undefined>
  /** Nothing more will be read. */
  cancel(): void
}

/** Where bytes go. */
export interface Sink {
  /** Resolves when more may be written. @throws BrokenPipe when nobody reads any more */
  write(bytes: Buffer): Promise<void>
  end(): void
}

/** Nobody reads what is written. */
export class BrokenPipe extends Error {
  constructor() {
    super('Broken pipe')
    this.name = 'BrokenPipe'
  }
}

const CAPACITY_BYTES = 64 * 1024

/** Both ends of a pipe; a writer waits while 64 KiB are unread. */
export class Pipe implements Source, Sink {
  readonly #chunks: Buffer[] = []
  #length = 0
  #hasEnded = false
  #isCancelled = false
  #waiting: (() => void)[] = []

  async write(bytes: Buffer): Promise<void> {
    if (this.#isCancelled) throw new BrokenPipe()
    if (bytes.length === 0 || this.#hasEnded) return
    this.#chunks.push(bytes)
    this.#length += bytes.length
    this.#wake()
    while (this.#length > CAPACITY_BYTES && !this.#isCancelled) await this.#change()
    if (this.#isCancelled) throw new BrokenPipe()
  }

  end(): void {
    this.#hasEnded = true
    this.#wake()
  }

  async read(signal?: AbortSignal): Promise<Buffer | undefined> {
    while (this.#chunks.length === 0 && !this.#hasEnded && !this.#isCancelled) await this.#change()
    if (signal?.aborted) return undefined
    const chunk = this.#chunks.shift()
    this.#length -= chunk?.length ?? 0
    this.#wake()
    return chunk
  }

  cancel(): void {
    this.#isCancelled = true
    this.#chunks.length = 0
    this.#length = 0
    this.#wake()
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}

/** `/dev/null` for reading, and what a process without stdin reads. */
export const NOTHING: Source = { read: async () => undefined, cancel: () => {} }

/** `/dev/null` for writing. */
export const NOWHERE: Sink = { write: async () => {}, end: () => {} }

/** These bytes and no more. */
export function sourceOfBytes(bytes: Buffer): Source {
  let rest: Buffer | undefined = bytes.length > 0 ? bytes : undefined
  return {
    read: async () => {
      const all = rest
      rest = undefined
      return all
    },
    cancel: () => {
      rest = undefined
    },
  }
}

/** Everything up to the end. @throws RangeError over `limit` */
export async function readAll(source: Source, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for (let chunk = await source.read(); chunk; chunk = await source.read()) {
    chunks.push(chunk)
    length += chunk.length
    if (length > limit) throw new RangeError(`more than ${limit} bytes`)
  }
  return Buffer.concat(chunks)
}
