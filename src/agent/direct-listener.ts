/**
 * The agent's own address, for when no hub is up (docs/PROTOCOL.md §8.1): one port for sessions, one for
 * enrolment. Anybody can dial it, so this counts connections by where they come from and knows nothing else;
 * what is spoken on them is the inner servers' affair, as with a stream from a tunnel. Invariant: nobody is heard
 * before the agent may serve at all.
 */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { isMcmError, messageOf, UnreachableError } from '../errors.ts'
import { networkOf, plainAddress } from '../protocol/address.ts'
import type { Log } from '../world.ts'
import { handshakePlaces } from './handshake-places.ts'
import type { AgentServers, ServerKind } from './servers.ts'
import { carrierOf } from './socket-carrier.ts'

export interface DirectListenerOptions {
  /** Address to listen on. */
  readonly host: string
  /** 0 picks a free one. */
  readonly ports: Readonly<Record<ServerKind, number>>
  /** Whether anybody may be served now. */
  isReady(): boolean
  readonly accept: AgentServers['acceptDirect']
  /** Connections for enrolment at once; 256 unless told. */
  readonly maxEnrolments?: number
  readonly log: Log
}

export interface DirectListener {
  readonly ports: Readonly<Record<ServerKind, number>>
  /** No new connections; those there are may go on for so long. */
  stop(graceMs: number): Promise<void>
}

const KEEP_ALIVE_MS = 15_000
/** Whoever has a session has shown a certificate, and how many each user has is limited elsewhere. */
const MAX_CONNECTIONS = 4_096
/** Nobody shows a certificate here, so even a connection that is through its handshake counts. */
const MAX_ENROLMENTS = 256

/** Listens on both ports. @throws UnreachableError MCM_PORT_TAKEN */
export async function listenDirect(options: DirectListenerOptions): Promise<DirectListener> {
  const sockets = new Set<Socket>()
  const session = doorFor('session', options, sockets)
  const enrolment = doorFor('enrolment', options, sockets)
  const close = () => {
    for (const server of [session, enrolment]) if (server.listening) server.close()
  }
  try {
    const ports = {
      session: await listen(session, options.host, options.ports.session),
      enrolment: await listen(enrolment, options.host, options.ports.enrolment),
    }
    return { ports, stop: (graceMs) => stop(sockets, close, graceMs) }
  } catch (error) {
    close()
    throw error
  }
}

function doorFor(kind: ServerKind, options: DirectListenerOptions, sockets: Set<Socket>): Server {
  const { maxEnrolments = MAX_ENROLMENTS } = options
  const places = kind === 'enrolment' ? handshakePlaces(maxEnrolments) : undefined
  const keepAlive = { keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS }
  const server = createServer({ ...keepAlive, noDelay: true, allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    const address = plainAddress(socket.remoteAddress ?? '')
    try {
      if (address === '' || !options.isReady()) return void socket.destroy()
      const leave = places?.take(networkOf(address), socket)
      sockets.add(socket)
      socket.once('close', () => {
        sockets.delete(socket)
        leave?.()
      })
      options.accept(kind, carrierOf(socket), address)
    } catch (error) {
      socket.destroy()
      if (!isMcmError(error))
        options.log.error('direct_connection_failed', { reason: messageOf(error) })
    }
  })
  server.maxConnections = MAX_CONNECTIONS
  server.on('error', () => {})
  return server
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  try {
    server.listen(port, host)
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  } catch (cause) {
    throw new UnreachableError(
      'MCM_PORT_TAKEN',
      `the direct address ${host}:${port} cannot be listened on: ${messageOf(cause)}`,
      { hint: 'choose other ports with --direct-listen', cause },
    )
  }
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

async function stop(sockets: Set<Socket>, close: () => void, graceMs: number): Promise<void> {
  close()
  const over = new AbortController()
  const ended = Promise.all([...sockets].map(closed))
  const late = pause(graceMs, undefined, { signal: over.signal }).catch(() => {})
  await Promise.race([ended, late])
  over.abort()
  for (const socket of sockets) socket.destroy()
}
