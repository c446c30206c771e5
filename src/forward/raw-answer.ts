import type { Duplex, Readable } from 'node:stream'
import { type Status, warningOf } from '../kube/status.ts'
import type { UpgradeClient } from './upgrade-client.ts'
import { isWhole } from './whole.ts'

/** As the API server gives its own refusals (apimachinery `pkg/util/proxy/upgradeaware.go`). */
const ANSWER_TIMEOUT_MS = 10_000
/** How long the other side may take to close after our end. */
const LINGER_MS = 1_000

/**
 * One whole answer with a Status instead of a switch, then the end. Resolves when the client's socket is
 * closed.
 */
export function answerAndEnd(
  client: UpgradeClient,
  status: Status,
  extra: readonly string[] = [],
): Promise<void> {
  const body = Buffer.from(JSON.stringify(status))
  const framing = ['content-type', 'application/json', 'content-length', String(body.length)]
  const closed = whenClosed(client.socket)
  client.answer(status.code, [...framing, 'warning', warningOf(status), ...extra])
  client.socket.end(body)
  return closed
}

/** Passes an answer's body on, then ends the client; a body cut short closes it without an end. */
export async function relayAndEnd(body: Readable, client: Duplex): Promise<number> {
  let bytes = 0
  let hasEnded = false
  body.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  const cut = () => {
    if (!hasEnded) client.destroy(new Error('the answer was cut off'))
  }
  body.on('error', cut)
  body.once('close', cut)
  body.once('end', () => {
    hasEnded = isWhole(body)
    if (hasEnded) client.end()
    else cut()
  })
  const closed = whenClosed(client)
  body.pipe(client, { end: false })
  await closed
  body.destroy()
  return bytes
}

/**
 * What the client still sends is thrown away; it gets a moment to close, so that our last bytes
 * arrive.
 */
function whenClosed(socket: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) return resolve()
    let timer = setTimeout(() => socket.destroy(), ANSWER_TIMEOUT_MS)
    socket.on('error', () => socket.destroy())
    socket.once('finish', () => {
      clearTimeout(timer)
      timer = setTimeout(() => socket.destroy(), LINGER_MS)
      socket.resume()
    })
    socket.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
