import { describe, expect, it } from 'vitest'
import { AccessDeniedError, UsageError } from '../../src/errors.ts'
import type { HeaderPair } from '../../src/kube/impersonation.ts'
import {
  impersonationHeaders,
  isImpersonationHeader,
  isSameUserAndGroups,
  parseImpersonation,
  requireUser,
} from '../../src/kube/impersonation.ts'

function parse(...pairs: HeaderPair[]) {
  return parseImpersonation(pairs)
}

function utf8(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

describe('parseImpersonation', () => {
  it('gives nothing when no header speaks of impersonation', () => {
    expect(parse(['Accept', '*/*'], ['X-Impersonate-User', 'bob'])).toBeUndefined()
  })

  it('keeps every group by itself, commas and all, in order', () => {
    const request = parse(
      ['Impersonate-User', 'bob'],
      ['Impersonate-Group', 'b,c'],
      ['impersonate-group', 'a'],
    )
    expect(request).toMatchObject({ user: 'bob', groups: ['b,c', 'a'] })
  })

  it('reads names as UTF-8, not as latin1', () => {
    expect(parse(['Impersonate-User', utf8('Łukasz')])?.user).toBe('Łukasz')
  })

  it('refuses a value that is no UTF-8', () => {
    const thrown = () => parse(['Impersonate-User', 'Jos\u00e9'])
    expect(thrown).toThrow(UsageError)
    expect(thrown).toThrow('header "Impersonate-User" has a value that is no UTF-8')
  })

  it('reads extra keys in lower case and percent-decoded, one value per line', () => {
    const request = parse(
      ['Impersonate-User', 'bob'],
      ['Impersonate-Extra-Example.org%2FScope', 'a'],
      ['impersonate-extra-example.org%2fscope', 'b'],
      ['Impersonate-Extra-Broken%zz', 'c'],
    )
    expect([...(request?.extras ?? [])]).toEqual([
      ['example.org/scope', ['a', 'b']],
      ['broken%zz', ['c']],
    ])
  })

  it.each([
    'Impersonate-Anything-Future',
    'Impersonate',
    'Impersonate-',
    'Impersonate_User',
    'IMPERSONATE_GROUP',
    'Impersonate-Extra_foo',
    'ImpersonateUser',
    'Impersonate-Users',
    'Impersonate-Extra-',
  ])('refuses %s, which it does not know', (name) => {
    expect(() => parse([name, 'x'])).toThrow(AccessDeniedError)
    expect(() => parse([name, 'x'])).toThrow(`header "${name}" is refused`)
  })

  it.each(['Impersonate-User', 'iMPERSONATE-uSER', 'Impersonate-Uid'])(
    'refuses a second %s, even an equal one',
    (name) => {
      const twice = () => parse([name, 'bob'], [name.toLowerCase(), 'bob'])
      expect(twice).toThrow('it was sent twice')
    },
  )

  it.each(['Impersonate-User', 'Impersonate-Group', 'Impersonate-Uid', 'Impersonate-Extra-a'])(
    'refuses an empty %s, which the API server would take for none',
    (name) => {
      expect(() => parse([name, ''])).toThrow('it is empty')
      expect(() => parse([name, ' \t'])).toThrow('it is empty')
    },
  )

  it.each([
    'system:masters',
    'System:Masters',
    'SYSTEM:node:n',
    ' system:admin',
    '\u00a0system:admin',
    'system:serviceaccount:kube-system:x',
    'system:',
    'kube:admin',
    'KUBE:x',
    'ſystem:masters',
    'ｓystem:masters',
  ])('refuses Kubernetes’ own name %j in every header', (name) => {
    for (const header of ['Impersonate-User', 'Impersonate-Group', 'Impersonate-Uid'])
      expect(() => parse([header, utf8(name)])).toThrow(AccessDeniedError)
  })

  it.each([
    'mcm.dev%2Fsession',
    'MCM.dev%2fanything',
    '%6dcm.dev/x',
    'mcm.dev/session',
    '%4Dcm.dev%2Fsession',
  ])('refuses the reserved extra %s', (key) => {
    const reserved = () => parse(['Impersonate-User', 'bob'], [`Impersonate-Extra-${key}`, 'x'])
    expect(reserved).toThrow('extras of mcm.dev are set by the agent alone')
  })

  it('never repeats a value of a refused header, which may be anything', () => {
    expect(() => parse(['Impersonate-Future', 'a-secret'])).toThrow(/^((?!a-secret).)*$/)
  })
})

describe('requireUser', () => {
  it('passes a user with groups, and a uid and extras where they were asked for', () => {
    const plain = parse(['Impersonate-User', 'bob'], ['Impersonate-Group', 'dev'])!
    expect(requireUser(plain)).toStrictEqual({ user: 'bob', groups: ['dev'] })
    const more = parse(
      ['Impersonate-User', 'bob'],
      ['Impersonate-Uid', 'u'],
      ['Impersonate-Extra-a', '1'],
    )!
    const extras = new Map([['a', ['1']]])
    expect(requireUser(more)).toStrictEqual({ user: 'bob', groups: [], uid: 'u', extras })
  })

  it.each([
    ['Impersonate-Group', 'groups were requested without impersonating a user'],
    ['Impersonate-Uid', 'a uid was requested without impersonating a user'],
    ['Impersonate-Extra-foo', 'extras were requested without impersonating a user'],
  ])('answers %s without a user as the API server does: bad request', (name, said) => {
    const request = parse([name, 'x'])!
    expect(() => requireUser(request)).toThrow(UsageError)
    expect(() => requireUser(request)).toThrow(said)
  })
})

describe('isSameUserAndGroups', () => {
  const bob = { user: 'bob', groups: ['dev', 'ops'] }

  it('holds in any order of groups', () => {
    expect(isSameUserAndGroups(bob, { user: 'bob', groups: ['ops', 'dev', 'dev'] })).toBe(true)
  })

  it.each([
    { user: 'bob', groups: ['dev'] },
    { user: 'bob', groups: ['dev', 'ops', 'admins'] },
    { user: 'bob', groups: ['dev,ops'] },
    { user: 'Bob', groups: ['dev', 'ops'] },
    { user: 'bob', groups: [] },
  ])('does not hold for %j', (other) => {
    expect(isSameUserAndGroups(bob, other)).toBe(false)
    expect(isSameUserAndGroups(other, bob)).toBe(false)
  })
})

describe('impersonationHeaders', () => {
  it('writes one user, one line per group, and extras with encoded keys', () => {
    const extras = new Map([['mcm.dev/Session', ['s 1', 's2']]])
    const headers = impersonationHeaders({ user: 'mcm:bob', groups: ['mcm:a,b', 'mcm:c'], extras })
    expect(headers).toEqual([
      ['Impersonate-User', 'mcm:bob'],
      ['Impersonate-Group', 'mcm:a,b'],
      ['Impersonate-Group', 'mcm:c'],
      ['Impersonate-Extra-mcm.dev%2Fsession', 's 1'],
      ['Impersonate-Extra-mcm.dev%2Fsession', 's2'],
    ])
  })

  it('writes the UTF-8 bytes of a name', () => {
    const [pair] = impersonationHeaders({ user: 'mcm:José', groups: [] })
    expect(pair?.[1]).toBe('mcm:Jos\u00c3\u00a9')
  })

  it('is read back as what was meant', () => {
    const extras = new Map([['a%b/ü', ['1']]])
    const meant = { user: 'mcm:Łukasz', groups: ['mcm:ü'], uid: 'u', extras }
    expect(parseImpersonation(impersonationHeaders(meant))).toMatchObject(meant)
  })

  it.each(['', ' ', ' bob', 'bob ', 'b\r\nImpersonate-User: admin', 'a\u0000b', undefined])(
    'refuses to write the user %j, because the request would run as ourselves',
    (user) => {
      const write = () => impersonationHeaders({ user: user as string, groups: [] })
      expect(write).toThrow('Impersonate-User would not arrive as it is meant')
    },
  )

  it('refuses an empty group', () => {
    expect(() => impersonationHeaders({ user: 'mcm:bob', groups: [''] })).toThrow()
  })
})

describe('isImpersonationHeader', () => {
  it('looks through case and underscores', () => {
    expect(isImpersonationHeader('IMPERSONATE_user')).toBe(true)
    expect(isImpersonationHeader('X-Impersonate-User')).toBe(false)
  })
})
