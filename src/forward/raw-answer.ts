import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { type Status, warningOf } from '../kube/status.ts'

/** As the API server gives its own refusals (apimachinery `pkg/util/proxy/upgradeaware.go`). */
const ANSWER_TIMEOUT_MS = 10_000
/** How long the other side may take to close after our end. */
const LINGER_MS = 1_000

/** A message head as bytes; its reason phrase is ours, never text of an upstream. */
export function headOf(status: number, headers: readonly string[]): string {
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`
  for (let index = 0; index + 1 < headers.length; index += 2)
    head += `${headers[index]}: ${headers[index + 1]}\r\n`
  return `${head}\r\n`
}

/**
 * One whole answer with a Status on a raw client socket, then the end. Resolves when the socket is
 * closed.
 */
export function answerAndEnd(
  socket: Duplex,
  status: Status,
  extra: readonly string[] = [],
): Promise<void> {
  const body = Buffer.from(JSON.stringify(status))
  const framing = ['content-type', 'application/json', 'content-length', String(body.length)]
  const headers = [...framing, 'warning', warningOf(status)]
  const closed = whenClosed(socket)
  socket.write(headOf(status.code, [...headers, ...extra, 'connection', 'close']), 'latin1')
  socket.end(body)
  return closed
}

/** Passes an answer's body on, then ends the client; a body cut short closes it without an end. */
export async function relayAndEnd(message: IncomingMessage, client: Duplex): Promise<number> {
  let bytes = 0
  message.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  const cut = () => {
    if (!message.complete) client.destroy()
  }
  message.on('error', cut)
  message.once('close', cut)
  const closed = whenClosed(client)
  message.pipe(client)
  await closed
  message.destroy()
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
