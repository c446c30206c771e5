import { once } from 'node:events'
import { type Duplex, duplexPair } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { controlFrame, FRAME } from '../../../src/forward/spdy-frames.ts'
import { HeaderPacker } from '../../../src/forward/spdy-headers.ts'
import {
  SpdyConnection,
  type SpdyOptions,
  type SpdyStream,
} from '../../../src/sandbox/streams/spdy.ts'
import { textOf } from './upgrade-client.ts'

interface Ends {
  readonly client: SpdyConnection
  readonly server: SpdyConnection
  readonly raw: Duplex
}

function connected(
  onStream: (stream: SpdyStream) => void,
  options: Partial<SpdyOptions> = {},
): Ends {
  const [left, right] = duplexPair()
  return {
    client: new SpdyConnection(left, { role: 'client' }),
    server: new SpdyConnection(right, { role: 'server', onStream, ...options }),
    raw: left,
  }
}

describe('a SPDY/3.1 connection', () => {
  test('carries the headers of a stream, bytes both ways, and the end of each way by itself', async () => {
    const { client } = connected((stream) => {
      void textOf(stream).then((text) => stream.end(`${stream.headers['port']}: ${text}`))
    })
    const stream = await client.open({ port: '80' })
    stream.write('half ')
    stream.end('closed')
    expect(await textOf(stream)).toBe('80: half closed')
  })

  test('many streams at once keep apart', async () => {
    const { client } = connected((stream) => void stream.pipe(stream))
    const echoes = Array.from({ length: 100 }, async (_, index) => {
      const stream = await client.open({ index: String(index) })
      stream.end(String(index).repeat(5_000))
      return (await textOf(stream)) === String(index).repeat(5_000)
    })
    expect((await Promise.all(echoes)).every(Boolean)).toBe(true)
  })

  test('a stream that is reset ends, and leaves the others alone', async () => {
    const { client } = connected((stream) => void stream.pipe(stream))
    const [victim, survivor] = await Promise.all([client.open({}), client.open({})])
    victim.write('x')
    await once(victim, 'data')
    victim.reset()
    survivor.end('still here')
    expect(await textOf(survivor)).toBe('still here')
  })

  test('what was sent before a reset is still read', async () => {
    const { client } = connected((stream) => stream.write('last words', () => stream.reset()))
    expect(await textOf(await client.open({}))).toBe('last words')
  })

  test('whoever opens a stream that is refused learns it', async () => {
    const { client } = connected(() => {}, { accept: () => 'no' })
    await expect(client.open({})).rejects.toThrow('reset')
  })

  test('a ping is answered', async () => {
    const { client, server } = connected(() => {})
    await client.ping()
    await server.ping()
  })

  test('a reader that stops holds up the writer, and memory stays flat', async () => {
    let written = 0
    const { client } = connected((stream) => {
      const chunk = Buffer.alloc(64 * 1024)
      const write = () => {
        while (written < 512 && stream.write(chunk)) written += 1
        stream.once('drain', write)
      }
      write()
    })
    const stream = await client.open({})
    stream.once('readable', () => {})
    await new Promise((resolve) => setImmediate(resolve))
    let before = -1
    // Until nothing moves any more.
    while (before !== written) {
      before = written
      for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve))
    }
    expect(written).toBeLessThan(64)
    stream.destroy()
  })

  test('closing resets every stream and ends the transport', async () => {
    const { client, server } = connected((stream) => void stream.resume())
    const stream = await client.open({})
    const ended = textOf(stream)
    server.close()
    expect(await ended).toBe('')
    await Promise.all([client.closed, server.closed])
  })

  test('a broken transport ends every stream', async () => {
    const { client, raw } = connected((stream) => void stream.resume())
    const stream = await client.open({})
    raw.destroy()
    expect(await textOf(stream)).toBe('')
    await client.closed
  })

  test.each([
    ['another version', Buffer.from('8002000100000000', 'hex')],
    ['a control frame of 16 MiB', Buffer.from('8003000100ffffff', 'hex')],
    ['headers that are none', controlFrame(FRAME.SYN_STREAM, 0, [1, 0], Buffer.alloc(30, 0xff))],
  ])('%s ends the connection, and nothing else', async (_, bytes) => {
    const { raw, server } = connected(() => {})
    raw.write(bytes)
    await server.closed
  })

  test('a stream id that goes backwards is reset, and makes no stream', async () => {
    const opened: number[] = []
    const { client, raw } = connected((stream) => void opened.push(stream.id))
    await client.open({})
    await client.open({})
    const packer = new HeaderPacker()
    const [, , third] = [packer.pack({}), packer.pack({}), packer.pack({})]
    const block = Buffer.concat([Buffer.alloc(2), third!])
    raw.write(controlFrame(FRAME.SYN_STREAM, 0, [1, 0], block))
    await client.ping()
    expect(opened).toEqual([1, 3])
  })
})
