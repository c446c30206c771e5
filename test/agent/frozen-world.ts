import { randomBytes } from 'node:crypto'
import type { Log, World } from '../../src/world.ts'

/** A clock that stands until it is moved. */
export class FrozenWorld implements World {
  #now: number

  constructor(start = '2026-01-01T12:00:00Z') {
    this.#now = Date.parse(start)
  }

  now(): Date {
    return new Date(this.#now)
  }

  random(byteCount: number): Uint8Array {
    return randomBytes(byteCount)
  }

  advance(ms: number): void {
    this.#now += ms
  }
}

/** Everything that was logged. */
export class RecordedLog implements Log {
  readonly lines: { level: string; event: string; fields: Readonly<Record<string, unknown>> }[] = []

  info(event: string, fields = {}): void {
    this.lines.push({ level: 'info', event, fields })
  }

  warn(event: string, fields = {}): void {
    this.lines.push({ level: 'warn', event, fields })
  }

  error(event: string, fields = {}): void {
    this.lines.push({ level: 'error', event, fields })
  }

  events(): string[] {
    return this.lines.map(({ event }) => event)
  }
}
