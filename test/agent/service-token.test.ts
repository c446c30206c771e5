import { describe, expect, it, vi } from 'vitest'
import { type TokenOptions, tokenSource } from '../../src/agent/service-token.ts'
import { AccessDeniedError } from '../../src/errors.ts'
import { FrozenWorld } from './frozen-world.ts'
import { MemoryApi } from './memory-api.ts'

const PATH = '/api/v1/namespaces/mcm-system/serviceaccounts/mcm-impersonator/token'

function start(options: TokenOptions = {}, granted?: number) {
  const api = new MemoryApi()
  const world = new FrozenWorld()
  const asked: { path: string; body: object }[] = []
  api.onSubresource = (path, body) => {
    asked.push({ path, body })
    const spec = (body as { spec: { expirationSeconds: number } }).spec
    const expirationSeconds = granted ?? spec.expirationSeconds
    return { spec: { ...spec, expirationSeconds }, status: { token: `token-${asked.length}` } }
  }
  return { api, world, asked, tokens: tokenSource(api, options, world) }
}

const reveal = async (token: Promise<{ reveal(): string }>) => (await token).reveal()

describe('the impersonator’s token', () => {
  it('is asked for once, however many requests need it at once', async () => {
    const { tokens, asked } = start()
    const all = await Promise.all(Array.from({ length: 50 }, () => reveal(tokens.current())))
    expect(new Set(all)).toEqual(new Set(['token-1']))
    expect(asked).toHaveLength(1)
    expect(asked[0]).toMatchObject({
      path: PATH,
      body: { kind: 'TokenRequest', spec: { expirationSeconds: 3600 } },
    })
  })

  it('is bound to a Secret and an audience when told', async () => {
    const { tokens, asked } = start({ boundTo: { name: 's', uid: 'u' }, audience: 'https://a' })
    await tokens.current()
    expect(asked[0]!.body).toMatchObject({
      spec: {
        audiences: ['https://a'],
        boundObjectRef: { apiVersion: 'v1', kind: 'Secret', name: 's', uid: 'u' },
      },
    })
  })

  it('is renewed at 80 % of its life, while the old one still serves', async () => {
    const { tokens, world } = start()
    await tokens.current()
    world.advance(2879_000)
    expect(await reveal(tokens.current())).toBe('token-1')
    world.advance(1_000)
    expect(await reveal(tokens.current())).toBe('token-1')
    await vi.waitFor(async () => expect(await reveal(tokens.current())).toBe('token-2'))
  })

  it('lives as long as the server says, not as long as was asked for', async () => {
    const { tokens, world } = start({}, 600)
    await tokens.current()
    world.advance(590_000)
    expect(await reveal(tokens.current())).toBe('token-2')
  })

  it('goes on serving a good token when the renewal fails, and does not ask per request', async () => {
    const { api, tokens, world, asked } = start()
    await tokens.current()
    api.onSubresource = () => {
      asked.push({ path: '', body: {} })
      throw new AccessDeniedError('MCM_FORBIDDEN', 'no')
    }
    world.advance(3_000_000)
    for (let request = 0; request < 20; request++) {
      expect(await reveal(tokens.current())).toBe('token-1')
      await new Promise(setImmediate)
    }
    expect(asked).toHaveLength(2)
  })

  it('is missing rather than expired: 503 with the reason, and no anonymous request', async () => {
    const { api, tokens, world } = start()
    await tokens.current()
    api.onSubresource = () => {
      throw new AccessDeniedError('MCM_FORBIDDEN', 'mcm-agent may not')
    }
    world.advance(3_420_000)
    await expect(tokens.current()).rejects.toMatchObject({
      code: 'MCM_API_SERVER_UNREACHABLE',
      httpStatus: 503,
      message: expect.stringContaining('mcm-agent may not'),
    })
  })

  it('is not believed in when the answer holds none', async () => {
    const { api, tokens } = start()
    api.onSubresource = () => ({ status: {} })
    await expect(tokens.current()).rejects.toMatchObject({ httpStatus: 503 })
  })

  it('is not used when the clock was set back behind it', async () => {
    const { tokens, world } = start()
    await tokens.current()
    world.advance(-60_000)
    expect(await reveal(tokens.current())).toBe('token-2')
  })

  it('is replaced when the API server refuses it, once for any number of refused requests', async () => {
    const { tokens, world, asked } = start()
    await tokens.current()
    world.advance(60_000)
    const all = await Promise.all(Array.from({ length: 30 }, () => reveal(tokens.reload())))
    expect(new Set(all)).toEqual(new Set(['token-2']))
    expect(await reveal(tokens.reload())).toBe('token-2')
    expect(asked).toHaveLength(2)
    world.advance(5_000)
    expect(await reveal(tokens.reload())).toBe('token-3')
  })

  it('never prints itself', async () => {
    const { tokens } = start()
    expect(`${await tokens.current()}`).toBe('[secret]')
  })
})
