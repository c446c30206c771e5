import { Duplex, type Writable } from 'node:stream'

/** More than every window of ours together: reached only by a peer that grants windows and never reads. */
const MAX_WAITING_BYTES = 64 << 20

/**
 * A stream over `socket` whose writes never wait for the peer to read.
 *
 * Node's HTTP/2 stops reading from a socket while a write to it is unfinished. When both ends have
 * more under way than the path holds, both wait for the other to read and the session is dead for
 * good. One end that always goes on reading prevents it: of every HTTP/2 session of ours the side that
 * dialled puts this in between. What is written is bounded by the windows the peer granted, and by
 * 64 MiB whatever it granted.
 */
export function decoupleWrites(socket: Duplex): Duplex {
  return new DecoupledDuplex(socket)
}

class DecoupledDuplex extends Duplex {
  readonly #socket: Duplex
  #waiting: (() => void) | undefined

  constructor(socket: Duplex) {
    super({ allowHalfOpen: true })
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause()
    })
    socket.pause()
    socket.once('end', () => this.push(null))
    socket.on('error', (error) => this.destroy(error))
    socket.once('close', () => this.#onClose())
    socket.on('drain', () => this.#release())
    // A half-closed HTTP/2 session is of no use, and Node ends the process (an assertion of its stream
    // wrapper) when such a session still writes, as it does when it is closed.
    this.once('end', () => this.destroy())
  }

  /** For a heartbeat that wants to see whether anything arrives. */
  get bytesRead(): number {
    return (this.#socket as Duplex & { readonly bytesRead?: number }).bytesRead ?? 0
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#socket.write(chunk)
    this.#finish(done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    // TLS would copy them together as well, and HTTP/2 gives two for every frame: its head and its bytes.
    this.#socket.write(Buffer.concat(chunks.map(({ chunk }) => chunk)))
    this.#finish(done)
  }

  override _final(done: () => void): void {
    this.#socket.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy()
    this.#release()
    done(error)
  }

  /** What has arrived whole is still read. */
  #onClose(): void {
    if (this.#socket.readableEnded && !this.readableEnded) this.once('end', () => this.destroy())
    else this.destroy()
  }

  #finish(done: () => void): void {
    if (this.#socket.writableLength > MAX_WAITING_BYTES) this.#waiting = done
    else done()
  }

  #release(): void {
    const done = this.#waiting
    this.#waiting = undefined
    done?.()
  }
}

/** What may wait for a reader of bulk that does not keep up: the less often it is filled, the less each byte costs. */
export const BULK_WAITING_BYTES = 256 << 10

/** From here on a piece is one of many. */
const BULK_BYTES = 8 << 10
/** So long after one of many a small piece is taken for a part of them. */
const SAME_BULK_MS = 5

/**
 * What bulk brings in one turn of the event loop becomes one write to `stream`: call the function it gives with every
 * piece, before that is written. TLS reads record by record, and a record within a record is a large piece
 * and a few bytes behind it, so that half of all pieces are tiny; each would cost as much as a large one. A piece that
 * comes alone and is small, such as a keystroke, is written at once; so is everything where `stream` takes one piece at a
 * time.
 */
export function gatherBulk(stream: Writable): (piece: Buffer) => void {
  if (!stream._writev) return () => {}
  let isGathering = false
  let gatheredBytes = 0
  let lastBulkMs = Number.NEGATIVE_INFINITY
  const flush = () => {
    isGathering = false
    stream.uncork()
  }
  // What a source was stopped before is a few bytes; what they belong to comes with the next turn.
  const flushUnlessFew = () => (gatheredBytes < BULK_BYTES ? setImmediate(flush) : flush())
  const gather = () => {
    isGathering = true
    gatheredBytes = 0
    stream.cork()
    setImmediate(flushUnlessFew)
  }
  return ({ length }) => {
    const nowMs = performance.now()
    if (length >= BULK_BYTES) lastBulkMs = nowMs
    if (!isGathering && nowMs - lastBulkMs <= SAME_BULK_MS) gather()
    gatheredBytes += length
  }
}
