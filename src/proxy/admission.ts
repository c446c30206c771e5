import type { HeaderLine } from '../forward/headers.ts'
import { valuesOf } from '../forward/headers.ts'
import { badRequest, Refusal } from '../forward/refusal.ts'
import { failureStatus } from '../kube/status.ts'

/**
 * Whether a request may come in at all, judged before anything else is. A client certificate was shown
 * already; this is about programs that hold one and are led by somebody else: browsers above all.
 */

/** Only browsers send these, and no browser has any business here: not even a page of ours exists. */
const BROWSER_HEADER = /^(origin$|sec-fetch-|access-control-request-)/

/** The only names under which this proxy is addressed, with its port. */
export function localHosts(port: number): ReadonlySet<string> {
  return new Set([`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`])
}

/**
 * Lets a request pass or throws.
 * @param authority `:authority` of HTTP/2, undefined on HTTP/1
 * @throws Refusal 403 from a browser; 400 without, or with more than one, Host; 421 for another host
 */
export function admit(
  lines: readonly HeaderLine[],
  authority: string | undefined,
  hosts: ReadonlySet<string>,
): void {
  const browser = lines.find(({ key }) => BROWSER_HEADER.test(key))
  if (browser) throw fromBrowser(browser.name)
  const named = valuesOf(lines, 'host')
  if (named.length > 1) throw badRequest('it has more than one Host')
  const host = authority ?? named[0]
  if (host === undefined) throw badRequest('it has no Host')
  // Both may be there on HTTP/2, and then must agree (RFC 9113 §8.3.1).
  if (authority !== undefined && named[0] !== undefined && named[0] !== authority)
    throw badRequest('its Host and :authority differ')
  if (!hosts.has(host)) throw misdirected()
}

function fromBrowser(header: string): Refusal {
  const why = `mcm: the request is refused: it carries ${header}, so a browser sent it`
  return new Refusal(failureStatus(403, 'Forbidden', why), true)
}

function misdirected(): Refusal {
  const why = 'mcm: the request is refused: its Host is not this proxy'
  return new Refusal(failureStatus(421, 'BadRequest', why), true)
}
