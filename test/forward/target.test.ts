import { expect, test } from 'vitest'
import { requireMethod, requireOriginForm } from '../../src/forward/target.ts'

test.each([
  '/',
  '/api/v1/namespaces/default/pods?limit=500&labelSelector=a%3Db',
  '/api/v1/pods/%2e%2e/x',
  '/api//v1',
  '/api/../v1',
  '/api;v=1/%00/%25',
  '/api/v1/namespaces/a/pods/b/exec?command=sh&command=-c&command=echo+%22x%22',
])('origin-form %s passes unchanged', (target) => {
  expect(requireOriginForm(target)).toBe(target)
})

test.each([
  undefined,
  '',
  '*',
  'api',
  'api/v1',
  '//evil.com/api',
  '//evil.com:443',
  '///x',
  '/\\evil.com/api',
  '\\\\evil/x',
  '\\/evil',
  'http://evil/api',
  'https:evil',
  'HTTPS://evil/api',
  '@evil.com/x',
  ':80@evil/',
  '.evil.com/x',
  '10.0.0.1:443',
  '?x',
  '#x',
  '/api#frag',
  '/api\\x',
  '/a b',
  '/a\tb',
  '/a\r\nX: y',
  '/a\n',
  '/a\0b',
  '/a\x7f',
  '/é',
  '/\u212a',
])('target %j is refused with 400', (target) => {
  expect(() => requireOriginForm(target)).toThrow(
    expect.objectContaining({
      status: expect.objectContaining({ code: 400 }),
      endsConnection: true,
    }),
  )
})

test.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'M-SEARCH'])(
  'method %s passes',
  (method) => {
    expect(requireMethod(method)).toBe(method)
  },
)

test.each([undefined, '', 'CONNECT', 'TRACE', 'TRACK', 'get', 'GE T', 'GET\r\n', 'A'.repeat(40)])(
  'method %j is refused',
  (method) => {
    expect(() => requireMethod(method)).toThrow(
      expect.objectContaining({ status: expect.objectContaining({ code: 400 }) }),
    )
  },
)
