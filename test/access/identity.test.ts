import { expect, it } from 'vitest'
import {
  bareName,
  impersonationOf,
  prefixedName,
  requirePrefix,
} from '../../src/access/identity.ts'

const BOB = { user: 'bob', groups: ['dev', 'ops'], device: 'd', fingerprint: 'f' }

it('a certificate’s bare names are impersonated behind the prefix', () => {
  const listed = new Set(['mcm:dev', 'mcm:ops'])
  const seen = impersonationOf(BOB, 'mcm:', listed, 'session-1')
  expect(seen).toEqual({
    user: 'mcm:bob',
    groups: ['mcm:dev', 'mcm:ops'],
    extras: new Map([['mcm.dev/session', ['session-1']]]),
  })
})

it('a group that the impersonator does not list is left out, and a bare one in the list counts for nothing', () => {
  const listed = new Set(['mcm:ops', 'dev'])
  expect(impersonationOf(BOB, 'mcm:', listed).groups).toEqual(['mcm:ops'])
})

it('without a session no extra is sent', () => {
  expect(impersonationOf(BOB, 'mcm:', new Set()).extras).toEqual(new Map())
})

it.each(['', ' ', 'system:admin', 'mcm:bob', 'bob ', 'a\nb', 'a\u0000', 'bob\u202e', undefined])(
  'the name %j, which no certificate of ours holds, fails closed',
  (user) => {
    const identity = { ...BOB, user: user as string }
    expect(() => impersonationOf(identity, 'mcm:', new Set())).toThrow('cannot be impersonated')
    const inGroup = { ...BOB, groups: [user as string] }
    expect(() => impersonationOf(inGroup, 'mcm:', new Set())).toThrow('cannot be impersonated')
  },
)

it.each(['', 'system:', 'System:', 'kube:', 'mcm', 'a b:', ':', '-:', 'x'.repeat(80)])(
  'the prefix %j cannot be chosen',
  (prefix) => {
    expect(() => requirePrefix(prefix)).toThrow(`prefix ${JSON.stringify(prefix)} cannot be used`)
    expect(() => prefixedName('bob', prefix)).toThrow()
  },
)

it('another prefix may be chosen, and is taken off again', () => {
  expect(bareName(prefixedName('Łukasz@example.org', 'corp:'), 'corp:')).toBe('Łukasz@example.org')
  expect(bareName('mcm:bob', 'corp:')).toBeUndefined()
  expect(bareName('mcm:system:admin', 'mcm:')).toBeUndefined()
})

it('a timed group is behind the prefix, and left out like any other that is not listed', () => {
  const timedGroups = ['grant:0123456789abcdef', 'grant:fedcba9876543210']
  const allowed = new Set(['mcm:ops', 'mcm:grant:0123456789abcdef'])
  const seen = impersonationOf({ ...BOB, timedGroups }, 'mcm:', allowed)
  expect(seen.groups).toEqual(['mcm:ops', 'mcm:grant:0123456789abcdef'])
  expect(() =>
    impersonationOf({ ...BOB, timedGroups: ['system:masters'] }, 'mcm:', allowed),
  ).toThrow('is no timed group')
})
