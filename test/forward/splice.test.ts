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
  const done = splice(reader.stream, right)
  server.end('last words')
  await once(right, 'end')
  right.destroy(new Error('it hears nothing any more'))
  await once(right, 'close').catch(() => {})
  expect(reader.stream.destroyed).toBe(false)
  reader.release()
  expect(await done).toEqual({ sent: 0, received: 10 })
  expect(reader.taken()).toBe(10)
})

test('one that goes away without an end takes the other with it at once', async () => {
  const [left, client] = await socketPair(ends, true)
  const [right, server] = await socketPair(ends, true)
  const done = splice(left, right)
  client.write('unfinished')
  await once(server, 'data')
  client.resetAndDestroy()
  await once(server, 'end')
  expect(right.destroyed).toBe(true)
  expect(await done).toEqual({ sent: 10, received: 0 })
})
