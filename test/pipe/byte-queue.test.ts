import { expect, it } from 'vitest'
import { ByteQueue } from '../../src/pipe/byte-queue.ts'
import { seeded } from './seeded.ts'

const text = (pieces: readonly Buffer[]) => Buffer.concat(pieces).toString()

it('gives back what was put in, in order, as often as it is put back', () => {
  const queue = new ByteQueue()
  queue.push(Buffer.from('hello '))
  queue.push(Buffer.from('world'))
  expect(text(queue.take(8))).toBe('hello wo')
  expect(text(queue.take(100))).toBe('rld')
  queue.rewind(3)
  queue.push(Buffer.from('!'))
  expect(text(queue.take(100))).toBe('lo world!')
  queue.drop(6)
  queue.rewind(0)
  expect(text(queue.take(100))).toBe('world!')
  expect({ start: queue.start, next: queue.next, end: queue.end, length: queue.length }).toEqual({
    start: 6,
    next: 12,
    end: 12,
    length: 6,
  })
})

it('keeps a large piece as it is and copies a small part of large memory', () => {
  const queue = new ByteQueue()
  const large = Buffer.allocUnsafeSlow(60_000).fill(1)
  queue.push(large)
  queue.push(large.subarray(0, 5_000))
  const [first, second] = queue.take(100_000)
  expect(first!.buffer).toBe(large.buffer)
  expect(second!.buffer).not.toBe(large.buffer)
})

it('holds a hundred thousand single bytes in little more memory than they are', () => {
  const queue = new ByteQueue()
  for (let count = 0; count < 100_000; count++) queue.push(Buffer.from([count & 255]))
  const pieces = queue.take(100_000)
  expect(Buffer.concat(pieces).length).toBe(100_000)
  expect(new Set(pieces.map(({ buffer }) => buffer)).size).toBeLessThan(10)
})

it.each([1, 2, 3, 4])('is one byte string whatever is done to it (seed %i)', (seed) => {
  const random = seeded(seed)
  const queue = new ByteQueue()
  let all = Buffer.alloc(0)
  for (let step = 0; step < 800; step++) {
    const action = random.below(10)
    if (action < 4) {
      const piece = random.bytes(
        random.below(8) === 0 ? 2_000 + random.below(4_000) : random.below(80),
      )
      queue.push(piece)
      all = Buffer.concat([all, piece])
    } else if (action < 5 && queue.length === 0) {
      const skipped = random.bytes(random.below(50))
      queue.skip(skipped.length)
      all = Buffer.concat([all, skipped])
    } else if (action < 7) {
      const at = queue.next
      const taken = Buffer.concat(queue.take(1 + random.below(3_000)))
      expect(taken.equals(all.subarray(at, at + taken.length))).toBe(true)
      expect(queue.next).toBe(at + taken.length)
    } else if (action < 8) {
      queue.rewind(queue.start + random.below(queue.length + 1))
    } else {
      queue.drop(queue.start + random.below(queue.length + 1))
      expect(queue.next).toBeGreaterThanOrEqual(queue.start)
    }
    expect(queue.end).toBe(all.length)
  }
})
