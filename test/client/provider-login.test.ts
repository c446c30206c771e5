import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  logInByBrowser,
  logInByDeviceCode,
  type ProviderClient,
  refreshTokens,
} from '../../src/client/provider-login.ts'
import { tokenJudge } from '../../src/client/provider-token.ts'
import { newTokenSalt, tokenBinding } from '../../src/protocol/token-binding.ts'
import { browse } from './browse.ts'
import { ForgedProvider } from './forged-provider.ts'
import { RealProvider } from './real-provider.ts'

const FLEET = 'f'.repeat(43)
const DEVICE = 'd'.repeat(43)
const salt = newTokenSalt((count) => randomBytes(count))
const nonce = tokenBinding(FLEET, DEVICE, salt)
const signal = new AbortController().signal

let provider: RealProvider
beforeAll(async () => {
  provider = await RealProvider.start()
})
afterAll(() => provider.stop())
beforeEach(() => {
  provider.account = { email: 'ann@example.com', email_verified: true, groups: ['developers'] }
})

const client = (): ProviderClient => ({
  issuer: provider.issuer,
  clientId: 'mcm',
  scopes: ['email', 'groups', 'offline_access'],
  caDer: provider.caDer,
  proxyFor: () => undefined,
})

function judged(token: string) {
  const people = { clientId: 'mcm', userClaim: 'email', groupsClaim: 'groups' }
  const trusted = {
    ...{ seq: 1, name: 'corp', issuer: provider.issuer, domain: 'example.com' },
    ...{ caDer: provider.caDer, maximumAge: 3600, workloads: [] },
    people: { ...people, groups: { developers: 'dev' } },
  }
  const judge = tokenJudge({ now: () => new Date(), proxyFor: () => undefined })
  return judge.judge([trusted], { fleet: FLEET, device: DEVICE, salt, token })
}

const ann = { identity: { user: 'ann@example.com', bot: false, groups: ['dev'] } }

describe('a person in the browser', () => {
  it('gets a token for this very device, and is told so', async () => {
    let page: Awaited<ReturnType<typeof browse>> | undefined
    const { idToken } = await logInByBrowser(client(), {
      nonce,
      signal,
      show: async (url) => {
        page = await browse(url)
      },
    })
    expect(await judged(idToken.reveal())).toMatchObject(ann)
    expect(page).toMatchObject({ status: 200, text: expect.stringContaining('You are logged in') })
  })

  it('is not disturbed by pages that guess the address', async () => {
    const { idToken } = await logInByBrowser(client(), {
      nonce,
      signal,
      show: async (url) => {
        const back = url.searchParams.get('redirect_uri')!
        for (const guess of ['?code=x&state=guessed', '', '?error=access_denied&state='])
          expect((await browse(new URL(back + guess))).status).toBe(404)
        expect(url.searchParams.get('code_challenge_method')).toBe('S256')
        await browse(url)
      },
    })
    expect(decodeJwt(idToken.reveal())['nonce']).toBe(nonce)
  })

  it('is not waited for by connections that say nothing: a browser opens some in advance', async () => {
    let silent: Socket | undefined
    await logInByBrowser(client(), {
      nonce,
      signal,
      show: async (url) => {
        const { port } = new URL(url.searchParams.get('redirect_uri')!)
        silent = connect(Number(port), '127.0.0.1')
        await once(silent, 'connect')
        expect((await browse(url)).text).toContain('You are logged in')
      },
    })
    silent!.on('error', () => {})
    silent!.resume()
    if (!silent!.closed) await once(silent!, 'close')
  })

  it('who says no is a login refused', async () => {
    const login = logInByBrowser(client(), {
      nonce,
      signal,
      show: async (url) => {
        const back = new URL(url.searchParams.get('redirect_uri')!)
        back.search = new URLSearchParams({
          error: 'access_denied',
          error_description: 'not today',
          state: url.searchParams.get('state')!,
          iss: provider.issuer,
        }).toString()
        expect((await browse(back)).status).toBe(400)
      },
    })
    await expect(login).rejects.toMatchObject({
      code: 'MCM_TOKEN_REFUSED',
      message: expect.stringContaining('access_denied: not today'),
    })
  })

  it('logs in with a client that has a secret, which everybody knows, and not without it', async () => {
    const desktop = { ...client(), clientId: 'mcm-desktop' }
    const flow = { nonce, signal, show: async (url: URL) => void (await browse(url)) }
    const { idToken } = await logInByBrowser({ ...desktop, clientSecret: 'not a secret' }, flow)
    expect(decodeJwt(idToken.reveal())).toMatchObject({ aud: 'mcm-desktop', nonce })
    for (const wrong of [desktop, { ...desktop, clientSecret: 'another' }])
      await expect(logInByBrowser(wrong, flow)).rejects.toMatchObject({ code: 'MCM_TOKEN_REFUSED' })
  })

  it('who comes back from another provider is refused (RFC 9207)', async () => {
    const login = logInByBrowser(client(), {
      nonce,
      signal,
      show: async (url) => {
        const back = new URL(url.searchParams.get('redirect_uri')!)
        const state = url.searchParams.get('state')!
        back.search = new URLSearchParams({ code: 'x', state, iss: 'https://evil.test' }).toString()
        await browse(back)
      },
    })
    await expect(login).rejects.toMatchObject({ code: 'MCM_TOKEN_REFUSED' })
  })

  it('who presses Ctrl-C ends it', async () => {
    const ending = new AbortController()
    const login = logInByBrowser(client(), {
      nonce,
      signal: ending.signal,
      show: async () => ending.abort(new Error('interrupted')),
    })
    await expect(login).rejects.toThrow('interrupted')
  })
})

