import type { Duplex } from 'node:stream'
import type { AgentPipe } from './agent-pipe.ts'
import { Carrier, type CarrierOwner } from './carrier.ts'
import { CarrierFault, type ControlFrame, FRAME, frame, PIPE_VERSION } from './frame.ts'
import {
  agentProof,
  clientProof,
  GENERATION_BYTES,
  ID_BYTES,
  isProof,
  NONCE_BYTES,
  PROOF_BYTES,
  type ResumeAttempt,
} from './proof.ts'
import { REFUSED } from './resuming.ts'

/** What becomes of a carrier that somebody has brought. */
export interface Accepting {
  random(byteCount: number): Uint8Array
  /** The pipe with that id, if there is one. */
  find(id: string): AgentPipe | undefined
  /** It has said what it is for; its place is free. */
  settled(): void
  /** It asks for a new pipe. */
  open(carrier: Carrier): void
  /** It asked for a pipe and had no right to it. */
  notProved(): void
}

/** Takes a carrier over until it is a pipe's: the agent's part of docs/PROTOCOL.md §9.3. */
export function acceptOn(connection: Duplex, accepting: Accepting): void {
  new AcceptingOwner(connection, accepting)
}

class AcceptingOwner implements CarrierOwner {
  readonly #accepting: Accepting
  readonly #carrier: Carrier
  #asked: { readonly pipe: AgentPipe; readonly attempt: ResumeAttempt } | undefined

  constructor(connection: Duplex, accepting: Accepting) {
    this.#accepting = accepting
    this.#carrier = new Carrier(connection, this)
  }

  onFrame(frame: ControlFrame): void {
    if (this.#asked) this.#prove(frame)
    else if (frame.type === FRAME.open) this.#open(frame.payload)
    else if (frame.type === FRAME.resume) this.#challenge(frame.payload)
    else throw new CarrierFault('neither OPEN nor RESUME')
  }

  onData(): void {
    throw new CarrierFault('bytes before their time')
  }

  onArrived(): void {}

  onRoom(): void {}

  onEnd(): void {
    this.#carrier.destroy()
  }

  onLost(): void {}

  #open(payload: Buffer): void {
    if (payload.length !== 1 || payload[0] !== PIPE_VERSION) this.#refuse(REFUSED.version)
    else {
      this.#accepting.settled()
      this.#accepting.open(this.#carrier)
    }
  }

  #challenge(payload: Buffer): void {
    if (payload.length !== ID_BYTES + GENERATION_BYTES + NONCE_BYTES)
      throw new CarrierFault('a RESUME of another length')
    const pipe = this.#accepting.find(payload.toString('hex', 0, ID_BYTES))
    const generation = payload.readUInt32BE(ID_BYTES)
    const clientNonce = Buffer.from(payload.subarray(ID_BYTES + GENERATION_BYTES))
    if (!pipe) this.#refuse(REFUSED.unknown)
    else if (generation <= pipe.generation) this.#refuse(REFUSED.generation)
    else this.#ask(pipe, generation, clientNonce)
  }

  #ask(pipe: AgentPipe, generation: number, clientNonce: Buffer): void {
    const agentNonce = Buffer.from(this.#accepting.random(NONCE_BYTES))
    const agentReceived = pipe.stream.core.received
    const attempt = { generation, clientNonce, agentNonce, agentReceived }
    this.#asked = { pipe, attempt }
    const answer = Buffer.concat([agentNonce, agentProof(pipe.keys!, attempt)])
    this.#carrier.send([frame(FRAME.challenge, agentReceived, answer)])
  }

  #prove({ type, offset, payload }: ControlFrame): void {
    const { pipe, attempt } = this.#asked!
    if (type !== FRAME.proof || payload.length !== PROOF_BYTES)
      throw new CarrierFault('no answer to CHALLENGE')
    if (!isProof(payload, clientProof(pipe.keys!, attempt, offset))) {
      this.#accepting.notProved()
      throw new CarrierFault('the proof is wrong')
    }
    if (pipe.stream.isOver) this.#refuse(REFUSED.unknown)
    else if (attempt.generation <= pipe.generation) this.#refuse(REFUSED.generation)
    else {
      this.#accepting.settled()
      pipe.resume(this.#carrier, attempt.generation, offset)
    }
  }

  #refuse(code: number): void {
    this.#carrier.send([frame(FRAME.refused, 0, Buffer.from([code]))])
    this.#carrier.end()
  }
}
