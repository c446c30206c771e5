import { Readable } from 'node:stream'
import { isWhole } from './whole.ts'

/**
 * Bodies up to here are gathered first: one write upstream, and no connection held while a slow
 * client sends.
 */
export const GATHERED_BODY_BYTES = 64 * 1024

/**
 * A request's body, by itself. The stream it comes from may also carry the answer (HTTP/2), so
 * whoever consumes and destroys a body must not get hold of that. A source that ends early becomes
 * an error, never an end.
 */
export class RequestBody extends Readable {
  readonly #source: Readable
  #isPaused = true

  constructor(source: Readable) {
    super({ highWaterMark: 256 * 1024 })
    this.#source = source
    source.on('data', this.#onData)
    source.pause()
    source.once('end', this.#onEnd)
    source.once('aborted', this.#onCut)
    source.once('close', this.#onCut)
    source.once('error', this.#onCut)
  }

  override _read(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#source.resume()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#letGo()
    callback(error)
  }

  #letGo(): void {
    const source = this.#source
    source.off('data', this.#onData)
    source.off('end', this.#onEnd)
    source.off('aborted', this.#onCut)
    source.off('close', this.#onCut)
    source.off('error', this.#onCut)
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.push(chunk)) return
    this.#isPaused = true
    this.#source.pause()
  }

  readonly #onEnd = (): void => {
    if (!isWhole(this.#source)) {
      this.#onCut()
      return
    }
    // Its close comes before the last of it has been taken here, and says nothing any more.
    this.#letGo()
    this.push(null)
  }

  readonly #onCut = (): void => {
    if (!this.readableEnded && !this.destroyed)
      this.destroy(new Error('the request body was cut off'))
  }
}

/**
 * Reads a body of a known small length. `done` gets it whole, or undefined when it was cut off.
 * Nothing happens after `done`.
 */
export function gatherBody(
  source: Readable,
  length: number,
  done: (body: Buffer | undefined) => void,
): void {
  const chunks: Buffer[] = []
  let received = 0
  const settle = (body: Buffer | undefined) => {
    source.off('data', onData)
    source.off('end', onEnd)
    source.off('close', onCut)
    source.off('error', onCut)
    done(body)
  }
  const onData = (chunk: Buffer) => {
    chunks.push(chunk)
    received += chunk.length
    if (received > length) settle(undefined)
  }
  const onEnd = () => {
    const isComplete = received === length && isWhole(source)
    settle(isComplete ? (chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)) : undefined)
  }
  const onCut = () => settle(undefined)
  source.on('data', onData)
  source.once('end', onEnd)
  source.once('close', onCut)
  source.once('error', onCut)
  source.resume()
}
