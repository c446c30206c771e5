import { Duplex } from 'node:stream'
import { BULK_WAITING_BYTES } from '../duplex.ts'
import type { UpgradeAnswer } from '../forward/upstream.ts'
import { closeFrame, FrameTracker, PING, pongFrame } from '../forward/websocket-frames.ts'
import type { InnerPath } from './inner-path.ts'

/**
 * A WebSocket whose far end cannot be heard for a while. Clients ping (client-go every five seconds) and give up
 * when nobody answers (after sixty): while the path is suspended their pings are answered here, between two frames
 * of the far end. When the path ends for good the client is told why. Everything else passes as it is.
 */
export function patientWebSocket(answer: UpgradeAnswer, path: InnerPath): UpgradeAnswer {
  if (!path.isPipe || !answer.isSwitched) return answer
  const socket = new PatientSocket(answer.socket, path)
  socket.receive(answer.early)
  return { ...answer, socket, early: Buffer.alloc(0) }
}

/** A frame up to this size is passed on whole, so that ours can always stand between two. */
const MAX_HELD_BYTES = 64 << 10

class PatientSocket extends Duplex {
  readonly #far: Duplex
  readonly #path: InnerPath
  readonly #fromFar = new FrameTracker()
  readonly #fromNear = new FrameTracker((frame) => {
    if (frame.opcode === PING) this.#onPing(frame.payload)
  })
  /** The beginning of a frame that is not whole yet. */
  #held: Buffer[] = []
  #heldBytes = 0
  /** The client has seen a part of a frame that is too large to be held. */
  #isMidFrame = false
  #waiting: (() => void) | undefined
  /** Of the last ping that could not be answered yet. */
  #owedPong: Buffer | undefined

  constructor(far: Duplex, path: InnerPath) {
    super({ allowHalfOpen: true, writableHighWaterMark: BULK_WAITING_BYTES })
    this.#far = far
    this.#path = path
    far.on('data', (chunk: Buffer) => this.receive(chunk))
    far.pause()
    far.once('end', () => this.#onEnd())
    far.on('error', (error) => this.#onClose(error))
    far.once('close', () => this.#onClose(undefined))
    far.on('drain', () => this.#onDrain())
  }

  /** The next bytes of the far end. */
  receive(chunk: Buffer): void {
    if (chunk.length === 0) return
    const whole = this.#fromFar.push(chunk)
    if (whole > 0) {
      this.#release()
      this.#pass(chunk.subarray(0, whole))
      this.#isMidFrame = false
    }
    if (whole < chunk.length) this.#receivePart(chunk.subarray(whole))
    this.#payPong()
  }

  override _read(): void {
    this.#far.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#fromNear.push(chunk)
    if (this.#far.write(chunk)) done()
    else this.#waiting = done
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#far.cork()
    let isRoom = true
    for (const { chunk } of chunks) {
      this.#fromNear.push(chunk)
      isRoom = this.#far.write(chunk)
    }
    if (!isRoom) this.#waiting = done
    this.#far.uncork()
    if (isRoom) done()
  }

  override _final(done: () => void): void {
    this.#far.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#far.destroy(error ?? undefined)
    done(error)
  }

  #receivePart(part: Buffer): void {
    if (this.#isMidFrame) {
      this.#pass(part)
      return
    }
    this.#held.push(part)
    this.#heldBytes += part.length
    if (this.#heldBytes + this.#fromFar.missingBytes <= MAX_HELD_BYTES) return
    this.#release()
    this.#isMidFrame = true
  }

  #release(): void {
    if (this.#heldBytes === 0) return
    this.#pass(this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held))
    this.#held = []
    this.#heldBytes = 0
  }

  #pass(bytes: Buffer): void {
    if (!this.push(bytes)) this.#far.pause()
  }

  #onPing(payload: Buffer): void {
    if (!this.#path.isSuspended) return
    this.#owedPong = Buffer.from(payload)
    this.#payPong()
  }

  #payPong(): void {
    if (!this.#owedPong || this.#isMidFrame || this.readableEnded) return
    this.push(pongFrame(this.#owedPong))
    this.#owedPong = undefined
  }

  #onDrain(): void {
    const done = this.#waiting
    this.#waiting = undefined
    done?.()
  }

  #onEnd(): void {
    this.#release()
    this.push(null)
  }

  /** Its last word, if the path has one and there is a place for it; then it ends as a server does. */
  #onClose(error: Error | undefined): void {
    if (this.destroyed) return
    const { end } = this.#path
    if (this.#far.readableEnded) {
      if (this.readableEnded) this.destroy(error)
      else this.once('end', () => this.destroy(error))
    } else if (end && !this.#isMidFrame) {
      this.push(closeFrame(`mcm: ${end.message}`))
      this.push(null)
      this.once('end', () => this.destroy())
    } else this.destroy(error)
  }
}
