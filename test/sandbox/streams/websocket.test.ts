import { randomBytes } from 'node:crypto'
import { type Duplex, duplexPair } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { acceptOf, WebSocketConnection } from '../../../src/sandbox/streams/websocket.ts'

const client = { client: (count: number) => randomBytes(count) }

interface Ends {
  readonly client: WebSocketConnection
  readonly server: WebSocketConnection
  readonly raw: Duplex
  readonly received: (Buffer | string)[]
}

function connected(): Ends {
  const [left, right] = duplexPair()
  const received: (Buffer | string)[] = []
  const server: WebSocketConnection = new WebSocketConnection(right, {
    role: 'server',
    onMessage: (message, isText) => received.push(isText ? message.toString() : message),
  })
  const onMessage = () => {}
  return {
    client: new WebSocketConnection(left, { role: client, onMessage }),
    server,
    raw: left,
    received,
  }
}

/** A server's end alone, and the bytes it answers with. */
function server(): {
  raw: Duplex
  messages: Buffer[]
  answered: () => Buffer
  closed: Promise<void>
} {
  const [raw, right] = duplexPair()
  const messages: Buffer[] = []
  const chunks: Buffer[] = []
  raw.on('data', (chunk: Buffer) => chunks.push(chunk))
  const { closed } = new WebSocketConnection(right, {
    role: 'server',
    onMessage: (message) => messages.push(message),
  })
  return { raw, messages, answered: () => Buffer.concat(chunks), closed }
}

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('a WebSocket', () => {
  test('accepts a key as RFC 6455 §1.3 shows it', () => {
    expect(acceptOf('dGhlIHNhbXBsZSBub25jZQ==')).toBe('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
  })

  test.each([0, 1, 125, 126, 65_535, 65_536, 3_000_000])(
    'carries a message of %i bytes',
    async (length) => {
      const ends = connected()
      const message = randomBytes(length)
      ends.client.send(message)
      await expect.poll(() => ends.received).toHaveLength(1)
      expect(message.equals(ends.received[0] as Buffer)).toBe(true)
    },
  )

  test('tells text from bytes', async () => {
    const ends = connected()
    ends.client.send('grüße')
    await expect.poll(() => ends.received).toEqual(['grüße'])
  })

  test('puts fragments together, a ping between them answered at once', async () => {
    const { raw, messages, answered } = server()
    // "Hel", a ping "x", "lo": the mask is zero, so the bytes are plain.
    raw.write(hex('02 83 00000000 48656c'))
    raw.write(hex('89 81 00000000 78'))
    raw.write(hex('80 82 00000000 6c6f'))
    await expect.poll(() => messages.map(String)).toEqual(['Hello'])
    expect(answered().toString('hex')).toBe('8a0178')
  })

  test('takes bytes one by one', async () => {
    const { raw, messages } = server()
    for (const byte of hex('82 83 01020304 49676f')) raw.write(Buffer.of(byte))
    await expect.poll(() => messages.map(String)).toEqual(['Hel'])
  })

  test('a CLOSE is answered and ends the socket', async () => {
    const { raw, answered, closed } = server()
    raw.write(hex('88 82 00000000 03e8'))
    await expect.poll(() => answered().toString('hex')).toBe('880203e8')
    raw.end()
    await closed
  })

  test.each([
    ['a frame without a mask', '82 03 48656c'],
    ['reserved bits', 'c2 83 00000000 48656c'],
    ['an unknown opcode', '83 80 00000000'],
    ['a fragmented control frame', '09 80 00000000'],
    ['a control frame over 125 bytes', '89 fe 0080 00000000'],
    ['a continuation of nothing', '80 80 00000000'],
    ['a message of 2^60 bytes', '82 ff 1000000000000000 00000000'],
  ])('%s is a protocol error', async (_, bytes) => {
    const { raw, messages, answered } = server()
    raw.write(hex(bytes))
    await expect.poll(() => answered().toString('hex')).toBe('880203ea')
    expect(messages).toEqual([])
  })

  test('nothing is taken after a CLOSE', async () => {
    const { raw, messages, answered } = server()
    raw.write(hex('88 80 00000000 82 81 00000000 78'))
    await expect.poll(() => answered().length).toBeGreaterThan(0)
    expect(messages).toEqual([])
  })
})
