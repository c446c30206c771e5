import { once } from 'node:events'
import { type ClientHttp2Session, connect } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { Stage } from './stage.ts'

/** What somebody whom the directory does not know can hold of a hub that is reachable by everybody. */

let stage: Stage

afterEach(() => stage.stop())

async function session(socket: TLSSocket): Promise<ClientHttp2Session> {
  const http2 = connect('https://hub', { createConnection: () => socket })
  http2.on('error', () => {})
  await once(http2, 'remoteSettings')
  return http2
}

const isAnswered = async (http2: ClientHttp2Session) => {
  const stream = http2.request({ ':path': '/v1/hub' })
  stream.on('error', () => {}).resume()
  const [headers] = await once(stream, 'response')
  return headers[':status'] === 200
}

describe('a stranger’s connection', () => {
  it('that asks for nothing ends, however busily it pings', async () => {
    stage = await Stage.open({ limits: { idleMs: 200 } })
    const http2 = await session(await stage.tls(undefined, ['h2']))
    expect(await isAnswered(http2)).toBe(true)
    const pings = setInterval(() => http2.destroyed || http2.ping(() => {}), 10)
    const started = performance.now()
    await once(http2, 'close')
    clearInterval(pings)
    expect(performance.now() - started).toBeLessThan(2_000)
  })

  it('that is asking something is not idle, however slowly', async () => {
    stage = await Stage.open({ limits: { idleMs: 200 } })
    const http2 = await session(await stage.tls(undefined, ['h2']))
    const stream = http2.request({ ':path': '/v1/directory', ':method': 'POST' })
    stream.on('error', () => {}).resume()
    stream.write('{')
    await new Promise((done) => setTimeout(done, 500))
    expect(http2.closed).toBe(false)
    stream.end('}')
    const [headers] = await once(stream, 'response')
    expect(headers[':status']).toBe(400)
  })
})
