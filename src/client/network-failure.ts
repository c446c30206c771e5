import { messageOf } from '../errors.ts'

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'it closed the connection',
  EPIPE: 'it closed the connection',
  ENOTFOUND: 'no such host name',
  EAI_AGAIN: 'its name cannot be looked up now',
  EHOSTUNREACH: 'no route to it',
  ENETUNREACH: 'no network',
  ETIMEDOUT: 'no answer',
}

/** A network or TLS error in a few words. */
export function networkFailure(error: unknown): string {
  const code = errorCode(error)
  const words = code === undefined ? undefined : WORDS[code]
  if (words) return words
  if (code?.startsWith('ERR_SSL_')) return `no TLS 1.3 with it (${tlsReason(code)})`
  return messageOf(error)
}

/** The code of a system or TLS error; of the first of several tried addresses. */
export function errorCode(error: unknown): string | undefined {
  const { code, errors } = error as { code?: unknown; errors?: readonly unknown[] }
  if (typeof code === 'string') return code
  return errors?.[0] === undefined ? undefined : errorCode(errors[0])
}

function tlsReason(code: string): string {
  return code.slice('ERR_SSL_'.length).toLowerCase().replaceAll('_', ' ')
}
