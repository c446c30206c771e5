import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { accessJsonSchema, readAccess } from '../../src/access/access-file.ts'

const HEAD = { apiVersion: 'mcm.dev/v1alpha1', kind: 'Access' }
const BOB = { users: [{ name: 'bob' }] }

function problems(parts: object): string[] {
  const read = readAccess({ ...HEAD, ...parts })
  return (read.problems ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`)
}

const grant = (parts: object) => problems({ ...BOB, grants: [parts] })

test('a declaration with everything in it is read as it stands', () => {
  const declared = {
    ...HEAD,
    users: [{ name: 'bob', nickname: 'Bob the Builder', groups: ['dev'] }],
    groups: [{ name: 'dev', description: 'who builds' }],
    bots: [{ name: 'ci' }],
    roles: [
      {
        name: 'pod-dev',
        rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get', 'watch', 'list'] }],
      },
    ],
    grants: [
      { user: 'bob', role: 'ns-dev', clusters: ['idc-k8s'], namespaces: ['test'] },
      { group: 'dev', role: 'pod-dev', clusterSelector: { matchLabels: { env: 'prod' } } },
      { bot: 'ci', role: 'cluster-admin', clusters: ['ack'], expires: '2030-01-31T18:00:00Z' },
    ],
  }
  expect(readAccess(declared)).toEqual({ access: declared })
})

test('nothing but the head declares nothing', () => {
  expect(readAccess(HEAD).access).toMatchObject({ users: [], groups: [], bots: [], grants: [] })
})

test.each([null, [], 'text', {}, { ...HEAD, apiVersion: 'v1' }, { ...HEAD, kind: 'List' }])(
  'what is no declaration is refused: %j',
  (value) => {
    expect(readAccess(value).problems?.length).toBeGreaterThan(0)
  },
)

describe('names', () => {
  test.each(['bob', 'Łukasz', '王小明', 'محمد', 'Зоя', 'ひろし', 'é', 'a.b_c-d+e@f', '7', '𝒜'])(
    '%j is a name in its script',
    (name) => expect(problems({ users: [{ name }] })).toEqual([]),
  )

  test.each([
    '',
    ' bob',
    'bob ',
    'a b',
    'system:masters',
    'kube:x',
    'a:b',
    'grant:0123456789abcdef',
    '.hidden',
    '-x',
    'a/b',
    'a\nb',
    'a\u202eb',
    'a\u200bb',
    'a\u00adb',
    'e\u0301',
    'x'.repeat(254),
    'é'.repeat(127),
    7,
    null,
  ])('%j is refused as user, group, bot, and in a grant', (name) => {
    expect(problems({ users: [{ name }] })).toEqual([expect.stringMatching(/^users\.0\.name: /)])
    expect(problems({ groups: [{ name }] })[0]).toMatch(/^groups\.0\.name: /)
    expect(problems({ bots: [{ name }] })[0]).toMatch(/^bots\.0\.name: /)
    expect(grant({ user: name, role: 'ro', clusters: ['c'] })[0]).toMatch(/^grants\.0\.user: /)
  })

  test.each(['admin', 'ns-dev', 'mcm:x', 'mcm:dev', 'system:x', 'kube:x', '', '../x', 'a b', '-x'])(
    '%j is no name for a role of one’s own',
    (name) => {
      const rules = [{ nonResourceURLs: ['/x'], verbs: ['get'] }]
      expect(problems({ roles: [{ name, rules }] })[0]).toMatch(/^roles\.0\.name: /)
    },
  )

  test('500 groups of one user are as good as one', () => {
    const groups = Array.from({ length: 500 }, (_, index) => ({ name: `g${index}` }))
    const users = [{ name: 'bob', groups: groups.map(({ name }) => name) }]
    expect(problems({ users, groups })).toEqual([])
  })

  test('a nickname with a newline or a direction is refused', () => {
    for (const nickname of ['a\nb', 'a\u202eb'])
      expect(problems({ users: [{ name: 'bob', nickname }] })).toHaveLength(1)
  })
})

describe('what must fit together', () => {
  test('everybody and everything is declared once; a bot is no user', () => {
    const twice = { users: [{ name: 'x' }, { name: 'x' }], groups: [{ name: 'g' }, { name: 'g' }] }
    expect(problems({ ...twice, bots: [{ name: 'x' }] })).toEqual([
      'users.1.name: "x" is declared before',
      'bots.0.name: "x" is declared before',
      'groups.1.name: "g" is declared before',
    ])
  })

  test('a group, user or bot that nobody declares is a typing error', () => {
    expect(problems({ users: [{ name: 'bob', groups: ['dve'] }] })).toEqual([
      'users.0.groups.0: groups do not declare "dve"',
    ])
    expect(grant({ user: 'bbo', role: 'ro', clusters: ['c'] })).toEqual([
      'grants.0.user: users do not declare "bbo"',
    ])
    expect(grant({ bot: 'bob', role: 'ro', clusters: ['c'] })).toEqual([
      'grants.0.bot: bots do not declare "bob"',
    ])
  })

  test.each([
    [{ role: 'ro', clusters: ['c'] }, 'one user, one group or one bot'],
    [{ user: 'bob', bot: 'bob', role: 'ro', clusters: ['c'] }, 'bots do not declare'],
    [{ user: 'bob', role: 'ro' }, 'names clusters or has a clusterSelector'],
    [
      { user: 'bob', role: 'ro', clusters: ['c'], clusterSelector: { matchLabels: {} } },
      'names clusters or has a clusterSelector',
    ],
    [{ user: 'bob', role: 'ro', clusters: [] }, 'clusters'],
    [{ user: 'bob', role: 'ns-dev', clusters: ['c'] }, 'is for namespaces'],
    [{ user: 'bob', role: 'ns-dev', clusters: ['c'], namespaces: [] }, 'namespaces'],
    [{ user: 'bob', role: 'ro', clusters: ['c'], namespaces: ['A'] }, 'no namespace can be'],
    [{ user: 'bob', role: 'mcm:wrong', clusters: ['c'] }, 'cannot be a role'],
    [{ user: 'bob', role: '../x', clusters: ['c'] }, 'cannot be a role'],
    [{ user: 'bob', role: 'ro', clusters: ['c'], expires: 'tomorrow' }, 'a time in UTC'],
    [{ user: 'bob', role: 'ro', clusters: ['c'], expires: '2030-01-01T00:00:00+01:00' }, 'UTC'],
    [{ user: 'bob', role: 'ro', clusters: ['c'], namespace: 'test' }, 'there is no namespace'],
  ])('a grant as %j is refused', (parts, message) => {
    expect(grant(parts).join()).toContain(message)
  })

  test('a rule is about resources of API groups or about URLs', () => {
    const rules = [{ resources: ['pods'], verbs: ['get'] }]
    expect(problems({ roles: [{ name: 'x', rules }] })[0]).toContain('apiGroups and resources')
  })

  test('everything that is wrong is told at once', () => {
    const wrong = { user: 'nobody', role: 'ns-dev', clusters: ['c'] }
    expect(grant(wrong)).toHaveLength(2)
  })
})

test('the published JSON Schema is that of this code', () => {
  const path = new URL('../../docs/access.schema.json', import.meta.url)
  expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(accessJsonSchema())
})
