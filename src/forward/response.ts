import { type HeaderLine, readHeaderLines, toRawHeaders, withoutHopByHop } from './headers.ts'
import { UpstreamProtocolError } from './upstream.ts'

/**
 * Lines that would act on the client's side in our name: cookies, CORS, another place to talk to.
 */
const REFUSED_ANSWERS: ReadonlySet<string> = new Set([
  'set-cookie',
  'set-cookie2',
  'alt-svc',
  'clear-site-data',
])
const REFUSED_ANSWER_PREFIX = 'access-control-'

/**
 * What of an answer's headers goes to the client, raw. @throws UpstreamProtocolError too many or
 * too long
 */
export function answerHeaders(raw: readonly string[]): string[] {
  return toRawHeaders(withoutHopByHop(answerLines(raw)).filter(isAllowed))
}

/** An answer's lines. @throws UpstreamProtocolError too many or too long */
export function answerLines(raw: readonly string[]): HeaderLine[] {
  try {
    return readHeaderLines(raw)
  } catch (cause) {
    throw new UpstreamProtocolError('the answer has too many headers', { cause })
  }
}

function isAllowed({ key }: HeaderLine): boolean {
  return !REFUSED_ANSWERS.has(key) && !key.startsWith(REFUSED_ANSWER_PREFIX)
}
