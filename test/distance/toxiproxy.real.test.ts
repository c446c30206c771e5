import { once } from 'node:events'
import { connect, createServer, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { skipLoudly } from '../cluster/possibility.ts'
import { distanceIsPossible, type Relay, startToxiproxy, type Toxiproxy } from './toxiproxy.ts'

const skip = skipLoudly('everything over a distance', await distanceIsPossible())

describe.skipIf(skip)('a relay with distance', () => {
  let toxiproxy: Toxiproxy
  let echo: Server
  let relay: Relay

  beforeAll(async () => {
    toxiproxy = await startToxiproxy()
    echo = createServer((socket) => socket.pipe(socket))
    await once(echo.listen(0, '127.0.0.1'), 'listening')
    const { port } = echo.address() as { port: number }
    relay = await toxiproxy.relay(`127.0.0.1:${port}`)
  })

  afterAll(async () => {
    echo?.close()
    await toxiproxy?.stop()
  })

  async function echoMs(bytes: number): Promise<number> {
    const socket = connect(relay.port, '127.0.0.1')
    await once(socket, 'connect')
    const startedAt = performance.now()
    socket.write(Buffer.alloc(bytes))
    let left = bytes
    for await (const chunk of socket) {
      left -= (chunk as Buffer).length
      if (left === 0) break
    }
    socket.destroy()
    return performance.now() - startedAt
  }

  test('makes an answer wait for the way there and back', async () => {
    await relay.setDistance({ roundTripMs: 80 })
    expect(await echoMs(1)).toBeGreaterThanOrEqual(79)
  })

  test('lets through no more than its line takes', async () => {
    await relay.setDistance({ roundTripMs: 0, megabitsPerSecond: 80 })
    // 2 MB at 10 MB/s, on the way there and back at once.
    expect(await echoMs(2_000_000)).toBeGreaterThanOrEqual(150)
  })

  test('is no distance at all when it is taken away', async () => {
    await relay.setDistance({ roundTripMs: 10_000 })
    await relay.setDistance(undefined)
    expect(await echoMs(1)).toBeLessThan(10_000)
  })
})
