import type { Duplex } from 'node:stream'
import { Carrier, type CarrierOwner } from './carrier.ts'
import { CarrierFault, type ControlFrame, FRAME, frame } from './frame.ts'
import type { PipeStream } from './pipe-stream.ts'
import {
  agentProof,
  clientProof,
  generationBytes,
  isProof,
  NONCE_BYTES,
  type PipeKeys,
  PROOF_BYTES,
  type ResumeAttempt,
} from './proof.ts'

/** Why an agent, or whoever answers for it, did not let a pipe be opened or resumed. Never proved. */
export const REFUSED = { unknown: 1, generation: 2, version: 3, tooMany: 4 } as const

const REFUSALS: Readonly<Record<number, string>> = {
  [REFUSED.unknown]: 'the agent does not know the session',
  [REFUSED.generation]: 'the agent has had a later attempt',
  [REFUSED.version]: 'the agent speaks another version',
  [REFUSED.tooMany]: 'the agent has too many sessions',
}

export class HintedRefusal extends Error {
  override readonly name = 'HintedRefusal'

  constructor(code: number) {
    super(REFUSALS[code] ?? 'the agent refused')
  }
}

export interface Resuming {
  readonly keys: PipeKeys
  readonly generation: number
  readonly stream: PipeStream
  random(byteCount: number): Uint8Array
  readonly signal: AbortSignal
}

/**
 * The client's part of docs/PROTOCOL.md §9.3 on a new carrier, which is the stream's when this resolves.
 * @throws HintedRefusal, Error why it did not work
 */
export function resumeOn(connection: Duplex, resuming: Resuming): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const owner = new ResumingOwner(resuming, resolve, reject)
  const carrier = new Carrier(connection, owner)
  owner.begin(carrier)
  const abandon = () => {
    // Once it is the stream's, whatever becomes of it is the stream's affair.
    if (carrier.owner !== owner) return
    carrier.destroy()
    reject(new Error('the agent did not answer in time'))
  }
  resuming.signal.addEventListener('abort', abandon, { once: true })
  return promise.finally(() => resuming.signal.removeEventListener('abort', abandon))
}

class ResumingOwner implements CarrierOwner {
  readonly #resuming: Resuming
  readonly #clientNonce: Buffer
  readonly #done: () => void
  readonly #failed: (why: Error) => void
  #carrier!: Carrier

  constructor(resuming: Resuming, done: () => void, failed: (why: Error) => void) {
    this.#resuming = resuming
    this.#clientNonce = Buffer.from(resuming.random(NONCE_BYTES))
    this.#done = done
    this.#failed = failed
  }

  begin(carrier: Carrier): void {
    const { keys, generation } = this.#resuming
    this.#carrier = carrier
    const payload = Buffer.concat([keys.id, generationBytes(generation), this.#clientNonce])
    carrier.send([frame(FRAME.resume, 0, payload)])
  }

  onFrame(frame: ControlFrame): void {
    if (frame.type === FRAME.refused) this.#fail(new HintedRefusal(frame.payload[0] ?? 0))
    else if (this.#resuming.stream.isOver) this.#fail(new Error('the session is over'))
    else this.#prove(frame)
  }

  #prove({ type, offset, payload }: ControlFrame): void {
    if (type !== FRAME.challenge || payload.length !== NONCE_BYTES + PROOF_BYTES)
      throw new CarrierFault('no answer to RESUME')
    const { keys, generation, stream } = this.#resuming
    const agentNonce = payload.subarray(0, NONCE_BYTES)
    const { clientNonce, agentReceived } = { clientNonce: this.#clientNonce, agentReceived: offset }
    const attempt: ResumeAttempt = { generation, clientNonce, agentNonce, agentReceived }
    if (!isProof(payload.subarray(NONCE_BYTES), agentProof(keys, attempt)))
      throw new CarrierFault('whoever answered is not the agent of this session')
    const received = stream.core.received
    this.#carrier.send([frame(FRAME.proof, received, clientProof(keys, attempt, received))])
    stream.attach(this.#carrier, agentReceived)
    this.#done()
  }

  onData(): void {
    throw new CarrierFault('bytes before their time')
  }

  onArrived(): void {}

  onRoom(): void {}

  onEnd(): void {
    this.#fail(new Error('the carrier was ended'))
  }

  onLost(why: string): void {
    this.#failed(new Error(why))
  }

  #fail(why: Error): void {
    this.#carrier.destroy()
    this.#failed(why)
  }
}
