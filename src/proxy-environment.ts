/**
 * Which forward proxy the environment names for a host, as curl and Go read it: HTTPS_PROXY, ALL_PROXY and
 * NO_PROXY in either case, lower case first. Pure.
 */

type Environment = Readonly<Record<string, string | undefined>>

/** The proxy URL for a target that is dialled with TLS, or undefined: dial directly. Loopback never has one. */
export function proxyFromEnvironment(env: Environment, target: URL): string | undefined {
  const { hostname } = target
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  if (isLoopback(host)) return undefined
  const isPlain = target.protocol === 'http:'
  const own = isPlain ? env['http_proxy'] : (env['https_proxy'] ?? env['HTTPS_PROXY'])
  const proxy = own || env['all_proxy'] || env['ALL_PROXY']
  if (!proxy) return undefined
  const port = target.port || (isPlain ? '80' : '443')
  const excluded = (env['no_proxy'] ?? env['NO_PROXY'] ?? '').split(/[\s,]+/).filter(Boolean)
  if (excluded.some((entry) => covers(entry.toLowerCase(), host, port))) return undefined
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(proxy) ? proxy : `http://${proxy}`
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\./.test(host)
}

/** `*`, a domain with everything under it, an address, a CIDR block; each perhaps with a port. */
function covers(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true
  const block = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(entry)
  if (block) return inBlock(host, block[1]!, Number(block[2]))
  const { name, onlyPort } = splitPort(entry)
  if (onlyPort !== undefined && onlyPort !== port) return false
  if (host === name) return true
  const domain = name.replace(/^\*?\./, '')
  return host.endsWith(`.${domain}`) || (name !== domain && host === domain)
}

function splitPort(entry: string): { name: string; onlyPort?: string } {
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(entry)
  const plain = /^([^:]+)(?::(\d+))?$/.exec(entry)
  const match = bracketed ?? plain
  if (!match) return { name: entry }
  return match[2] === undefined ? { name: match[1]! } : { name: match[1]!, onlyPort: match[2] }
}

/** IPv4 only: nobody writes NO_PROXY blocks of IPv6 by hand, and an address of the other kind is not in it. */
function inBlock(host: string, base: string, bits: number): boolean {
  const address = ipv4(host)
  const network = ipv4(base)
  if (address === undefined || network === undefined || bits > 32) return false
  const mask = bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0
  return (address & mask) >>> 0 === (network & mask) >>> 0
}

function ipv4(text: string): number | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256))
    return undefined
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0)
}
