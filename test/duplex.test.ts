import { once } from 'node:events'
import { duplexPair, Writable } from 'node:stream'
import { describe, expect, it, vi } from 'vitest'
import { decoupleWrites, gatherBulk } from '../src/duplex.ts'

describe('a stream whose writes never wait for the peer to read', () => {
  it('finishes a write that nobody reads', async () => {
    const [ours] = duplexPair()
    const decoupled = decoupleWrites(ours)
    await new Promise((resolve) => decoupled.write(Buffer.alloc(1 << 20), resolve))
    expect(ours.writableLength).toBeGreaterThan(0)
  })

  it('makes the writer wait at last when 64 MiB lie unread', async () => {
    const [ours, theirs] = duplexPair()
    const decoupled = decoupleWrites(ours)
    let finished = 0
    const chunk = Buffer.alloc(8 << 20)
    for (let count = 0; count < 12; count += 1) decoupled.write(chunk, () => (finished += 1))
    await new Promise((resolve) => setImmediate(resolve))
    expect(finished).toBeLessThan(12)
    theirs.resume()
    await expect.poll(() => finished).toBe(12)
  })

  it('carries both directions, order and ends', async () => {
    const [ours, theirs] = duplexPair()
    const decoupled = decoupleWrites(ours)
    decoupled.cork()
    decoupled.write('one ')
    decoupled.write('two ')
    decoupled.uncork()
    decoupled.end('three')
    theirs.end('answer')
    const read = async (stream: AsyncIterable<Buffer>) => {
      let text = ''
      for await (const chunk of stream) text += String(chunk)
      return text
    }
    expect(await Promise.all([read(theirs), read(decoupled)])).toEqual(['one two three', 'answer'])
  })

  it('passes on in one piece what was written together', async () => {
    const [ours, theirs] = duplexPair()
    const pieces: string[] = []
    theirs.on('data', (piece: Buffer) => pieces.push(String(piece)))
    const decoupled = decoupleWrites(ours)
    decoupled.cork()
    for (const piece of ['head ', 'bytes ', 'head ', 'bytes']) decoupled.write(piece)
    decoupled.uncork()
    await expect.poll(() => pieces).toEqual(['head bytes head bytes'])
  })

  it('stops reading when its reader stops', async () => {
    const [ours, theirs] = duplexPair()
    const decoupled = decoupleWrites(ours)
    let drained = false
    theirs.write(Buffer.alloc(4 << 20), () => {
      drained = true
    })
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(drained).toBe(false)
    decoupled.resume()
    await expect.poll(() => drained).toBe(true)
  })

  it('ends the socket when it is destroyed, and itself when the socket dies', async () => {
    const [ours] = duplexPair()
    decoupleWrites(ours).destroy()
    expect(ours.destroyed).toBe(true)
    const [other] = duplexPair()
    const decoupled = decoupleWrites(other)
    const failed = once(decoupled, 'error')
    other.destroy(new Error('reset'))
    expect((await failed)[0].message).toBe('reset')
  })
})

/** What was written, each list in one call of the stream's. */
function recorded() {
  const writes: string[][] = []
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      writes.push([nameOf(chunk)])
      done()
    },
    writev: (chunks, done) => {
      writes.push(chunks.map(({ chunk }) => nameOf(chunk as Buffer)))
      done()
    },
  })
  return { stream, writes }
}

const nameOf = (chunk: Buffer) => `${chunk.length}${chunk.toString('latin1', 0, 1)}`

describe('gathering what bulk brings in one turn', () => {
  const record = (name: string) => [Buffer.alloc(16_384, name), Buffer.alloc(22, name)]

  it('writes the records of a turn at once and in order', async () => {
    const { stream, writes } = recorded()
    const gather = gatherBulk(stream)
    for (const piece of [...record('a'), ...record('b')]) {
      gather(piece)
      stream.write(piece)
    }
    expect(writes).toEqual([])
    await new Promise((resolve) => setImmediate(resolve))
    expect(writes).toEqual([['16384a', '22a', '16384b', '22b']])
  })

  it('does not keep a keystroke', () => {
    const { stream, writes } = recorded()
    const key = Buffer.from('x')
    gatherBulk(stream)(key)
    stream.write(key)
    expect(writes).toEqual([['1x']])
  })

  it('keeps nothing from a stream that takes one piece at a time', () => {
    const written: string[] = []
    const stream = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        written.push(nameOf(chunk))
        done()
      },
    })
    const gather = gatherBulk(stream)
    for (const piece of record('a')) {
      gather(piece)
      stream.write(piece)
    }
    expect(written).toEqual(['16384a', '22a'])
  })

  it('begins anew in every turn', async () => {
    const { stream, writes } = recorded()
    const gather = gatherBulk(stream)
    for (const name of ['a', 'b']) {
      for (const piece of record(name)) {
        gather(piece)
        stream.write(piece)
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(writes).toEqual([
      ['16384a', '22a'],
      ['16384b', '22b'],
    ])
  })

  it('keeps the few bytes that bulk leaves over for what comes with the next turn, and no longer', async () => {
    const { stream, writes } = recorded()
    const gather = gatherBulk(stream)
    const write = (piece: Buffer) => {
      gather(piece)
      stream.write(piece)
    }
    for (const piece of record('a')) write(piece)
    await new Promise((resolve) => setImmediate(resolve))
    const rest = Buffer.from('rest')
    write(rest)
    await new Promise((resolve) => setImmediate(resolve))
    for (const piece of record('b')) write(piece)
    await new Promise((resolve) => setImmediate(resolve))
    expect(writes).toEqual([
      ['16384a', '22a'],
      ['4r', '16384b', '22b'],
    ])
    write(rest)
    await new Promise((resolve) => setImmediate(resolve))
    await new Promise((resolve) => setImmediate(resolve))
    expect(writes.at(-1)).toEqual(['4r'])
  })

  it('does not keep a keystroke that comes a while after bulk', async () => {
    const { stream, writes } = recorded()
    const gather = gatherBulk(stream)
    for (const piece of record('a')) {
      gather(piece)
      stream.write(piece)
    }
    await expect.poll(() => writes.length).toBe(1)
    const later = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 6)
    gather(Buffer.from('x'))
    later.mockRestore()
    stream.write(Buffer.from('x'))
    expect(writes.at(-1)).toEqual(['1x'])
  })

  it('loses nothing when the stream ends in the same turn, and breaks nothing when it is destroyed', async () => {
    const [ending, destroyed] = [recorded(), recorded()]
    for (const { stream } of [ending, destroyed]) {
      const gather = gatherBulk(stream)
      for (const piece of record('a')) {
        gather(piece)
        stream.write(piece)
      }
    }
    ending.stream.end(Buffer.from('z'))
    destroyed.stream.destroy()
    await once(ending.stream, 'finish')
    await new Promise((resolve) => setImmediate(resolve))
    expect(ending.writes.flat()).toEqual(['16384a', '22a', '1z'])
    expect(destroyed.writes).toEqual([])
  })
})
