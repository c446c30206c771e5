import { once } from 'node:events'
import { duplexPair } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { decoupleWrites } from '../src/duplex.ts'

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
