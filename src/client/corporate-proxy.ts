import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { Socket } from 'node:net'

/**
 * A TCP connection to `target` (`HOST:PORT`) through an HTTP proxy's CONNECT (RFC 9110 §9.3.6), with
 * Basic credentials when the URL has them. @throws Error naming the proxy without its credentials
 */
export function dialThroughProxy(
  proxyUrl: string,
  target: string,
  signal: AbortSignal,
): Promise<Socket> {
  const proxy = new URL(proxyUrl)
  const request = proxy.protocol === 'https:' ? requestHttps : requestHttp
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown) =>
      reject(new Error(`proxy ${proxy.host}: ${why}`, { cause }))
    const connecting = request({
      host: proxy.hostname.replace(/^\[|\]$/g, ''),
      port: proxy.port || (proxy.protocol === 'https:' ? 443 : 80),
      method: 'CONNECT',
      path: target,
      headers: { host: target, ...credentials(proxy) },
      agent: false,
    })
    // Not as an option of the request: that would end the tunnel whenever the signal comes.
    const abandon = () => connecting.destroy(signal.reason)
    signal.addEventListener('abort', abandon, { once: true })
    connecting.once('close', () => signal.removeEventListener('abort', abandon))
    connecting.once('error', (error) => fail(error.message, error))
    connecting.once('response', (response) => {
      fail(`it answered ${response.statusCode}`)
      response.destroy()
    })
    connecting.once('connect', (response, socket: Socket, head) => {
      signal.removeEventListener('abort', abandon)
      // TLS is spoken to first by us: anything that came already is not from a hub.
      if (response.statusCode === 200 && head.length === 0) {
        resolve(socket)
        return
      }
      fail(`it answered ${response.statusCode} ${response.statusMessage ?? ''}`.trimEnd())
      socket.destroy()
    })
    connecting.end()
  })
}

function credentials(proxy: URL): Record<string, string> {
  if (proxy.username === '') return {}
  const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` }
}
