/** Follows the bytes of one direction, which are frames. */
export interface FrameBounds {
  /** Whether everything so far is whole frames. */
  readonly isAtBoundary: boolean
  /** Takes the bytes from `start` to the end of the frame under way, or of the chunk. Gives where that is. */
  take(chunk: Buffer, start: number): number
}

/** Frames of a small kind that may be taken out of a stream. */
export interface SmallFrames {
  /** Whether the frame from `start` on is one, as far as its bytes until `end` say. */
  is(chunk: Buffer, start: number, end: number): boolean
  /** A whole one. Gives whether it has been taken; it passes otherwise. */
  take(frame: Buffer): boolean
}

const NONE: SmallFrames = { is: () => false, take: () => false }

/**
 * Passes frames on as they come, in the pieces they come in. Small ones can be taken out, and others put in
 * between two.
 */
export class FramePassage {
  readonly #bounds: FrameBounds
  readonly #write: (piece: Buffer) => void
  readonly #small: SmallFrames
  /** What may become a frame to take. */
  #begun: Buffer = Buffer.alloc(0)
  #put: Buffer[] = []

  constructor(bounds: FrameBounds, write: (piece: Buffer) => void, small: SmallFrames = NONE) {
    this.#bounds = bounds
    this.#write = write
    this.#small = small
  }

  pass(piece: Buffer): void {
    if (piece.length === 0) return
    let at = this.#begun.length
    const chunk = at > 0 ? Buffer.concat([this.#begun, piece]) : piece
    let start = at > 0 ? 0 : -1
    let passed = 0
    const passUntil = (end: number) => {
      if (end > passed) this.#write(chunk.subarray(passed, end))
      passed = end
    }
    this.#begun = Buffer.alloc(0)
    while (at < chunk.length) {
      if (this.#bounds.isAtBoundary) start = at
      at = this.#bounds.take(chunk, at)
      if (
        start >= 0 &&
        this.#small.is(chunk, start, at) &&
        this.#keeps(chunk.subarray(start, at))
      ) {
        passUntil(start)
        passed = at
      }
      if (!this.#bounds.isAtBoundary || this.#put.length === 0) continue
      passUntil(at)
      for (const frame of this.#put.splice(0)) this.#write(frame)
    }
    passUntil(chunk.length)
  }

  /** Whether a small frame, or what is there of it, does not pass now. */
  #keeps(bytes: Buffer): boolean {
    const frame = Buffer.from(bytes)
    if (this.#bounds.isAtBoundary) return this.#small.take(frame)
    this.#begun = frame
    return true
  }

  /** Writes a frame of ours, behind the one under way. */
  put(frame: Buffer): void {
    if (this.#bounds.isAtBoundary) this.#write(frame)
    else this.#put.push(frame)
  }

  /** Nothing follows: passes what has only begun. What was still to be put behind it is not written. */
  end(): void {
    if (this.#begun.length > 0) this.#write(this.#begun)
    this.#begun = Buffer.alloc(0)
  }
}
