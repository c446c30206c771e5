import { describe, expect, test } from 'vitest'
import { formatLink, type Link, parseLink } from '../../src/protocol/link.ts'

const PIN = 'P'.repeat(43)
const FLEET = 'F'.repeat(43)
const SECRET = 'S'.repeat(22)

const start: Link = {
  kind: 'start',
  endpoints: ['hub.example.com:8443'],
  hubPin: PIN,
  token: SECRET,
}
const join: Link = {
  kind: 'join',
  endpoints: ['hub.example.com:8443', '10.0.0.1:443', '[2001:db8::1]:8443'],
  hubPin: PIN,
  fleet: FLEET,
  secret: SECRET,
}

describe('a link', () => {
  test.each([start, join])('of kind $kind is written and read back', (link) => {
    expect(parseLink(formatLink(link))).toEqual(link)
  })

  test('has the form of the protocol page', () => {
    expect(formatLink(start)).toBe(`mcm://hub.example.com:8443/start#pin=${PIN}&token=${SECRET}`)
    expect(formatLink(join)).toMatch(/\/join#pin=P{43}&fleet=F{43}&secret=S{22}$/)
  })

  test('may have white space around it, as copied text does', () => {
    expect(parseLink(` ${formatLink(start)}\n`)).toEqual(start)
  })
})

describe('a damaged link', () => {
  const good = formatLink(join)
  test.each([
    ['nothing', ''],
    ['another scheme', good.replace('mcm:', 'https:')],
    ['no fragment', good.replace(/#.*/, '')],
    ['another kind', good.replace('/join', '/own')],
    ['no endpoint', 'mcm:///join#pin=x'],
    ['an endpoint without a port', good.replace('10.0.0.1:443', '10.0.0.1')],
    ['port 0', good.replace(':443', ':0')],
    ['a port over 65535', good.replace(':443', ':65536')],
    ['user information', good.replace('mcm://', 'mcm://evil@')],
    ['an empty endpoint', good.replace(',10', ',,10')],
    ['a short pin', good.replace(PIN, PIN.slice(1))],
    ['no fleet', good.replace(`&fleet=${FLEET}`, '')],
    ['no secret', good.replace(/&secret=.*/, '')],
    ['a short secret', good.slice(0, -1)],
    ['a secret with another alphabet', good.replace('SSS', 'S+S')],
    ['a space inside', good.replace('&secret', ' &secret')],
  ])('with %s is refused, and its secret is not repeated', (_title, text) => {
    expect(() => parseLink(text)).toThrow(
      expect.objectContaining({
        name: 'UsageError',
        code: 'MCM_BAD_LINK',
        message: expect.not.stringContaining('SSS'),
      }),
    )
  })
})
