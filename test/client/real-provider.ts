import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair } from 'jose'
import Provider, { type Configuration } from 'oidc-provider'
import { localhostCertificate } from './forged-provider.ts'
import { providerMemory } from './provider-memory.ts'

/** The `oidc-provider` library as a server of its own: discovery, PKCE, device codes, refresh tokens, rotation. */
export class RealProvider {
  readonly issuer: string
  readonly caPem: string
  readonly caDer: Buffer
  /** Who logs in when somebody does. */
  account: Record<string, unknown> = {}
  /** How many pages it showed to somebody who had to log in. */
  logins = 0
  hasNonceInDeviceFlow = true
  readonly #server: Server
  readonly #memory = providerMemory()
  #provider: Provider | undefined

  private constructor(server: Server, port: number, caPem: string) {
    this.#server = server
    this.issuer = `https://localhost:${port}`
    this.caPem = caPem
    this.caDer = Buffer.from(caPem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64')
  }

  static async start(): Promise<RealProvider> {
    const { pem, keyPem } = await localhostCertificate()
    const server = createServer({ cert: pem, key: keyPem })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const real = new RealProvider(server, (server.address() as AddressInfo).port, pem)
    await real.rotateKeys()
    server.on('request', (request, response) => {
      const provider = real.#provider!
      if (request.url?.startsWith('/interaction/')) void real.#logIn(provider, request, response)
      else void provider.callback()(request, response)
    })
    return real
  }

  /** It signs with another key from now on, and shows that one alone. It forgets nobody. */
  async rotateKeys(): Promise<void> {
    const { privateKey } = await generateKeyPair('RS256', { extractable: true })
    const key = { ...(await exportJWK(privateKey)), kid: randomUUID(), alg: 'RS256', use: 'sig' }
    const jwks = { keys: [key] } as NonNullable<Configuration['jwks']>
    this.#provider = new Provider(this.issuer, { ...this.#configuration(), jwks })
  }

  #configuration(): Configuration {
    return {
      adapter: this.#memory,
      clients: [
        {
          client_id: 'mcm',
          application_type: 'native',
          token_endpoint_auth_method: 'none',
          redirect_uris: ['http://127.0.0.1/callback'],
          grant_types: [
            'authorization_code',
            'refresh_token',
            'urn:ietf:params:oauth:grant-type:device_code',
          ],
          response_types: ['code'],
        },
        {
          // As providers have them that insist on a secret of every client.
          client_id: 'mcm-desktop',
          client_secret: 'not a secret',
          application_type: 'native',
          token_endpoint_auth_method: 'client_secret_post',
          redirect_uris: ['http://127.0.0.1/callback'],
          grant_types: ['authorization_code', 'refresh_token'],
          response_types: ['code'],
        },
      ],
      claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
      scopes: ['openid', 'offline_access'],
      conformIdTokenClaims: false,
      features: { devInteractions: { enabled: false }, deviceFlow: { enabled: true } },
      interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
      // As providers do that take a nonce in the device flow; this one keeps it and leaves it out.
      expiresWithSession: async (_context, token) => {
        if (this.hasNonceInDeviceFlow && 'userCode' in token) {
          const { nonce } = token.params as { nonce?: string }
          Object.assign(token, { nonce })
        }
        return false
      },
      issueRefreshToken: async (_context, client) => client.grantTypeAllowed('refresh_token'),
      findAccount: (_context, id) => ({
        accountId: id,
        claims: async () => ({ sub: id, ...this.account }),
      }),
      cookies: { keys: ['only for tests'] },
    }
  }

  /** Logs in and consents, without a question. */
  async #logIn(
    provider: Provider,
    request: Parameters<Provider['interactionDetails']>[0],
    response: Parameters<Provider['interactionDetails']>[1],
  ): Promise<void> {
    const { prompt, params, session, grantId } = await provider.interactionDetails(
      request,
      response,
    )
    if (prompt.name === 'login') {
      this.logins += 1
      const login = { accountId: String(this.account['email']) }
      await provider.interactionFinished(request, response, { login })
      return
    }
    const grant = grantId
      ? (await provider.Grant.find(grantId))!
      : new provider.Grant({ accountId: session!.accountId, clientId: String(params['client_id']) })
    grant.addOIDCScope(String(params['scope']))
    const consent = { grantId: await grant.save() }
    await provider.interactionFinished(
      request,
      response,
      { consent },
      { mergeWithLastSubmission: true },
    )
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}
