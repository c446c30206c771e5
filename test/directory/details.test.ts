import { describe, expect, test } from 'vitest'
import { type Detail, detailText, parseDetail } from '../../src/directory/details.ts'
import { generateSigningKey } from '../../src/directory/signing-key.ts'
import { CLUSTER, p256 } from './fleet.ts'

const jwk = p256(generateSigningKey())
const key = 'A'.repeat(43)

const good = {
  fleet: { fleetKey: jwk, user: 'alice', device: { key: jwk, name: 'Łukasz’s laptop' } },
  admin: { action: 'add', user: 'bob', key },
  hub: {
    endpoints: ['hub.example.com:8443', '[::1]:443'],
    privateEndpoints: [],
    certificate: 'AAAA',
  },
  cluster: {
    id: CLUSTER,
    name: 'idc-k8s',
    labels: { env: 'prod', 'example.com/zone': '' },
    serverCa: 'AAAA',
    userCa: 'AAAA',
    agentKey: key,
    issuer: 'agent',
    prefix: 'mcm:',
  },
  invite: { user: 'bob', groups: ['dev'], expires: '2026-01-02T03:04:05Z', bot: false },
  member: { action: 'add', subject: { kind: 'group', name: 'dev' }, cluster: CLUSTER },
  device: { user: 'bob', name: 'phone', key: jwk },
  revoke: { user: 'bob', reason: 'left the company' },
  groups: { user: 'bob', groups: ['dev', 'on-call'] },
  grant: {
    subject: { kind: 'user', name: 'bob' },
    cluster: CLUSTER,
    group: 'grant:0123456789abcdef',
    expires: '2026-01-02T03:04:05Z',
  },
} as const

type Type = keyof typeof good

function detailOf(type: Type, change: object = {}): Detail {
  return { type, detail: { ...good[type], ...change } } as Detail
}

function parsed(type: Type, change: object): Detail | undefined {
  return parseDetail(type, JSON.stringify({ ...good[type], ...change }))
}

test.each(Object.keys(good) as Type[])('a %s is written and read back', (type) => {
  const text = detailText(detailOf(type))
  expect(parseDetail(type, text)).toEqual(detailOf(type))
})

test('members are written in their order, whatever order they came in', () => {
  const { user, groups, expires, bot } = good.invite
  const text = detailText({ type: 'invite', detail: { bot, expires, groups: [...groups], user } })
  expect(text).toBe('{"user":"bob","groups":["dev"],"expires":"2026-01-02T03:04:05Z","bot":false}')
})

describe('a text with a second reading is none', () => {
  const text = detailText(detailOf('invite'))

  test.each([
    ['white space', text.replace(':', ': ')],
    ['a member twice', text.replace('{', '{"user":"eve",')],
    ['a member more', text.replace(/\}$/, ',"admin":true}')],
    ['__proto__', text.replace(/\}$/, ',"__proto__":{"bot":true}}')],
    ['another order', text.replace('"user":"bob",', '').replace(/\}$/, ',"user":"bob"}')],
    ['an escape', text.replace('bob', '\\u0062ob')],
    ['a byte-order mark', `\ufeff${text}`],
    ['something after it', `${text} `],
    ['a list', `[${text}]`],
    ['nothing', ''],
  ])('%s', (_title, other) => {
    expect(parseDetail('invite', text)).toBeDefined()
    expect(parseDetail('invite', other)).toBeUndefined()
  })

  test('__proto__ among labels', () => {
    const cluster = detailText(detailOf('cluster'))
    expect(parseDetail('cluster', cluster.replace('"env"', '"__proto__"'))).toBeUndefined()
  })

  test('a detail of another type', () => {
    expect(parseDetail('member', text)).toBeUndefined()
  })
})

test('a direct address is the last member of a cluster, and one without it reads as before there were any', () => {
  const direct = { sessions: 'idc.example.com:9443', enrolment: '[fd00::1]:9444' }
  const [without, withOne] = [{}, { direct }].map((more) => detailText(detailOf('cluster', more)))
  expect(without).not.toContain('direct')
  expect(withOne).toBe(without!.replace(/\}$/, `,"direct":${JSON.stringify(direct)}}`))
  expect(parseDetail('cluster', withOne!)?.detail).toMatchObject({ direct })
  expect(parseDetail('cluster', without!)?.detail).not.toHaveProperty('direct')
})

