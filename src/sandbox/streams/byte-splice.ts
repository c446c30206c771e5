import type { Duplex } from 'node:stream'

/** Joins two ends until both directions are over; half-closes are carried, a break of one breaks the other. */
export function splice(left: Duplex, right: Duplex): Promise<void> {
  const closed = (end: Duplex, other: Duplex) =>
    new Promise<void>((resolve) => {
      end.once('close', () => {
        if (!end.readableEnded || !end.writableFinished) other.destroy()
        resolve()
      })
    })
  for (const end of [left, right]) end.on('error', () => end.destroy())
  left.pipe(right)
  right.pipe(left)
  return Promise.all([closed(left, right), closed(right, left)]).then(() => {})
}
