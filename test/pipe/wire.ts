import { Duplex } from 'node:stream'

/** One connection in memory: two ends, and whatever somebody in between does to what passes. */

/**
 * What becomes of one write; nothing, one piece or several arrive. `'cut'` ends the connection there,
 * `'freeze'` leaves it standing still.
 */
export type Meddle = (chunk: Buffer, toward: 'agent' | 'client') => readonly Fate[]
type Fate = Buffer | 'cut' | 'freeze'

export interface Wire {
  readonly client: Duplex
  readonly agent: Duplex
  /** Both ends lose it at once. */
  cut(): void
  /** Nothing passes any more, and nobody is told. */
  freeze(): void
  /** Bytes that passed, both ways. */
  carriedBytes(): number
}

export function wire(meddle: Meddle = (chunk) => [chunk]): Wire {
  let isFrozen = false
  let carried = 0
  const client = new WireEnd()
  const agent = new WireEnd()
  const cut = () => {
    client.destroy(new Error('the wire was cut'))
    agent.destroy(new Error('the wire was cut'))
  }
  const join = (from: WireEnd, to: WireEnd, toward: 'agent' | 'client') => {
    from.pass = (chunk, done) => {
      carried += chunk.length
      if (isFrozen) return done()
      for (const piece of meddle(chunk, toward)) {
        if (typeof piece === 'string') {
          isFrozen = true
          if (piece === 'cut') setImmediate(cut)
          break
        }
        to.push(Buffer.from(piece))
      }
      // Later, as on a network; a reader that stands still makes its writer wait.
      if (to.readableLength < 1 << 20) setImmediate(done)
      else to.waiting = done
    }
    from.finish = () => {
      if (!isFrozen) to.push(null)
    }
    from.gone = () => {
      if (!isFrozen) setImmediate(() => to.destroy(new Error('the other end is gone')))
    }
  }
  join(client, agent, 'agent')
  join(agent, client, 'client')
  return {
    client,
    agent,
    cut,
    freeze: () => {
      isFrozen = true
    },
    carriedBytes: () => carried,
  }
}

class WireEnd extends Duplex {
  pass!: (chunk: Buffer, done: () => void) => void
  finish!: () => void
  gone!: () => void
  waiting: (() => void) | undefined

  constructor() {
    super()
    this.on('error', () => {})
  }

  override _read(): void {
    const { waiting } = this
    this.waiting = undefined
    waiting?.()
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.pass(chunk, done)
  }

  override _final(done: () => void): void {
    this.finish()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.gone()
    done(error)
  }
}
