import { messageOf, UnreachableError } from '../errors.ts'

/** The error of a listener that cannot listen. */
export function listenFailure(address: string, cause: unknown): UnreachableError {
  const isTaken = (cause as { code?: string }).code === 'EADDRINUSE'
  const why = isTaken ? 'another program listens there' : messageOf(cause)
  return new UnreachableError('MCM_PORT_TAKEN', `cannot listen on ${address}: ${why}`, {
    hint: isTaken ? 'stop it, or choose another port' : 'choose another address or port',
    cause,
  })
}
