import { once } from 'node:events'
import { type Http2Session, performServerHandshake, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { Directory } from '../../src/directory/directory.ts'
import { createHubCertificate } from '../../src/pki/hub-certificate.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { peerKeyId } from '../../src/pki/peer.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import { type Join, joinSchema } from '../../src/protocol/messages.ts'
import { type HubTunnel, openTunnel } from '../../src/tunnel/hub-end.ts'
import type { World } from '../../src/world.ts'
import { RecordedLog } from './frozen-world.ts'

/** The little of a hub that an agent meets, on real TLS: the directory, joining, and tunnels. */
export class FakeHub {
  directory: Directory
  joinToken = 'join-token'
  directoryRequests = 0
  readonly joins: { cluster: string; body: Join; key: string | undefined }[] = []
  readonly tunnels: { tunnel: HubTunnel; key: string | undefined; certificateDer?: Buffer }[] = []
  readonly endpoint: string
  readonly pin: string
  readonly certificateDer: Buffer
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #sessions = new Set<Http2Session>()

  private constructor(server: Server, endpoint: string, certificateDer: Buffer) {
    this.directory = Directory.empty()
    this.#server = server
    this.endpoint = endpoint
    this.certificateDer = certificateDer
    this.pin = sha256(certificateDer)
    server.on('tlsClientError', () => {})
    server.on('connection', (socket: Socket) => this.#sockets.add(socket))
    server.on('secureConnection', (socket) => this.#accept(socket))
  }

  static async start(world: World, port = 0): Promise<FakeHub> {
    const { privateKeyPem } = generateKeyPair()
    const { pem, der } = await createHubCertificate(world, privateKeyPem, ['127.0.0.1:1'])
    const server = createServer({
      key: privateKeyPem.reveal(),
      cert: pem,
      minVersion: 'TLSv1.3',
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: ['mcm-tunnel/1', 'h2'],
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    const { port: chosen } = server.address() as AddressInfo
    return new FakeHub(server, `127.0.0.1:${chosen}`, der)
  }

  async stop(): Promise<void> {
    for (const session of this.#sessions) session.destroy()
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #accept(socket: TLSSocket): void {
    socket.on('error', () => {})
    const der = socket.getPeerX509Certificate()?.raw
    const key = der && peerKeyId(der)
    if (socket.alpnProtocol === 'mcm-tunnel/1') {
      const tunnel = openTunnel(socket, { log: new RecordedLog() })
      this.tunnels.push({ tunnel, key, ...(der ? { certificateDer: der } : {}) })
      return
    }
    const session = performServerHandshake(socket)
    this.#sessions.add(session)
    session.on('error', () => {})
    session.on('stream', (stream: ServerHttp2Stream, headers) => {
      stream.on('error', () => {})
      void this.#answer(stream, String(headers[':method']), String(headers[':path']), key)
    })
  }

  async #answer(
    stream: ServerHttp2Stream,
    method: string,
    path: string,
    key: string | undefined,
  ): Promise<void> {
    const chunks: Buffer[] = []
    if (path.startsWith('/v1/directory')) this.directoryRequests += 1
    for await (const chunk of stream) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString()
    const [status, body] =
      method === 'GET' ? this.#directoryFor(path, key) : this.#join(path, JSON.parse(text), key)
    stream.respond({ ':status': status, 'content-type': 'application/json' })
    stream.end(JSON.stringify(body))
  }

  #directoryFor(path: string, key: string | undefined): [number, unknown] {
    const clusters = [...this.directory.state.clusters.values()]
    if (!clusters.some(({ agentKey }) => agentKey === key)) return [403, refusal('unknown key')]
    const after = Number(new URL(path, 'http://hub').searchParams.get('after'))
    const { head, statements } = this.directory.page(after)
    return [200, { head, statements, details: [...this.directory.details.values()] }]
  }

  #join(path: string, body: unknown, key: string | undefined): [number, unknown] {
    const read = joinSchema.parse(body)
    if (read.joinToken !== this.joinToken) return [403, refusal('this join token has expired')]
    this.joins.push({ cluster: path.split('/')[3]!, body: read, key })
    return [200, {}]
  }
}

function refusal(message: string): object {
  return { kind: 'Status', message: `mcm: ${message}`, mcm: { code: 'MCM_FORBIDDEN' } }
}
