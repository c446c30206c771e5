/** What an image without a command of its own does on the ports it declares: it says hello over HTTP, and echoes anything else. */
import type { Duplex } from 'node:stream'
import type { Listener } from './container-parts.ts'

const HTTP_REQUEST = /^[A-Z]+ \S+ HTTP\/1\.[01]\r?\n/

export function imageServer(hostname: string): Listener {
  return (connection) => {
    connection.once('readable', () => {
      const first = connection.read() as Buffer | null
      if (!first) connection.end()
      else if (HTTP_REQUEST.test(first.toString('latin1'))) sayHello(connection, hostname)
      else echo(connection, first)
    })
  }
}

function sayHello(connection: Duplex, hostname: string): void {
  const body = `hello from ${hostname}\n`
  const head = ['HTTP/1.1 200 OK', 'Content-Type: text/plain', 'Connection: close']
  connection.end(`${[...head, `Content-Length: ${body.length}`].join('\r\n')}\r\n\r\n${body}`)
  connection.resume()
}

function echo(connection: Duplex, first: Buffer): void {
  connection.write(first)
  connection.pipe(connection)
}
