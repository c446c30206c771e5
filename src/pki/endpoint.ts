import { isIP } from 'node:net'

/** The host of an endpoint, as it stands in a certificate. */
export type EndpointHost =
  | { readonly kind: 'dns'; readonly name: string }
  | { readonly kind: 'ip'; readonly name: string; readonly bytes: Buffer }

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

/**
 * The host in `HOST:PORT` or `[IPV6]:PORT`, lower-case; undefined when it is none that a certificate may
 * name: a wildcard, an empty label, a zone, a trailing dot, or digits that are no address.
 */
export function endpointHost(endpoint: string): EndpointHost | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(endpoint)
  const port = Number(match?.[3])
  if (!match || port < 1 || port > 65_535) return undefined
  if (match[1] !== undefined) return isIP(match[1]) === 6 ? ipv6Host(match[1]) : undefined
  const name = match[2]!.toLowerCase()
  if (isIP(name) === 4) return { kind: 'ip', name, bytes: Buffer.from(name.split('.').map(Number)) }
  return isDnsName(name) ? { kind: 'dns', name } : undefined
}

/** Whether this is a host name of lower-case labels whose last one is not a number (RFC 1123 §2.1). */
export function isDnsName(name: string): boolean {
  const labels = name.split('.')
  return (
    name.length <= 253 &&
    labels.every((label) => LABEL.test(label)) &&
    !/^\d+$/.test(labels.at(-1)!)
  )
}

/** Whether a DNS name is `internal` or under it, where clusters live. */
export function isInternal(name: string): boolean {
  return /(^|\.)internal\.?$/i.test(name)
}

function ipv6Host(text: string): EndpointHost {
  // The URL parser writes an address in one form: lower-case groups, at most one "::".
  const name = new URL(`http://[${text}]/`).hostname.slice(1, -1)
  const [head = '', tail] = name.split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array<string>(8 - before.length - after.length).fill('0')
  const bytes = Buffer.alloc(16)
  for (const [index, group] of [...before, ...zeros, ...after].entries())
    bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2)
  return { kind: 'ip', name, bytes }
}
