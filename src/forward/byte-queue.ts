/** Bytes that arrive in pieces of any size and are taken in others; every byte is copied at most once. */
export class ByteQueue {
  readonly #chunks: Buffer[] = []
  #length = 0

  get length(): number {
    return this.#length
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return
    this.#chunks.push(chunk)
    this.#length += chunk.length
  }

  /** The first bytes, which stay; fewer when there are fewer. */
  peek(count: number): Buffer {
    const first = this.#chunks[0]
    if (first && first.length >= count) return first.subarray(0, count)
    const needed: Buffer[] = []
    for (let index = 0, found = 0; index < this.#chunks.length && found < count; index += 1) {
      needed.push(this.#chunks[index]!)
      found += this.#chunks[index]!.length
    }
    return Buffer.concat(needed).subarray(0, count)
  }

  /** The first bytes, which are gone then. There must be so many. */
  take(count: number): Buffer {
    const parts: Buffer[] = []
    this.#length -= count
    for (let left = count; left > 0; ) {
      const first = this.#chunks[0]!
      const part = first.subarray(0, left)
      parts.push(part)
      left -= part.length
      if (part.length === first.length) this.#chunks.shift()
      else this.#chunks[0] = first.subarray(part.length)
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  }
}
