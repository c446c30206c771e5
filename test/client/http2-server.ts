import { once } from 'node:events'
import {
  createSecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2'
import { connect, type TLSSocket } from 'node:tls'
import { hubIdentity } from './certificates.ts'

/** A TLS HTTP/2 server on loopback, and a connected client socket to it. */
export async function startHttp2(
  onRequest: (request: Http2ServerRequest, response: Http2ServerResponse) => void,
) {
  const identity = await hubIdentity()
  const server = createSecureServer(
    { key: identity.keyPem.reveal(), cert: identity.certPem, maxSessionMemory: 256, noDelay: true },
    onRequest,
  )
  const sessions: ServerHttp2Session[] = []
  server.on('session', (session) => sessions.push(session))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const socket: TLSSocket = connect({
    port,
    host: '127.0.0.1',
    servername: 'localhost',
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
  })
  await once(socket, 'secureConnect')
  return {
    server,
    socket,
    sessions,
    stop() {
      for (const session of sessions) session.destroy()
      socket.destroy()
      server.close()
    },
  }
}

/** Answers with JSON. */
export function json(response: Http2ServerResponse, status: number, body?: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(body === undefined ? '' : JSON.stringify(body))
}

export async function readAll(request: Http2ServerRequest): Promise<string> {
  let text = ''
  for await (const chunk of request) text += String(chunk)
  return text
}
