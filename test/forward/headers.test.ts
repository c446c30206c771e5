import { expect, test } from 'vitest'
import {
  connectionOptions,
  readHeaderLines,
  toRawHeaders,
  valuesOf,
  withoutHopByHop,
} from '../../src/forward/headers.ts'

test('order, spelling and duplicates survive', () => {
  const raw = ['X-Stream-Protocol-Version', 'v5', 'x-stream-protocol-version', 'v4', 'A', '1']
  expect(toRawHeaders(readHeaderLines(raw))).toEqual(raw)
  expect(valuesOf(readHeaderLines(raw), 'x-stream-protocol-version')).toEqual(['v5', 'v4'])
})

test('underscores are read as hyphens for deny lists only', () => {
  const [line] = readHeaderLines(['Impersonate_USER', 'x'])
  expect(line).toEqual({ name: 'Impersonate_USER', key: 'impersonate-user', value: 'x' })
  expect(valuesOf([line!], 'impersonate-user')).toEqual([])
})

test('names of object members are names like any other', () => {
  const raw = ['__proto__', 'x', 'constructor', 'y', 'toString', 'z', 'hasOwnProperty', 'w']
  expect(toRawHeaders(withoutHopByHop(readHeaderLines(raw)))).toEqual(raw)
  expect(({} as Record<string, unknown>)['x']).toBeUndefined()
})

test('pseudo-headers of HTTP/2 are left out', () => {
  expect(readHeaderLines([':method', 'GET', ':path', '/', 'a', 'b'])).toHaveLength(1)
})

test('hop-by-hop lines and those that Connection names are removed, in any spelling', () => {
  const lines = readHeaderLines([
    'Connection',
    'close, X-Gone ,x_also-gone',
    'connection',
    'Impersonate-User',
    'X-GONE',
    '1',
    'x-also_gone',
    '2',
    'Impersonate-User',
    'admin',
    'Keep-Alive',
    '5',
    'Proxy-Connection',
    'x',
    'TE',
    'trailers',
    'Trailer',
    'Impersonate-User',
    'Transfer-Encoding',
    'chunked',
    'Upgrade',
    'h2c',
    'HTTP2-Settings',
    'AAA',
    'Proxy-Authenticate',
    'x',
    'Proxy-Authorization',
    'x',
    'Keep_Alive',
    'x',
    'Accept',
    'kept',
  ])
  expect(toRawHeaders(withoutHopByHop(lines))).toEqual(['Accept', 'kept'])
  expect(connectionOptions(lines)).toEqual(
    new Set(['close', 'x-gone', 'x-also-gone', 'impersonate-user']),
  )
})

test('a hundred lines are read, one more is 431', () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => [`a${i}`, 'x']).flat()
  expect(readHeaderLines(many(100))).toHaveLength(100)
  expect(() => readHeaderLines(many(101))).toThrow(
    expect.objectContaining({ status: expect.objectContaining({ code: 431, kind: 'Status' }) }),
  )
})

test('a line of 20 KB is 431', () => {
  expect(() => readHeaderLines(['a', 'x'.repeat(20_000)])).toThrow(/431|longer/)
})
