import { connect } from 'node:tls'
import { isMcmError } from '../errors.ts'
import type { Device } from './device.ts'
import { type LocalProxy, storedLocalProxy } from './local-proxy.ts'

const PATIENCE_MS = 1_000

/**
 * The local proxy of this person when one is running now: whoever has the port is believed only with a certificate
 * of the local CA. undefined when there is none, or it does not answer within a second.
 */
export async function runningProxy(device: Device): Promise<LocalProxy | undefined> {
  const stored = await storedLocalProxy(device).catch((error) => {
    // It is a matter of speed only: `mcm proxy` itself says what is wrong with its file.
    if (isMcmError(error)) return undefined
    throw error
  })
  return stored && (await answers(stored)) ? stored : undefined
}

function answers({ port, caPem, client }: LocalProxy): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      ca: caPem,
      cert: client.certPem,
      key: client.keyPem.reveal(),
      minVersion: 'TLSv1.3',
      timeout: PATIENCE_MS,
    })
    const settle = (isRunning: boolean) => {
      socket.destroy()
      resolve(isRunning)
    }
    socket.once('secureConnect', () => settle(true))
    socket.once('timeout', () => settle(false))
    socket.once('error', () => settle(false))
  })
}
