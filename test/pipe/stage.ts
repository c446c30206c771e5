import { createHash, randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { type PipeAcceptor, pipeAcceptor } from '../../src/pipe/acceptor.ts'
import type { AcceptedPipe } from '../../src/pipe/agent-pipe.ts'
import { PipeBudget } from '../../src/pipe/budget.ts'
import { type CarrierWish, type InitiatedPipe, openPipe } from '../../src/pipe/initiator.ts'
import type { PipeLimits } from '../../src/pipe/limits.ts'
import type { Log } from '../../src/world.ts'
import { type Meddle, type Wire, wire } from './wire.ts'

/** Two ends of pipes and the wires between them; no TLS, so both get their keys by hand. */

export interface StageOptions {
  readonly limits?: Partial<PipeLimits>
  /** Of each process. */
  readonly capBytes?: number
  readonly meddle?: Meddle
  /** Where nonces and the pauses between attempts come from. */
  readonly random?: (byteCount: number) => Buffer
  /** Before a carrier is made: throwing is no way, a stream is one that leads elsewhere. */
  readonly onDial?: (wish: CarrierWish) => Dialled | Promise<Dialled>
}

type Dialled = Duplex | undefined

export interface Ends {
  readonly client: InitiatedPipe
  readonly agent: AcceptedPipe
}

export class PipeStage {
  readonly acceptor: PipeAcceptor
  readonly budgets: { readonly client: PipeBudget; readonly agent: PipeBudget }
  readonly wires: Wire[] = []
  readonly wishes: CarrierWish[] = []
  readonly changes: boolean[] = []
  readonly logged: { readonly event: string; readonly fields: Record<string, unknown> }[] = []
  /** What the wall clock is ahead of the true one. */
  aheadMs = 0
  /** What wires do from now on. */
  meddle: Meddle
  onDial: NonNullable<StageOptions['onDial']>
  readonly #options: StageOptions
  readonly #accepted: AcceptedPipe[] = []
  readonly #opened: InitiatedPipe[] = []

  constructor(options: StageOptions = {}) {
    this.#options = options
    this.meddle = options.meddle ?? ((chunk) => [chunk])
    this.onDial = options.onDial ?? (() => undefined)
    const capBytes = options.capBytes ?? 256 << 20
    this.budgets = { client: new PipeBudget(capBytes), agent: new PipeBudget(capBytes) }
    this.acceptor = pipeAcceptor({
      world: this.world,
      log: this.log,
      budget: this.budgets.agent,
      replica: 'agent-a',
      takePlace: () => () => {},
      onPipe: (pipe) => this.#accepted.push(pipe),
      ...(options.limits ? { limits: options.limits } : {}),
    })
  }

  readonly world = {
    now: () => new Date(Date.now() + this.aheadMs),
    random: (count: number) => (this.#options.random ?? randomBytes)(count),
  }

  readonly log: Log = {
    info: (event, fields = {}) => void this.logged.push({ event, fields: { ...fields } }),
    warn: (event, fields = {}) => void this.logged.push({ event, fields: { ...fields } }),
    error: (event, fields = {}) => void this.logged.push({ event, fields: { ...fields } }),
  }

  get lastWire(): Wire {
    return this.wires.at(-1)!
  }

  /** A new connection whose other end the agent has. */
  connect(meddle: Meddle = (chunk, toward) => this.meddle(chunk, toward)): Duplex {
    const made = wire(meddle)
    this.wires.push(made)
    this.acceptor.accept(made.agent, '192.0.2.1')
    return made.client
  }

  readonly dial = async (wish: CarrierWish): Promise<Duplex> => {
    this.wishes.push(wish)
    return (await this.onDial(wish)) ?? this.connect()
  }

  /** A pipe whose ends have no keys yet. */
  async openUnarmed(): Promise<Ends> {
    const { limits } = this.#options
    const client = await openPipe({
      world: this.world,
      log: this.log,
      budget: this.budgets.client,
      peerName: 'the agent of c',
      dial: this.dial,
      onChange: (isSuspended) => this.changes.push(isSuspended),
      ...(limits ? { limits } : {}),
    })
    this.#opened.push(client)
    await until(() => this.#accepted.length === this.#opened.length)
    return { client, agent: this.#accepted.at(-1)! }
  }

  /** A pipe as it is after its handshake. */
  async open(): Promise<Ends> {
    const ends = await this.openUnarmed()
    const exporter = randomBytes(80)
    ends.client.arm(exporter)
    ends.agent.arm(exporter, 'session-1')
    const { core } = ends.client.stream as unknown as { core: { isResumable: boolean } }
    await until(() => core.isResumable)
    return ends
  }

  close(): void {
    this.acceptor.stop()
    for (const pipe of this.#opened) pipe.abandon()
    for (const pipe of this.#accepted) pipe.stream.destroy()
    for (const each of this.wires) each.cut()
  }
}

export async function until(isSo: () => boolean, timeoutMs = 30_000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(`not so within ${timeoutMs} ms: ${isSo}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** Everything a stream gives, to its end. */
export function readAll(stream: Duplex): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.once('end', () => resolve(Buffer.concat(chunks)))
    stream.once('error', reject)
    stream.once('close', () => reject(new Error('closed before its end')))
  })
}

/** The hash of everything a stream gives, to its end. */
export function hashAll(stream: Duplex): Promise<string> {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256')
    stream.on('data', (chunk: Buffer) => hash.update(chunk))
    stream.once('end', () => resolve(hash.digest('hex')))
    stream.once('error', reject)
    stream.once('close', () => reject(new Error('closed before its end')))
  })
}

export function hashOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export function closed(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (stream.closed) resolve()
    else stream.once('close', () => resolve())
  })
}