it('a token is refreshed with the nonce it had', async () => {
  const first = await logInByBrowser(client(), {
    nonce,
    signal,
    show: async (url) => void (await browse(url)),
  })
  provider.account = { ...provider.account, groups: [] }
  const { idToken } = await refreshTokens(client(), first.refreshToken!)
  expect(await judged(idToken.reveal())).toMatchObject({
    identity: { ...ann.identity, groups: [] },
  })
})

it('a machine without a browser logs in by a code', async () => {
  const { idToken } = await logInByDeviceCode(client(), {
    nonce,
    signal,
    tell: ({ uri, code }) => void enter(new URL(uri), code),
  })
  expect(await judged(idToken.reveal())).toMatchObject(ann)
})

it('a code of a provider that drops the nonce lets nobody in', async () => {
  provider.hasNonceInDeviceFlow = false
  const { idToken } = await logInByDeviceCode(client(), {
    nonce,
    signal,
    tell: ({ uri, code }) => void enter(new URL(uri), code),
  })
  await expect(judged(idToken.reveal())).rejects.toThrow('it has no nonce')
})

/** What a person does on another device. */
async function enter(uri: URL, code: string): Promise<void> {
  const cookies = new Map<string, string>()
  const page = await browse(uri, cookies)
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)![1]!
  const confirm = await browse(uri, cookies, { xsrf, user_code: code })
  const again = /name="xsrf" value="([^"]+)"/.exec(confirm.text)?.[1] ?? xsrf
  await browse(uri, cookies, { xsrf: again, user_code: code, confirm: 'yes' })
}

describe('a code of a provider that has words of its own', () => {
  let forged: ForgedProvider
  beforeAll(async () => {
    forged = await ForgedProvider.start()
  })
  afterAll(() => forged.stop())

  function start(device: object, patienceMs?: number) {
    const { issuer, caDer } = forged
    forged.device = { device_code: 'd', user_code: 'ABCD-EFGH', expires_in: 1e9, ...device }
    const told: object[] = []
    const flow = { nonce, signal, tell: (page: object) => void told.push(page) }
    const options = patienceMs === undefined ? flow : { ...flow, patienceMs }
    return { told, login: logInByDeviceCode({ ...client(), issuer, caDer }, options) }
  }

  it.each([
    ['a page that is no web page', { verification_uri: 'javascript:alert(1)' }, 'no https URL'],
    ['a page without TLS', { verification_uri: 'http://id.example.com/' }, 'no https URL'],
    [
      'a second page that is none',
      { verification_uri: 'https://id.example.com/', verification_uri_complete: 'file:///etc' },
      'no https URL',
    ],
    [
      'a code that moves the cursor',
      { verification_uri: 'https://id.example.com/', user_code: 'A\u001b[2JB' },
      'cannot be typed',
    ],
  ])('is not shown with %s', async (_, device, why) => {
    const { told, login } = start(device)
    await expect(login).rejects.toMatchObject({
      code: 'MCM_TOKEN_REFUSED',
      message: expect.stringContaining(why),
    })
    expect(told).toEqual([])
  })

  it('is shown as an address, whatever stands in it, and waited for so long and no longer', async () => {
    const verification_uri = 'https://id.example.com/\u001b[2J'
    const { told, login } = start({ verification_uri, interval: 1 }, 300)
    await expect(login).rejects.toMatchObject({ code: 'MCM_TIMEOUT' })
    expect(told).toEqual([{ uri: 'https://id.example.com/%1B[2J', code: 'ABCD-EFGH' }])
  })
})

it('a provider with another certificate than the signed one is not spoken to', async () => {
  const { caDer: _, ...withoutCa } = client()
  const login = logInByBrowser(withoutCa, { nonce, signal, show: async () => {} })
  await expect(login).rejects.toMatchObject({ code: 'MCM_PROVIDER_UNREACHABLE' })
})
