import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { finished } from 'node:stream/promises'

/**
 * The loopback address to which a browser comes back (RFC 8252 §7.3): any free port of 127.0.0.1, one path, one
 * answer. A page that guesses it and lacks the state changes nothing.
 */

export interface RedirectHandlers<T> {
  /** It listens: the browser may be sent off. */
  listening(address: AddressInfo): Promise<void>
  /** The browser came with the right state. */
  redirected(url: URL): Promise<T>
}

const PATH = '/callback'

/** Gives what `redirected` makes of the first request with this state. @throws what the handlers throw, or the signal */
export async function waitForRedirect<T>(
  state: string,
  signal: AbortSignal,
  handlers: RedirectHandlers<T>,
): Promise<T> {
  const outcome = Promise.withResolvers<T>()
  // A browser that comes before anybody waits must not end the process.
  outcome.promise.catch(() => {})
  let isTaken = false
  const server = createServer((request, response) => {
    const url = redirectOf(request.method, request.url, server.address() as AddressInfo)
    if (isTaken || url?.searchParams.get('state') !== state) {
      void answer(response, 404, 'There is nothing here.')
      return
    }
    isTaken = true
    handlers.redirected(url).then(
      (value) =>
        answer(response, 200, 'You are logged in. This window may be closed.').then(() =>
          outcome.resolve(value),
        ),
      (error) =>
        answer(response, 400, 'The login has failed. The terminal says why.').then(() =>
          outcome.reject(error),
        ),
    )
  })
  const abort = () => outcome.reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(0, '127.0.0.1', resolve)
    })
    signal.throwIfAborted()
    await handlers.listening(server.address() as AddressInfo)
    return await outcome.promise
  } finally {
    signal.removeEventListener('abort', abort)
    server.close()
    // Also one that has said nothing yet: a browser opens some in advance, and anybody on this machine may.
    server.closeAllConnections()
  }
}

function redirectOf(
  method: string | undefined,
  target: string | undefined,
  { port }: AddressInfo,
): URL | undefined {
  const base = `http://127.0.0.1:${port}`
  if (method !== 'GET' || !target?.startsWith('/') || !URL.canParse(target, base)) return undefined
  const url = new URL(target, base)
  return url.pathname === PATH && url.origin === base ? url : undefined
}

/** Resolves when it is on its way, or nobody is there any more. */
async function answer(response: ServerResponse, status: number, sentence: string): Promise<void> {
  const page = `<!doctype html><meta charset="utf-8"><title>mcm</title><p>${sentence}</p>`
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'",
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    connection: 'close',
  })
  response.end(page)
  await finished(response).catch(() => {})
}
