/**
 * Header lines of one message, from the wire and back to it. Node's own views merge duplicates and
 * lose lines past a thousand, so everything here works on raw pairs, and the list that is filtered
 * is the list that is sent.
 */

import { failureStatus } from '../kube/status.ts'
import { Refusal } from './refusal.ts'

/** Names and values in turn, as on the wire: bytes read as latin1, order and duplicates kept. */
export type RawHeaders = readonly string[]

export interface HeaderLine {
  /** As it was sent. */
  readonly name: string
  /** Lower case, `_` read as `-`: for deny lists, because a receiver may do the same. */
  readonly key: string
  readonly value: string
}

export const MAX_HEADER_LINES = 100
export const MAX_HEADER_LINE_BYTES = 16 * 1024

/** RFC 9110 §7.6.1, and what older clients treat alike. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'trailers',
  'transfer-encoding',
  'upgrade',
])

/**
 * The lines of a message; HTTP/2 pseudo-headers are left out. @throws Refusal 431 too many or too
 * long
 */
export function readHeaderLines(raw: RawHeaders): HeaderLine[] {
  if (raw.length > 2 * MAX_HEADER_LINES)
    throw tooLarge(`more than ${MAX_HEADER_LINES} header lines`)
  const lines: HeaderLine[] = []
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index]!
    const value = raw[index + 1]!
    if (name.length + value.length > MAX_HEADER_LINE_BYTES)
      throw tooLarge(`a header line is longer than ${MAX_HEADER_LINE_BYTES} bytes`)
    if (name.charCodeAt(0) !== COLON) lines.push({ name, key: keyOf(name), value })
  }
  return lines
}

/**
 * The lines that are meant for the next hop too: without hop-by-hop ones and those that
 * `Connection` names.
 */
export function withoutHopByHop(lines: readonly HeaderLine[]): HeaderLine[] {
  const named = connectionOptions(lines)
  return lines.filter(({ key }) => !HOP_BY_HOP.has(key) && !named.has(key))
}

/** The options listed in every `Connection` line, as keys. */
export function connectionOptions(lines: readonly HeaderLine[]): ReadonlySet<string> {
  const options = new Set<string>()
  for (const { key, value } of lines)
    if (key === 'connection')
      for (const option of value.split(',')) options.add(keyOf(option.trim()))
  return options
}

/**
 * The values of every line of that name, in order. `name` in lower case; `_` is not read as `-`
 * here.
 */
export function valuesOf(lines: readonly HeaderLine[], name: string): string[] {
  return lines.filter((line) => line.name.toLowerCase() === name).map((line) => line.value)
}

/** Back to raw pairs. */
export function toRawHeaders(lines: readonly HeaderLine[]): string[] {
  const raw: string[] = []
  for (const { name, value } of lines) raw.push(name, value)
  return raw
}

const COLON = 58

function keyOf(name: string): string {
  const lower = name.toLowerCase()
  return lower.includes('_') ? lower.replaceAll('_', '-') : lower
}

function tooLarge(why: string): Refusal {
  return new Refusal(
    failureStatus(431, 'RequestHeaderFieldsTooLarge', `mcm: the request is refused: ${why}`),
  )
}