describe('a member with a value that is none', () => {
  test.each<[string, Type, object]>([
    ['a user of Kubernetes’ own', 'invite', { user: 'system:admin' }],
    ['a user with a newline', 'device', { user: 'bob\nO=system:masters' }],
    ['a group of Kubernetes’ own', 'invite', { groups: ['system:masters'] }],
    ['an empty group', 'invite', { groups: [''] }],
    ['more groups than a certificate should hold', 'invite', { groups: Array(513).fill('g') }],
    ['a timed group that is an ordinary one', 'grant', { group: 'dev' }],
    ['a timed group of Kubernetes’ own', 'grant', { group: 'system:masters' }],
    ['a timed group with more digits', 'grant', { group: 'grant:0123456789abcdef0' }],
    ['a timed group in capitals', 'grant', { group: 'grant:0123456789ABCDEF' }],
    ['a grant without an end', 'grant', { expires: undefined }],
    ['a membership that ends never', 'member', { expires: 'never' }],
    ['groups with a reserved name', 'groups', { groups: ['kube:x'] }],
    ['groups that are a timed one', 'groups', { groups: ['grant:0123456789abcdef'] }],
    ['a nickname of two lines', 'groups', { nickname: 'a\nb' }],
    ['a time with a zone', 'invite', { expires: '2026-01-02T03:04:05+01:00' }],
    ['a time that does not exist', 'invite', { expires: '2026-02-30T00:00:00Z' }],
    ['no bot', 'invite', { bot: undefined }],
    ['bot as text', 'invite', { bot: 'false' }],
    ['a life of a person’s certificates', 'invite', { lifetime: 86_400 }],
    ['a life of a bot that is no whole number', 'invite', { bot: true, lifetime: 86_400.5 }],
    ['a life of a bot beyond 90 days', 'invite', { bot: true, lifetime: 7_776_001 }],
    ['a life of a bot below ten minutes', 'invite', { bot: true, lifetime: 599 }],
    ['an action that is none', 'admin', { action: 'own' }],
    ['a key id of 42 characters', 'admin', { key: key.slice(1) }],
    ['a subject of another kind', 'member', { subject: { kind: 'role', name: 'x' } }],
    ['a cluster id that is none', 'member', { cluster: 'c-1' }],
    ['a cluster name in capitals', 'cluster', { name: 'IDC' }],
    ['a prefix of Kubernetes’ own', 'cluster', { prefix: 'system:' }],
    ['a prefix of kube', 'cluster', { prefix: 'kube:' }],
    ['no prefix', 'cluster', { prefix: '' }],
    ['a prefix without its colon', 'cluster', { prefix: 'mcm' }],
    ['a prefix of two parts', 'cluster', { prefix: 'system:x:' }],
    ['a label that is none', 'cluster', { labels: { 'a b': 'c' } }],
    ['another issuer', 'cluster', { issuer: 'hub' }],
    ['a direct address without a port', 'cluster', { direct: { sessions: 'h', enrolment: 'h:2' } }],
    ['half a direct address', 'cluster', { direct: { sessions: 'h:1' } }],
    ['a direct address of null', 'cluster', { direct: null }],
    ['base64 that is url-safe', 'cluster', { userCa: '-_-_' }],
    ['base64 with spaces', 'hub', { certificate: 'AA AA' }],
    ['no certificate', 'hub', { certificate: '' }],
    ['no endpoint at all', 'hub', { endpoints: [] }],
    ['an endpoint without a port', 'hub', { endpoints: ['hub.example.com'] }],
    ['an endpoint with a port that is none', 'hub', { endpoints: ['h:65536'] }],
    ['an endpoint with a path', 'hub', { endpoints: ['h:1/x'] }],
    ['a device name that moves the cursor', 'device', { name: 'a\u001b[2J' }],
    ['a device name that turns the direction', 'device', { name: 'a\u202eb' }],
    ['an endless device name', 'device', { name: 'x'.repeat(129) }],
    ['a key with a private member', 'device', { key: { ...jwk, d: 'x' } }],
    ['an Ed25519 device key', 'device', { key: { crv: 'Ed25519', kty: 'OKP', x: jwk.x } }],
    ['two revocations in one', 'revoke', { device: key }],
    ['a revocation of nothing', 'revoke', { user: undefined }],
  ])('%s', (_title, type, change) => {
    expect(parsed(type, {})).toBeDefined()
    expect(parsed(type, change)).toBeUndefined()
    expect(() => detailText(detailOf(type, change))).toThrow(
      expect.objectContaining({ name: 'UsageError', code: 'MCM_BAD_REQUEST' }),
    )
  })
})
