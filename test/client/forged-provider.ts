import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { type CryptoKey, exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import type { TrustedProvider } from '../../src/client/provider-token.ts'
import { createHubCertificate } from '../../src/pki/hub-certificate.ts'
import { generateKeyPair as tlsKeyPair } from '../../src/pki/key-pair.ts'
import { realWorld } from '../../src/runtime.ts'

/** An identity provider whose every word a test chooses: real TLS, real keys, any token. */
export class ForgedProvider {
  readonly issuer: string
  readonly caDer: Buffer
  readonly caPem: string
  /** What discovery says instead. */
  discovery: Record<string, unknown> = {}
  /** What is published; by key id. */
  readonly published = new Map<string, object>()
  /** What it answers to whoever starts the device flow; nobody ever types the code. */
  device: Record<string, unknown> = {}
  readonly requests: string[] = []
  /** Who the job is that asks for a token. */
  job = 'repo:example/app:ref:refs/heads/main'
  readonly #server: Server
  readonly #keys = new Map<string, CryptoKey>()

  private constructor(server: Server, port: number, caPem: string) {
    this.#server = server
    this.issuer = `https://localhost:${port}`
    this.caPem = caPem
    this.caDer = Buffer.from(caPem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64')
  }

  static async start(): Promise<ForgedProvider> {
    const { pem, keyPem } = await localhostCertificate()
    const server = createServer({ cert: pem, key: keyPem }, (request, response) => {
      provider.requests.push(request.url ?? '')
      const { issuer, discovery, published } = provider
      const asked = new URL(request.url ?? '/', issuer)
      if (asked.pathname === '/mint') {
        const audience = asked.searchParams.get('aud') ?? ''
        void provider.mint(audience).then((token) => response.end(token))
        return
      }
      if (asked.pathname === '/device') return answerJson(response, 200, provider.device)
      if (asked.pathname === '/token')
        return answerJson(response, 400, { error: 'authorization_pending' })
      const isDiscovery = request.url === '/.well-known/openid-configuration'
      const body = isDiscovery
        ? { issuer, jwks_uri: `${issuer}/keys`, ...endpoints(issuer), ...discovery }
        : { keys: [...published.values()] }
      answerJson(response, 200, body)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const provider = new ForgedProvider(server, (server.address() as AddressInfo).port, pem)
    await provider.addKey('first')
    return provider
  }

  /** A key it signs with, published unless told. */
  async addKey(id: string, options: { alg?: string; isHidden?: boolean } = {}): Promise<void> {
    const { alg = 'RS256', isHidden = false } = options
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
    this.#keys.set(id, privateKey)
    if (!isHidden) this.publish(id, { ...(await exportJWK(publicKey)), kid: id, alg, use: 'sig' })
  }

  publish(id: string, jwk: object): void {
    this.published.set(id, jwk)
  }

  /** A token with exactly these claims. */
  sign(claims: JWTPayload, header: { kid?: string; alg?: string; typ?: string } = {}) {
    const { kid = 'first', alg = 'RS256', typ } = header
    const type = typ === undefined ? {} : { typ }
    return new SignJWT(claims).setProtectedHeader({ alg, kid, ...type }).sign(this.#keys.get(kid)!)
  }

  /** What a CI system gives to a job that asks: a token of its own for any audience. */
  mint(aud: string): Promise<string> {
    const iat = Math.floor(realWorld().now().getTime() / 1000)
    return this.sign({ iss: this.issuer, aud, sub: this.job, iat, exp: iat + 300 })
  }

  /** As a fleet would trust it. */
  trusted(changes: Partial<TrustedProvider> = {}): TrustedProvider {
    return {
      seq: 1,
      name: 'corp',
      issuer: this.issuer,
      domain: 'example.com',
      caDer: this.caDer,
      maximumAge: 3_600,
      people: {
        clientId: 'mcm',
        userClaim: 'email',
        groupsClaim: 'groups',
        groups: { developers: 'dev', platform: 'ops' },
      },
      workloads: [],
      ...changes,
    }
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

function endpoints(issuer: string) {
  return { device_authorization_endpoint: `${issuer}/device`, token_endpoint: `${issuer}/token` }
}

function answerJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** A certificate for localhost that is its own CA for whoever is told to trust it. */
export async function localhostCertificate(): Promise<{ pem: string; keyPem: string }> {
  const { privateKeyPem } = tlsKeyPair()
  const { pem } = await createHubCertificate(realWorld(), privateKeyPem, ['localhost:443'])
  return { pem, keyPem: privateKeyPem.reveal() }
}
