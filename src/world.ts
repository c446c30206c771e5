/** The way to time and randomness. Programs get the real one from `runtime.ts`, tests a frozen one. */
export interface World {
  now(): Date
  random(byteCount: number): Uint8Array
}

/** Where long-running parts say what happens: an event name and plain fields, never a secret. */
export interface Log {
  info(event: string, fields?: Readonly<Record<string, unknown>>): void
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void
  error(event: string, fields?: Readonly<Record<string, unknown>>): void
}

/** A running part: where it listens, when it ended, and how to end it. */
export interface Running<Address = string> {
  readonly address: Address
  readonly closed: Promise<void>
  stop(): Promise<void>
}
