import { badRequest } from './refusal.ts'

/**
 * Visible ASCII without `#` and `\`: a fragment never travels, and a backslash is a slash to some.
 */
const TARGET = /^[\x21-\x22\x24-\x5b\x5d-\x7e]+$/

/**
 * The request target in origin-form (RFC 9112 §3.2.1), exactly as it was sent: never decoded,
 * normalised or made into a URL, because `//host/x` and `/\host/x` then name another server.
 * @throws Refusal 400 every other form, and bytes outside visible ASCII
 */
export function requireOriginForm(target: string | undefined): string {
  if (target === undefined || target === '') throw badRequest('it has no path')
  if (target[0] !== '/') throw badRequest('its target does not start with "/"')
  if (target[1] === '/') throw badRequest('its target starts with "//"')
  if (!TARGET.test(target)) throw badRequest('its target holds a character that no URL may hold')
  return target
}

const METHOD = /^[A-Z][A-Z-]{0,31}$/
const REFUSED_METHODS: ReadonlySet<string> = new Set(['CONNECT', 'TRACE', 'TRACK'])

/**
 * The method, in upper case and none that asks the next hop for a tunnel or an echo. @throws
 * Refusal 400
 */
export function requireMethod(method: string | undefined): string {
  if (method === undefined || !METHOD.test(method) || REFUSED_METHODS.has(method))
    throw badRequest('its method is not allowed here')
  return method
}
