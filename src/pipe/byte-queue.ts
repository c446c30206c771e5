/**
 * Bytes in order, numbered from 0 for as long as a pipe lives: added at the end, read from a place that
 * can be put back, dropped at the start. Large pieces are kept as they are; small ones, and small parts
 * of large memory, are copied together, so that what is held is about what is counted.
 */

const BLOCK_BYTES = 16 * 1024
/** A piece below this is copied; so is one that would keep four times its size alive. */
const SMALL_BYTES = 2_048

export class ByteQueue {
  readonly #pieces: Buffer[] = []
  /** Offset of each piece's first byte. */
  readonly #offsets: number[] = []
  /** Pieces before this have been dropped. */
  #first = 0
  #start = 0
  #next = 0
  #nextPiece = 0
  #end = 0
  #block: Buffer | undefined
  #blockUsed = 0

  /** The first byte that is kept. */
  get start(): number {
    return this.#start
  }

  /** The first byte that has not been taken. */
  get next(): number {
    return this.#next
  }

  /** One behind the last byte. */
  get end(): number {
    return this.#end
  }

  get length(): number {
    return this.#end - this.#start
  }

  push(piece: Buffer): void {
    if (piece.length === 0) return
    const isLarge = piece.length >= SMALL_BYTES && piece.length * 4 >= piece.buffer.byteLength
    if (isLarge) this.#append(piece)
    else this.#copy(piece)
  }

  /** Counts bytes that somebody took without their being put in; only while it is empty. */
  skip(count: number): void {
    this.#end += count
    this.#next = this.#end
    this.#start = this.#end
  }

  /** The next bytes, at most so many, in the pieces they are kept in. */
  take(maxBytes: number): Buffer[] {
    const taken: Buffer[] = []
    const until = this.#next + maxBytes
    for (let part = this.takePiece(maxBytes); part; part = this.takePiece(until - this.#next))
      taken.push(part)
    return taken
  }

  /** The next bytes of one piece, at most so many; undefined when there are none. */
  takePiece(maxBytes: number): Buffer | undefined {
    const most = Math.min(maxBytes, this.#end - this.#next)
    if (most <= 0) return undefined
    this.#stepBack()
    const piece = this.#pieces[this.#nextPiece]!
    const from = this.#next - this.#offsets[this.#nextPiece]!
    const part = piece.subarray(from, Math.min(piece.length, from + most))
    this.#next += part.length
    if (from + part.length === piece.length) this.#nextPiece += 1
    return part
  }

  /** The next bytes will be those from `offset` on, which must be kept still. */
  rewind(offset: number): void {
    this.#next = Math.max(this.#start, Math.min(offset, this.#end))
    let low = this.#first
    let high = this.#pieces.length
    // The last piece that begins at or before it; behind all of them when everything is taken.
    while (low < high) {
      const middle = (low + high) >>> 1
      const end = this.#offsets[middle]! + this.#pieces[middle]!.length
      if (end <= this.#next) low = middle + 1
      else high = middle
    }
    this.#nextPiece = low
  }

  /** Forgets everything before `offset`. */
  drop(offset: number): void {
    this.#start = Math.max(this.#start, Math.min(offset, this.#end))
    while (this.#first < this.#pieces.length) {
      const end = this.#offsets[this.#first]! + this.#pieces[this.#first]!.length
      if (end > this.#start) break
      this.#pieces[this.#first] = GONE
      this.#first += 1
    }
    if (this.#first === this.#pieces.length) this.#block = undefined
    if (this.#next < this.#start) this.rewind(this.#start)
    this.#compact()
  }

  /** The piece read last may have grown since. */
  #stepBack(): void {
    const offset = this.#offsets[this.#nextPiece]
    if (offset === undefined || this.#next < offset) this.#nextPiece -= 1
  }

  #append(piece: Buffer): void {
    this.#block = undefined
    this.#pieces.push(piece)
    this.#offsets.push(this.#end)
    this.#end += piece.length
  }

  /** Behind what the block has already: parts of it that were given out do not change. */
  #copy(piece: Buffer): void {
    let at = 0
    while (at < piece.length) {
      if (!this.#block || this.#blockUsed === this.#block.length) this.#openBlock(piece.length - at)
      const block = this.#block!
      const count = piece.copy(block, this.#blockUsed, at)
      const last = this.#pieces.length - 1
      const begin = this.#end - this.#offsets[last]!
      this.#pieces[last] = block.subarray(this.#blockUsed - begin, this.#blockUsed + count)
      this.#blockUsed += count
      this.#end += count
      at += count
    }
  }

  #openBlock(wanted: number): void {
    // The first small piece of a quiet pipe shall not cost a whole block.
    const bytes = this.#block ? BLOCK_BYTES : Math.min(BLOCK_BYTES, Math.max(wanted, 512))
    this.#block = Buffer.allocUnsafeSlow(bytes)
    this.#blockUsed = 0
    this.#pieces.push(GONE)
    this.#offsets.push(this.#end)
  }

  #compact(): void {
    if (this.#first < 64 || this.#first * 2 < this.#pieces.length) return
    this.#pieces.splice(0, this.#first)
    this.#offsets.splice(0, this.#first)
    this.#nextPiece -= this.#first
    this.#first = 0
  }
}

const GONE = Buffer.alloc(0)
