import { once } from 'node:events'
import { Duplex } from 'node:stream'
import { afterEach, expect, test } from 'vitest'
import { splice } from '../../src/forward/splice.ts'
import { cleanup, socketPair } from './stage.ts'

const ends = cleanup()
afterEach(() => ends.run())

/** Takes what is written when the test lets it. */
function slowReader() {
  let taken = 0
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const stream = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _encoding, done) => {
      void released.then(() => {
        taken += chunk.length
        done()
      })
    },
  })
  return { stream, release, taken: () => taken }
}

test('what one side gave before it broke arrives whole at a slow reader', async () => {
  const reader = slowReader()
  const [right, server] = await socketPair(ends, true)
  const { done } = splice(reader.stream, right, { lingerMs: 1 })
  server.end('last words')
  await once(right, 'end')
  right.destroy(new Error('it hears nothing any more'))
  await once(right, 'close').catch(() => {})
  expect(reader.stream.destroyed).toBe(false)
  reader.release()
  expect(await done).toEqual({
    sent: 0,
    received: 10,
    first: 'right',
    broken: { side: 'right', hadEnded: true },
  })
  expect(reader.taken()).toBe(10)
})

test('a client that was given everything is left open until it ends, and an upstream is not', async () => {
  const [left, client] = await socketPair(ends, true)
  const [right, server] = await socketPair(ends, true)
  const pair = splice(left, right)
  server.end('last words')
  await once(client.resume(), 'end')
  expect(pair.isDelivered).toBe(false)
  right.destroy(new Error('it hears nothing any more'))
  if (!left.writableFinished) await once(left, 'finish')
  client.write('a ping')
  await once(left, 'data')
  expect([left.destroyed, pair.isDelivered]).toEqual([false, true])
  client.end()
  expect(await pair.done).toEqual({
    sent: 0,
    received: 10,
    first: 'right',
    broken: { side: 'right', hadEnded: true },
  })
})

test('a client that never ends is let go after a while', async () => {
  const [left, client] = await socketPair(ends, true)
  const [right, server] = await socketPair(ends, true)
  const { done } = splice(left, right, { lingerMs: 1 })
  server.end('last words')
  await once(client.resume(), 'end')
  right.destroy(new Error('it hears nothing any more'))
  expect(await done).toMatchObject({ received: 10, broken: { side: 'right', hadEnded: true } })
})

test('one that goes away without an end takes the other with it at once', async () => {
  const [left, client] = await socketPair(ends, true)
  const [right, server] = await socketPair(ends, true)
  const { done } = splice(left, right)
  client.write('unfinished')
  await once(server, 'data')
  client.resetAndDestroy()
  await once(server, 'end')
  expect(right.destroyed).toBe(true)
  expect(await done).toEqual({
    sent: 10,
    received: 0,
    broken: { side: 'left', hadEnded: false },
  })
})

test('a side that had ended before it was joined ends the other, as one that ends then', async () => {
  const [left, client] = await socketPair(ends, true)
  const [right, server] = await socketPair(ends, true)
  server.end()
  await once(right.resume(), 'end')
  const { done } = splice(left, right.pause())
  await once(client.resume(), 'end')
  client.end('thanks')
  expect(await done).toEqual({ sent: 6, received: 0, first: 'right' })
})

test('two ends in good order are nobody’s fault, whoever was first', async () => {
  const [left, client] = await socketPair(ends, true)
  const [right, server] = await socketPair(ends, true)
  const { done } = splice(left, right)
  server.end('that was all')
  await once(client.resume(), 'end')
  client.end('thanks')
  await once(server.resume(), 'end')
  expect(await done).toEqual({ sent: 6, received: 12, first: 'right' })
})

test('one that breaks off while the other speaks is the one that broke it', async () => {
  const [left, client] = await socketPair(ends, true)
  const [right, server] = await socketPair(ends, true)
  const { done } = splice(left, right)
  server.write('half of')
  await once(client, 'data')
  server.resetAndDestroy()
  expect((await done).broken).toEqual({ side: 'right', hadEnded: false })
  expect(left.destroyed).toBe(true)
})

test('one that said its last and did not hear the other’s is told from one that did not', async () => {
  const [left, client] = await socketPair(ends, true)
  const [right, server] = await socketPair(ends, true)
  const { done } = splice(left, right)
  client.end('only this')
  await once(server.resume(), 'end')
  client.resetAndDestroy()
  server.write(Buffer.alloc(1 << 20))
  expect(await done).toMatchObject({ first: 'left', broken: { side: 'left', hadEnded: true } })
})

test('two that are taken apart are left as they are', async () => {
  const [left, client] = await socketPair(ends, true)
  const [right, server] = await socketPair(ends, true)
  const pair = splice(left, right)
  client.write('before')
  await once(server, 'data')
  pair.takeApart()
  expect(await pair.done).toEqual({ sent: 6, received: 0 })
  server.end()
  await once(right.resume(), 'end')
  expect([left.destroyed, left.writableEnded]).toEqual([false, false])
  left.end('a last word')
  expect(String((await once(client, 'data'))[0])).toBe('a last word')
})
