import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { SpdyConnection } from '../../../src/sandbox/streams/spdy.ts'
import { webSocketBytes } from '../../../src/sandbox/streams/websocket-bytes.ts'
import { NS, stage } from '../stage.ts'
import {
  openSpdy,
  openWebSocket,
  spdyLines,
  textOf,
  upgrade,
  webSocketLines,
} from './upgrade-client.ts'

const on = stage()
const PATH = `${NS}/pods/web-7d9f8b6c5-2xkqp/portforward`
const PROTOCOL = 'portforward.k8s.io'

async function bareSpdy(): Promise<SpdyConnection> {
  return (await openSpdy(on.sandbox, PATH, PROTOCOL)).connection
}

async function tunnelled(): Promise<SpdyConnection> {
  const offered = `SPDY/3.1+${PROTOCOL}`
  const answer = await upgrade(on.sandbox, 'GET', PATH, webSocketLines(offered))
  expect(answer.headers.get('sec-websocket-protocol')).toBe(offered)
  const role = { client: (count: number) => randomBytes(count) }
  const bytes = webSocketBytes(answer.socket, { role, head: answer.head })
  return new SpdyConnection(bytes, { role: 'client' })
}

let requests = 0

async function forward(connection: SpdyConnection, port: number | string) {
  requests += 1
  const headers = { port: String(port), requestid: String(requests) }
  const error = await connection.open({ ...headers, streamtype: 'error' })
  const data = await connection.open({ ...headers, streamtype: 'data' })
  return { error, data }
}

describe.each([
  ['SPDY/3.1', bareSpdy],
  ['SPDY/3.1 within a WebSocket', tunnelled],
])('port-forward over %s', (_, open) => {
  test('every pair of streams is a connection of its own, ended one way at a time', async () => {
    const connection = await open()
    const sent = Array.from({ length: 30 }, async (__, index) => {
      const { error, data } = await forward(connection, 8080)
      const bytes = `${index}.`.repeat(10_000)
      data.end(bytes)
      expect((await textOf(data)) === bytes).toBe(true)
      expect(await textOf(error)).toBe('')
    })
    await Promise.all(sent)
    connection.close()
    await connection.closed
  })

  test('a server in the pod answers HTTP', async () => {
    const connection = await open()
    const { data } = await forward(connection, 8080)
    data.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    expect(await textOf(data)).toMatch(/^HTTP\/1\.1 200 OK\r\n.*hello from web-7d9f8b6c5-2xkqp\n$/s)
    connection.close()
  })

  test('a port where nobody listens: a sentence on the error stream, and the other pairs live', async () => {
    const connection = await open()
    const good = await forward(connection, 8080)
    const bad = await forward(connection, 9)
    expect(await textOf(bad.error)).toMatch(
      /^error forwarding port 9 to pod web-7d9f8b6c5-2xkqp, uid .*connection refused$/,
    )
    expect(await textOf(bad.data)).toBe('')
    good.data.end('still here')
    expect(await textOf(good.data)).toBe('still here')
    connection.close()
  })

  test('one pair that is reset does not hurt the others', async () => {
    const connection = await open()
    const [victim, survivor] = [await forward(connection, 8080), await forward(connection, 8080)]
    victim.data.write('x')
    victim.data.reset()
    survivor.data.end('alive')
    expect(await textOf(survivor.data)).toBe('alive')
    connection.close()
  })

  test('streams without a proper port or type are refused', async () => {
    const connection = await open()
    for (const port of ['', '0', '65536', 'http', '-1'])
      await expect(connection.open({ port, streamtype: 'data' })).rejects.toThrow('reset')
    await expect(connection.open({ port: '80', streamtype: 'other' })).rejects.toThrow('reset')
    connection.close()
  })
})

describe('port-forward over the channels of a WebSocket', () => {
  test('two channels a port, each beginning with its number', async () => {
    const client = await openWebSocket(
      on.sandbox,
      `${PATH}?ports=8080&ports=9`,
      'v4.channel.k8s.io',
    )
    client.send(Buffer.from('\0over channels'))
    const port = Buffer.of(0x90, 0x1f).toString()
    await expect.poll(() => client.channel(0)).toBe(`${port}over channels`)
    expect(client.channel(1)).toBe(port)
    await expect.poll(() => client.channel(3)).toContain('connection refused')
    client.close()
    await client.closed
  })

  test('without a port, or with one that is none, it is a bad request', async () => {
    for (const query of ['', '?ports=0', '?ports=x', '?ports=70000']) {
      const lines = webSocketLines('v4.channel.k8s.io')
      expect((await upgrade(on.sandbox, 'GET', `${PATH}${query}`, lines)).status).toBe(400)
    }
  })
})

test('another protocol is forbidden', async () => {
  expect((await upgrade(on.sandbox, 'POST', PATH, spdyLines('v4.channel.k8s.io'))).status).toBe(403)
  const tunnel = webSocketLines('SPDY/3.1+other.k8s.io')
  expect((await upgrade(on.sandbox, 'GET', PATH, tunnel)).status).toBe(403)
})
