import { Duplex } from 'node:stream'
import { connect } from 'node:tls'

/** The bytes of a TLS 1.3 ClientHello as Node makes it: one record. */
export function clientHello(): Promise<Buffer> {
  return new Promise((resolve) => {
    const sink = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        done()
        resolve(chunk)
        setImmediate(() => socket.destroy())
      },
    })
    const socket = connect({ socket: sink, servername: 'hub.example', ALPNProtocols: ['h2'] })
    socket.on('error', () => {})
  })
}

/** The same handshake message in several TLS records (RFC 8446 §5.1). */
export function inRecords(hello: Buffer, count: number): Buffer {
  const message = hello.subarray(5)
  const size = Math.ceil(message.length / count)
  const records = Array.from({ length: count }, (_, index) => {
    const part = message.subarray(index * size, (index + 1) * size)
    const header = Buffer.from([0x16, 3, 1, part.length >> 8, part.length & 255])
    return Buffer.concat([header, part])
  })
  return Buffer.concat(records)
}
