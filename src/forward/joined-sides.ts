import type { Duplex } from 'node:stream'
import type { Status } from '../kube/status.ts'
import { FramePassage } from './frame-passage.ts'
import { HeldPings } from './held-pings.ts'
import { cut, type Splice, type SpliceResult, splice } from './splice.ts'
import type { SwitchedProtocol } from './switched-protocol.ts'

/** For the frame under way to end, and for the last word to be taken. */
const FAREWELL_MS = 400

export interface JoinedSidesOptions {
  readonly near: Duplex
  readonly far: Duplex
  readonly protocol: SwitchedProtocol
  /** What came behind the answer, and is given to the client before all else. */
  readonly earlyFromFar: Buffer
  /** What came behind the request. */
  readonly earlyFromNear: Buffer
}

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
  readonly #pings: HeldPings
  #givenBytes = 0
  #parting: Promise<void> | undefined

  constructor({ near, far, protocol, earlyFromFar, earlyFromNear }: JoinedSidesOptions) {
    this.#near = near
    this.#far = far
    this.#protocol = protocol
    const given = new FramePassage(protocol.given, (piece) => near.write(piece))
    const heard = new FramePassage(protocol.heard, (piece) => far.write(piece), {
      is: (chunk, start, end) => protocol.isPing(chunk, start, end),
      take: (ping) => this.#pings.hold(ping),
    })
    this.#pings = new HeldPings({
      isStopped: () => far.isPaused(),
      givenBytes: () => this.#givenBytes,
      pass: (ping) => far.writable && heard.put(ping),
      answer: (ping) => near.writable && given.put(protocol.pongTo(ping)),
    })
    const give = (chunk: Buffer) => {
      this.#givenBytes += chunk.length
      given.pass(chunk)
    }
    near.once('end', () => {
      // Who has ended waits for no pong.
      this.#pings.stop()
      heard.end()
    })
    give(earlyFromFar)
    heard.pass(earlyFromNear)
    this.#splice = splice(near, far, {
      passToLeft: give,
      passToRight: (chunk) => heard.pass(chunk),
    })
    this.done = this.#splice.done.then(async (result) => {
      this.#pings.stop()
      await this.#parting
      return result
    })
  }

  /** Whether all is over but that the client closes its side. */
  get isDelivered(): boolean {
    return this.#splice.isDelivered
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
    if (protocol.isBetweenFrames) {
      act()
      return
    }
    const onData = (chunk: Buffer) => {
      for (let at = 0; at < chunk.length && !protocol.isBetweenFrames; ) {
        const end = protocol.given.take(chunk, at)
        near.write(chunk.subarray(at, end))
        at = end
      }
      if (!protocol.isBetweenFrames) return
      far.off('data', onData)
      act()
    }
    far.on('data', onData)
    far.resume()
  }
}
