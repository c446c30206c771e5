import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** Two ends of one loopback TCP connection, half-close allowed. */
export async function socketPair(): Promise<{ accepted: Socket; dialled: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const dialled = connect({ port: address.port, host: '127.0.0.1', allowHalfOpen: true })
  const [[accepted]] = (await Promise.all([
    once(server, 'connection'),
    once(dialled, 'connect'),
  ])) as [[Socket], unknown]
  server.close()
  return { accepted, dialled }
}

/** When a stream is gone, for whatever reason. */
export function closed(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (stream.closed) resolve()
    else stream.once('close', resolve)
  })
}
