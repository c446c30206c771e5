/**
 * The agent's end of pipes: it takes carriers, opens pipes on them, and lets a pipe go on where somebody
 * proves to be its other end. Invariant: a carrier that proves nothing changes nothing.
 */

import type { Duplex } from 'node:stream'
import { messageOf } from '../errors.ts'
import type { Log, World } from '../world.ts'
import { acceptOn } from './accepting.ts'
import { type AcceptedPipe, AgentPipe } from './agent-pipe.ts'
import type { PipeBudget } from './budget.ts'
import type { Carrier } from './carrier.ts'
import { FRAME, frame } from './frame.ts'
import { PIPE_LIMITS, type PipeLimits } from './limits.ts'
import { RESET } from './pipe-end.ts'

export interface AcceptorOptions {
  readonly world: World
  readonly log: Log
  readonly budget: PipeBudget
  /** How this agent is found again. */
  readonly replica: string
  /** Takes a new pipe over, or refuses it by throwing. `from`: the address the carrier is said to come from. */
  onPipe(pipe: AcceptedPipe, from: string | undefined): void
  /** A place for a carrier that has shown nothing yet; gives its end. @throws when there is none */
  takePlace(from: string | undefined, carrier: Duplex): () => void
  readonly limits?: Partial<PipeLimits>
}

export interface PipeAcceptor {
  /** Takes a carrier over. @throws when there is no place for it */
  accept(carrier: Duplex, from: string | undefined): void
  /** Pipes there are, those without a carrier included. */
  readonly size: number
  /** Ends every pipe and tells the other ends; those on which something is under way after `graceMs`. */
  stop(graceMs?: number): void
}

/** Pipes that have ended here and wait to tell the other end, or to deliver their last bytes. */
const MAX_LINGERING = 256

export function pipeAcceptor(options: AcceptorOptions): PipeAcceptor {
  return new Acceptor(options)
}

class Acceptor implements PipeAcceptor {
  readonly #options: AcceptorOptions
  readonly #limits: PipeLimits
  readonly #pipes = new Set<AgentPipe>()
  /** Those that have keys, by id. */
  readonly #byId = new Map<string, AgentPipe>()
  readonly #looking: NodeJS.Timeout

  constructor(options: AcceptorOptions) {
    this.#options = options
    this.#limits = { ...PIPE_LIMITS, ...options.limits }
    this.#looking = setInterval(() => this.#look(), this.#limits.lookMs).unref()
  }

  get size(): number {
    return this.#pipes.size
  }

  accept(connection: Duplex, from: string | undefined): void {
    const { world, log, takePlace } = this.#options
    const leave = takePlace(from, connection)
    const timer = setTimeout(() => connection.destroy(), this.#limits.attemptMs).unref()
    const settled = () => {
      clearTimeout(timer)
      leave()
    }
    connection.once('close', settled)
    acceptOn(connection, {
      random: (count) => world.random(count),
      find: (id) => this.#byId.get(id),
      settled,
      open: (carrier) => this.#open(carrier, from),
      notProved: () => log.warn('resume_not_proved', { addressByHub: from }),
    })
  }

  stop(graceMs = 0): void {
    clearInterval(this.#looking)
    const end = (pipes: Iterable<AgentPipe>) => {
      for (const pipe of pipes) pipe.end(RESET.agentEnds)
    }
    const isIdle = (pipe: AgentPipe) => graceMs === 0 || !pipe.isBusy()
    end([...this.#pipes].filter(isIdle))
    if (this.#pipes.size > 0) setTimeout(() => end([...this.#pipes]), graceMs)
  }

  #open(carrier: Carrier, from: string | undefined): void {
    const pipe = this.#newPipe()
    this.#pipes.add(pipe)
    carrier.send([frame(FRAME.opened, 0, Buffer.from(this.#options.replica, 'latin1'))])
    pipe.stream.attach(carrier, 0)
    try {
      this.#options.onPipe(pipe, from)
    } catch (error) {
      this.#options.log.warn('pipe_refused', { reason: messageOf(error) })
      pipe.stream.abandon()
    }
  }

  #newPipe(): AgentPipe {
    const { world, log, budget } = this.#options
    return new AgentPipe({
      ...{ world, log, budget, limits: this.#limits },
      onArmed: (pipe) => this.#byId.set(pipe.id, pipe),
      onOver: (pipe) => this.#forget(pipe),
    })
  }

  #forget(pipe: AgentPipe): void {
    this.#pipes.delete(pipe)
    if (this.#byId.get(pipe.id) === pipe) this.#byId.delete(pipe.id)
  }

  #look(): void {
    for (const pipe of this.#pipes) pipe.look()
    // Whoever runs on one counts in their own limits; what is left to say to those that are gone counts here.
    const left = [...this.#pipes].filter(({ stream }) => stream.destroyed)
    for (const pipe of left.slice(0, -MAX_LINGERING)) pipe.stream.abandon()
  }
}
