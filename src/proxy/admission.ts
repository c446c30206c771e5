import type { HeaderLine } from '../forward/headers.ts'
import { valuesOf } from '../forward/headers.ts'
import { badRequest, Refusal } from '../forward/refusal.ts'
import { failureStatus } from '../kube/status.ts'

/**
 * Whether a request may come in at all, judged before anything else is. A client certificate was shown
 * already; this is about programs that hold one and are led by somebody else: browsers above all.
 */

/** Browsers send these, and no browser has any business here: not even a page of ours exists. */
const BROWSER_HEADER = /^(origin$|sec-fetch-|access-control-request-)/

export interface Arrival {
  /** `:authority` of HTTP/2, undefined on HTTP/1 */
  readonly authority: string | undefined
  /** It asks to switch protocols: for a WebSocket or SPDY. */
  readonly isSwitch: boolean
}

/** The only names under which this proxy is addressed, with its port. */
export function localHosts(port: number): ReadonlySet<string> {
  return new Set([`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`])
}

/**
 * Lets a request pass or throws.
 * @throws Refusal 403 from a browser; 400 without, or with more than one, Host; 421 for another host
 */
export function admit(
  lines: readonly HeaderLine[],
  { authority, isSwitch }: Arrival,
  hosts: ReadonlySet<string>,
): void {
  const named = valuesOf(lines, 'host')
  const isProgram = (line: HeaderLine) =>
    isFetchOfNode(line, lines) || (isSwitch && isOwnOrigin(line, authority ?? named[0], hosts))
  const browser = lines.find((line) => BROWSER_HEADER.test(line.key) && !isProgram(line))
  if (browser) throw fromBrowser(browser.name)
  if (named.length > 1) throw badRequest('it has more than one Host')
  const host = authority ?? named[0]
  if (host === undefined) throw badRequest('it has no Host')
  // Both may be there on HTTP/2, and then must agree (RFC 9113 §8.3.1).
  if (authority !== undefined && named[0] !== undefined && named[0] !== authority)
    throw badRequest('its Host and :authority differ')
  if (!hosts.has(host)) throw misdirected()
}

/**
 * Node's own fetch (undici, and with it the JavaScript client) says this much of the Fetch Metadata. A browser says
 * Sec-Fetch-Site and -Dest with it, and no script can leave those out (W3C Fetch Metadata §2).
 */
function isFetchOfNode({ key, value }: HeaderLine, lines: readonly HeaderLine[]): boolean {
  const metadata = lines.filter((line) => line.key.startsWith('sec-fetch-'))
  return key === 'sec-fetch-mode' && value === 'cors' && metadata.length === 1
}

/**
 * websocket-client (the Python client) and Vert.x (fabric8) name the server they dial as origin, and the API server
 * wants one for a watch. A page of that origin cannot be: whatever would open it carries Sec-Fetch-Site.
 */
function isOwnOrigin(
  { key, value }: HeaderLine,
  host: string | undefined,
  hosts: ReadonlySet<string>,
): boolean {
  return key === 'origin' && host !== undefined && hosts.has(host) && value === `https://${host}`
}

function fromBrowser(header: string): Refusal {
  const why = `mcm: the request is refused: it carries ${header}, so a browser sent it`
  return new Refusal(failureStatus(403, 'Forbidden', why), true)
}

function misdirected(): Refusal {
  const why = 'mcm: the request is refused: its Host is not this proxy'
  return new Refusal(failureStatus(421, 'BadRequest', why), true)
}
