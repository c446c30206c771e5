/** Shakes hands with the port in argv[2] and lets OpenSSL write what it saw to stderr. */
import { connect } from 'node:tls'

const socket = connect({
  port: Number(process.argv[2]),
  host: '127.0.0.1',
  servername: 'localhost',
  rejectUnauthorized: false,
  enableTrace: true,
})
socket.on('secureConnect', () => socket.end())
socket.on('error', () => {})
