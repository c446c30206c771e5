import type { Duplex } from 'node:stream'
import type { Status } from '../kube/status.ts'
import { cut, type Splice, type SpliceResult, splice } from './splice.ts'
import type { SwitchedProtocol } from './switched-protocol.ts'

/** For the frame under way to end, and for the last word to be taken. */
const FAREWELL_MS = 400

/**
 * Both sides of a switch of protocols, joined until they end, or are parted with a last word to the client.
 */
export class JoinedSides {
  /** Never rejects. After a parting both are still to be cut. */
  readonly done: Promise<SpliceResult>
  readonly #near: Duplex
  readonly #far: Duplex
  readonly #protocol: SwitchedProtocol
  readonly #splice: Splice
  #parting: Promise<void> | undefined

  constructor(near: Duplex, far: Duplex, protocol: SwitchedProtocol) {
    this.#near = near
    this.#far = far
    this.#protocol = protocol
    far.on('data', this.#onGiven)
    near.on('data', this.#onHeard)
    this.#splice = splice(near, far)
    this.done = this.#splice.done.then(async (result) => {
      await this.#parting
      return result
    })
  }

  /** Ends the upstream as soon as the client's last frame is whole, and the client with a sentence. */
  part(status: Status): void {
    if (this.#parting) return
    this.#splice.takeApart()
    this.#parting = this.#say(this.#protocol.farewell(status))
  }

  async #say(words: Buffer | undefined): Promise<void> {
    const [near, far] = [this.#near, this.#far]
    if (!words || near.writableEnded || near.destroyed) return
    const { promise: over, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, FAREWELL_MS)
    near.once('close', resolve)
    // What it still says is not wanted, but that it closes.
    near.resume()
    this.#atFrameEnd(() => {
      cut(far)
      near.end(words)
    })
    await over
    clearTimeout(timer)
  }

  #atFrameEnd(act: () => void): void {
    const [near, far, protocol] = [this.#near, this.#far, this.#protocol]
    far.off('data', this.#onGiven)
    if (protocol.isBetweenFrames) {
      act()
      return
    }
    const onData = (chunk: Buffer) => {
      for (let at = 0; at < chunk.length && !protocol.isBetweenFrames; ) {
        const part = chunk.subarray(at, at + protocol.missingBytes)
        at += part.length
        protocol.given(part)
        near.write(part)
      }
      if (!protocol.isBetweenFrames) return
      far.off('data', onData)
      act()
    }
    far.on('data', onData)
    far.resume()
  }

  readonly #onGiven = (chunk: Buffer): void => this.#protocol.given(chunk)
  readonly #onHeard = (chunk: Buffer): void => this.#protocol.heard(chunk)
}
