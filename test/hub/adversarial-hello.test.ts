import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { clientHello } from './client-hello.ts'
import { Stage } from './stage.ts'

/** What browsers and other stacks put into a ClientHello so that nobody chokes on it (RFC 8701, ECH), and what is wrong. */

let stage: Stage

beforeEach(async () => {
  stage = await Stage.open({ limits: { handshakeMs: 2_000 } })
})

afterEach(() => stage.stop())

const SERVER_HELLO = 0x16
const ALERT = 0x15
const GREASE = 0x1a1a
const SUPPORTED_VERSIONS = 43
const ENCRYPTED_CLIENT_HELLO = 0xfe0d
const PADDING = 21

interface Hello {
  /** Version, random and session id, as they are. */
  readonly front: Buffer
  ciphers: Buffer
  extensions: [type: number, data: Buffer][]
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255])
}

function withLength(data: Buffer): Buffer {
  return Buffer.concat([uint16(data.length), data])
}

/** RFC 8446 §4.1.2, behind the record's and the message's headers. */
function parse(record: Buffer): Hello {
  const body = record.subarray(9)
  let at = 35 + body[34]!
  const front = body.subarray(0, at)
  const ciphers = body.subarray(at + 2, at + 2 + body.readUInt16BE(at))
  at += 2 + ciphers.length + 2 + 2
  const extensions: Hello['extensions'] = []
  while (at < body.length) {
    const length = body.readUInt16BE(at + 2)
    extensions.push([body.readUInt16BE(at), body.subarray(at + 4, at + 4 + length)])
    at += 4 + length
  }
  return { front, ciphers, extensions }
}

function write({ front, ciphers, extensions }: Hello): Buffer {
  const all = extensions.map(([type, data]) => Buffer.concat([uint16(type), withLength(data)]))
  const compression = Buffer.from([1, 0])
  const body = Buffer.concat([
    front,
    withLength(ciphers),
    compression,
    withLength(Buffer.concat(all)),
  ])
  const message = Buffer.concat([Buffer.from([1, 0]), uint16(body.length), body])
  return Buffer.concat([Buffer.from([0x16, 3, 1]), withLength(message)])
}

/** The first byte of what the hub says. */
async function answerTo(change: (hello: Hello) => void): Promise<number> {
  const hello = parse(await clientHello())
  change(hello)
  const socket = stage.tcp()
  await once(socket, 'connect')
  socket.write(write(hello))
  const [chunk] = (await once(socket, 'data')) as [Buffer]
  return chunk[0]!
}

const versions = (hello: Hello) => hello.extensions.find(([type]) => type === SUPPORTED_VERSIONS)!

it('a hello taken apart and put together again is answered', async () => {
  expect(await answerTo(() => {})).toBe(SERVER_HELLO)
})

it.each<[string, (hello: Hello) => void]>([
  [
    'an unknown extension first and last',
    (hello) => {
      hello.extensions.unshift([GREASE, Buffer.alloc(0)])
      hello.extensions.push([0x2a2a, Buffer.of(0)])
    },
  ],
  [
    'an unknown cipher first',
    (hello) => {
      hello.ciphers = Buffer.concat([uint16(GREASE), hello.ciphers])
    },
  ],
  [
    'an unknown version first',
    (hello) => {
      const extension = versions(hello)
      const list = Buffer.concat([uint16(0x7a7a), extension[1].subarray(1)])
      extension[1] = Buffer.concat([Buffer.of(list.length), list])
    },
  ],
  [
    'an encrypted hello that nobody can open',
    (hello) => {
      const outer = Buffer.concat([
        Buffer.from('0000010001', 'hex'),
        Buffer.of(7),
        withLength(randomBytes(32)),
        withLength(randomBytes(144)),
      ])
      hello.extensions.push([ENCRYPTED_CLIENT_HELLO, outer])
    },
  ],
  [
    'padding up to 4 KB',
    (hello) => {
      const length = write(hello).length
      hello.extensions.push([PADDING, Buffer.alloc(4_096 - length)])
    },
  ],
  [
    'padding up to 16 KB',
    (hello) => {
      const length = write(hello).length
      hello.extensions.push([PADDING, Buffer.alloc(16_000 - length)])
    },
  ],
])('%s is answered', async (_, change) => {
  expect(await answerTo(change)).toBe(SERVER_HELLO)
})

it.each<[string, (hello: Hello) => void]>([
  [
    'TLS 1.2 alone among the versions',
    (hello) => {
      versions(hello)[1] = Buffer.from([2, 3, 3])
    },
  ],
  [
    'no cipher of TLS 1.3',
    (hello) => {
      hello.ciphers = uint16(0xc02f)
    },
  ],
  [
    'the same extension twice',
    (hello) => {
      hello.extensions.push([...versions(hello)])
    },
  ],
])('%s is an alert, and the hub goes on', async (_, change) => {
  expect(await answerTo(change)).toBe(ALERT)
  expect(await answerTo(() => {})).toBe(SERVER_HELLO)
})
