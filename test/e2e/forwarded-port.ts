/** The local end of `kubectl port-forward`: which ports it took, and connections to an echo behind them. */
import { connect, type Socket } from 'node:net'
import { expect } from 'vitest'
import type { LongRunning } from './program.ts'

/** The local ports that a running `kubectl port-forward` took for these remote ones. */
export async function forwardedPorts(
  forward: LongRunning,
  remote: readonly number[],
): Promise<readonly number[]> {
  const local: number[] = []
  for (const port of remote) {
    const match = await forward.shows(new RegExp(`127\\.0\\.0\\.1:(\\d+) -> ${port}\\b`))
    local.push(Number(match[1]))
  }
  return local
}

export interface LocalConnection {
  /** Sends bytes and waits until exactly they came back. */
  roundTrip(bytes: Buffer): Promise<void>
  /** Ends it with a RST. */
  reset(): void
}

/** A connection to a local port behind which something echoes. */
export function connectLocal(port: number): Promise<LocalConnection> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.on('error', () => {})
      resolve({
        roundTrip: (bytes) => roundTrip(socket, bytes),
        reset: () => void socket.resetAndDestroy(),
      })
    })
  })
}

/** Sends bytes through a connection of its own, which then ends, and expects exactly them back. */
export async function echoThrough(port: number, bytes: Buffer): Promise<void> {
  const connection = await connectLocal(port)
  await connection.roundTrip(bytes)
  connection.reset()
}

async function roundTrip(socket: Socket, bytes: Buffer): Promise<void> {
  const received: Buffer[] = []
  let length = 0
  const whole = new Promise<void>((resolve, reject) => {
    socket.once('close', () => reject(new Error(`closed after ${length} of ${bytes.length} bytes`)))
    socket.on('data', function collect(chunk: Buffer) {
      received.push(chunk)
      length += chunk.length
      if (length < bytes.length) return
      socket.removeListener('data', collect)
      resolve()
    })
  })
  socket.write(bytes)
  await whole
  expect(Buffer.concat(received).equals(bytes)).toBe(true)
}
