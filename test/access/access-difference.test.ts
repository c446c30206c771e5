import { describe, expect, test } from 'vitest'
import { accessDifference, type BindingChange } from '../../src/access/access-difference.ts'
import { bindingOf } from '../../src/access/grant.ts'
import { peopleDifference } from '../../src/access/people-difference.ts'
import { ownRole, presetRole } from '../../src/access/role.ts'
import { wantedAccess } from '../../src/access/wanted-access.ts'
import type { RoleBinding } from '../../src/kube/rbac.ts'
import {
  applied,
  cluster,
  compare,
  declared,
  EMPTY,
  NOW,
  rolesOf,
  withSubject,
} from './access-fixture.ts'

const IDC = cluster('idc-k8s', { env: 'prod' })
const POD_RULES = [{ apiGroups: [''], resources: ['pods'], verbs: ['get', 'watch', 'list'] }]
const ACCESS = declared({
  users: [{ name: 'bob', nickname: 'Bob', groups: ['dev'] }, { name: 'eve' }],
  groups: [{ name: 'dev' }],
  roles: [{ name: 'pod-dev', rules: POD_RULES }],
  grants: [
    { group: 'dev', role: 'pod-dev', clusters: ['idc-k8s'], namespaces: ['product-a'] },
    { user: 'eve', role: 'ro', clusterSelector: { matchLabels: { env: 'prod' } } },
  ],
})
const summary = (difference: ReturnType<typeof compare>) =>
  difference.inCluster.map(({ kind, action }) => `${action} ${kind}`)

test('in an empty cluster roles come first, then names, then bindings; the directory is told of members', () => {
  const difference = compare(ACCESS, EMPTY, { at: IDC })
  expect(summary(difference)).toEqual([
    'add role',
    'add role',
    'change names',
    'add binding',
    'add binding',
  ])
  expect(difference.inCluster[2]).toMatchObject({
    added: { users: ['mcm:bob', 'mcm:eve'], groups: ['mcm:dev'] },
  })
  expect(difference.inDirectory).toEqual([
    { kind: 'member', action: 'add', subject: { kind: 'group', name: 'dev' } },
    { kind: 'member', action: 'add', subject: { kind: 'user', name: 'eve' } },
  ])
})

test('what was applied is as declared', () => {
  const difference = compare(ACCESS, applied(ACCESS, IDC), { at: IDC })
  expect([difference.inCluster, difference.inDirectory]).toEqual([[], []])
})

test('a cluster that no grant is for has the roles and nothing else', () => {
  const wanted = wantedAccess(ACCESS, cluster('edge'), NOW)
  expect(wanted.roles.map(({ metadata }) => metadata.name)).toEqual(['pod-dev'])
  expect([wanted.grants, wanted.members, wanted.names.users]).toEqual([[], [], []])
})

describe('what is taken away', () => {
  const before = applied(ACCESS, IDC)
  const nothing = declared({})

  test('comes first: bindings, then names, and roles when nothing refers to them any more', () => {
    const options = { at: IDC, users: ['bob', 'eve'], groups: ['dev'] }
    const difference = compare(nothing, before, options)
    expect(summary(difference)).toEqual([
      'remove binding',
      'remove binding',
      'change names',
      'remove role',
    ])
    expect(difference.inDirectory.map(({ action }) => action)).toEqual(['remove', 'remove'])
  })

  test('is never a preset, a foreign role, a foreign binding, or the agent’s own', () => {
    const agents = bindingOf({ subject: { kind: 'user', name: 'x' }, role: 'x' }, 'mcm:')
    const foreign = ownRole('foreign', POD_RULES)
    const actual = {
      ...EMPTY,
      roles: rolesOf(presetRole('dev'), {
        ...foreign,
        metadata: { ...foreign.metadata, labels: {} },
      }),
      bindings: [
        {
          ...agents,
          metadata: {
            name: 'mcm-agent',
            namespace: 'mcm-system',
            labels: { 'app.kubernetes.io/managed-by': 'mcm' },
          },
        } as RoleBinding,
      ],
    }
    expect(compare(nothing, actual).inCluster).toEqual([])
  })

  test('is not one’s own: nobody locks themselves out with a file that forgot them', () => {
    const own = bindingOf({ subject: { kind: 'user', name: 'ada' }, role: 'admin' }, 'mcm:')
    const subject = { kind: 'user', name: 'ada' } as const
    const list = { users: ['mcm:ada'], groups: [], isUnrestricted: false }
    const actual = { ...EMPTY, bindings: [own], list, members: [{ subject }] }
    const mine = compare(nothing, actual, { actor: 'ada', users: ['ada'] })
    expect([mine.inCluster, mine.inDirectory]).toEqual([[], []])
    expect(mine.kept).toEqual([{ subject, role: 'mcm:admin' }])
    const others = compare(nothing, actual, { actor: 'bob', users: ['ada'] })
    expect(summary(others)).toEqual(['remove binding', 'change names'])
  })

  test('is of a binding of several only what is one’s own: nobody keeps theirs by adding the administrator', () => {
    const bobs = bindingOf({ subject: { kind: 'user', name: 'bob' }, role: 'admin' }, 'mcm:')
    const [bob] = bobs.subjects
    const stale = { ...bobs.metadata, resourceVersion: '7' }
    const subjects = [bob!, { ...bob!, name: 'mcm:ada' }]
    const binding = { ...bobs, metadata: stale, subjects } as RoleBinding
    const mine = compare(nothing, { ...EMPTY, bindings: [binding] }, { actor: 'ada' })
    expect(mine.inCluster).toEqual([
      {
        kind: 'binding',
        action: 'change',
        object: { ...bobs, subjects: [{ ...bob!, name: 'mcm:ada' }] },
        differs: ['subjects'],
        grants: [{ subject: { kind: 'user', name: 'ada' }, role: 'mcm:admin' }],
      },
    ])
    expect(mine.kept).toEqual([{ subject: { kind: 'user', name: 'ada' }, role: 'mcm:admin' }])
  })

  test('names that the directory never told of are the agent’s to keep, and bare ones the owner’s', () => {
    const list = {
      users: ['mcm:bob', 'mcm:anna@corp.example', 'jane'],
      groups: ['mcm:dev', 'mcm:staff@corp.example', 'mcm:grant:0123456789abcdef'],
      isUnrestricted: false,
    }
    const options = { users: ['bob'], groups: ['dev'] }
    expect(compare(nothing, { ...EMPTY, list }, options).inCluster).toEqual([
      {
        kind: 'names',
        action: 'change',
        added: { users: [], groups: [] },
        removed: { users: ['mcm:bob'], groups: ['mcm:dev', 'mcm:grant:0123456789abcdef'] },
      },
    ])
  })

  test('nobody is listed who is declared and not invited, or revoked', () => {
    const list = { users: ['mcm:eve'], groups: [], isUnrestricted: false }
    const options = { at: IDC, users: ['bob', 'eve'], present: ['bob'] }
    expect(compare(ACCESS, { ...EMPTY, list }, options).inCluster).toContainEqual({
      kind: 'names',
      action: 'change',
      added: { users: ['mcm:bob'], groups: ['mcm:dev'] },
      removed: { users: ['mcm:eve'], groups: [] },
    })
  })

  test('where the owner lets the agent speak for anybody the list is left alone', () => {
    const list = { users: [], groups: [], isUnrestricted: true }
    expect(summary(compare(ACCESS, { ...EMPTY, list }, { at: IDC }))).not.toContain('change names')
  })
})

describe('drift', () => {
  const before = applied(ACCESS, IDC)
  const change = (actual: typeof before) => compare(ACCESS, actual, { at: IDC }).inCluster

  test('a binding whose subject somebody edited is put right, and said which field it is', () => {
    const bindings = before.bindings.map((each) => withSubject(each, 'mcm:mallory'))
    const changes = change({ ...before, bindings }) as BindingChange[]
    expect(changes.map(({ action, differs }) => [action, differs])).toEqual([
      ['change', ['subjects']],
      ['change', ['subjects']],
    ])
  })

  test('a binding whose role somebody changed is made anew', () => {
    const [first, ...rest] = before.bindings
    const roleRef = { ...first!.roleRef, name: 'cluster-admin' }
    const edited = { ...first!, roleRef } as RoleBinding
    expect(change({ ...before, bindings: [edited, ...rest] })).toMatchObject([
      { action: 'change', differs: ['roleRef'] },
    ])
  })

  test('a role with one verb more, a preset too, is put right; the order of verbs means nothing', () => {
    const wider = [{ ...POD_RULES[0]!, verbs: ['get', 'watch', 'list', 'delete'] }]
    const turned = [{ ...POD_RULES[0]!, verbs: ['list', 'get', 'watch'] }]
    const roles = (pods: typeof wider) => rolesOf(ownRole('pod-dev', pods), presetRole('ro'))
    expect(change({ ...before, roles: roles(wider) })).toMatchObject([{ differs: ['rules'] }])
    expect(change({ ...before, roles: roles(turned) })).toEqual([])
    const preset = { ...presetRole('ro'), rules: wider }
    const edited = rolesOf(ownRole('pod-dev', POD_RULES), preset)
    expect(change({ ...before, roles: edited })).toMatchObject([{ differs: ['rules'] }])
  })

  test('members in another order than ours are no difference', () => {
    const bindings = before.bindings.map((binding) => {
      const [subject] = binding.subjects
      const turned = Object.fromEntries(Object.entries(subject!).reverse())
      return { ...binding, subjects: [turned] } as unknown as RoleBinding
    })
    expect(change({ ...before, bindings })).toEqual([])
  })
})

describe('a role that cannot be used', () => {
  test('of somebody else by that name is not touched, and nobody is bound to it', () => {
    const theirs = { ...ownRole('pod-dev', []), metadata: { name: 'pod-dev' } }
    const difference = compare(ACCESS, { ...EMPTY, roles: rolesOf(theirs) }, { at: IDC })
    expect(difference.problems).toEqual(['ClusterRole pod-dev is there, and not mcm’s'])
    expect(difference.refused).toHaveLength(1)
    expect(summary(difference)).toEqual(['add role', 'change names', 'add binding'])
  })

  test('that is not there is said; a binding to it that is there stays as it is', () => {
    const access = declared({
      users: [{ name: 'bob' }],
      grants: [{ user: 'bob', role: 'elsewhere', clusters: ['idc-k8s'] }],
    })
    const actual = { ...applied(access, IDC), roles: new Map() }
    const difference = compare(access, actual, { at: IDC })
    expect(difference.problems).toEqual(['there is no ClusterRole elsewhere'])
    expect([difference.inCluster, difference.inDirectory]).toEqual([[], []])
  })
})

describe('a grant that ends', () => {
  const timed = (expires?: string) =>
    declared({
      users: [{ name: 'bob' }],
      grants: [{ user: 'bob', role: 'ops', clusters: ['idc-k8s'], ...(expires && { expires }) }],
    })
  const LATER = '2026-06-01T20:00:00Z'

  test('is bound to its timed group; the directory says who is in it until when', () => {
    const wanted = wantedAccess(timed(LATER), IDC, NOW)
    const group = wanted.timedGrants[0]!.group
    expect(group).toMatch(/^grant:[0-9a-f]{16}$/)
    expect(wanted.grants[0]!.binding.subjects).toMatchObject([
      { kind: 'Group', name: `mcm:${group}` },
    ])
    expect(wanted.names).toEqual({ users: ['mcm:bob'], groups: [`mcm:${group}`] })
    expect(wanted.members).toEqual([
      { subject: { kind: 'user', name: 'bob' }, expires: new Date(LATER) },
    ])
  })

  test('that is over is not declared', () => {
    expect(wantedAccess(timed('2026-06-01T12:00:00Z'), IDC, NOW).grants).toEqual([])
  })

  test('without an end from now on is the same binding to the user, and a membership without an end', () => {
    const difference = compare(timed(), applied(timed(LATER), IDC), { at: IDC })
    expect(difference.inCluster).toMatchObject([
      { kind: 'names', removed: { groups: [expect.stringMatching(/^mcm:grant:/)] } },
      { kind: 'binding', action: 'change' },
    ])
    expect(difference.inDirectory).toMatchObject([
      { kind: 'member', action: 'change', before: new Date(LATER) },
      { kind: 'timed grant', action: 'remove' },
    ])
  })

  test('twice with different ends is no declaration', () => {
    const same = { user: 'bob', role: 'ops', clusters: ['idc-k8s'] }
    const access = declared({
      users: [{ name: 'bob' }],
      grants: [same, { ...same, expires: LATER }],
    })
    expect(() => wantedAccess(access, IDC, NOW)).toThrow('end at different times')
  })
})

describe('people', () => {
  const known = [
    { name: 'ada', groups: ['admins'] },
    { name: 'bob', groups: ['ops'] },
    { name: 'carol', groups: ['ops'] },
  ]

  test('come into the groups declared and out of the others; whoever is not declared is in none', () => {
    const { changes, unknown, undeclared } = peopleDifference(ACCESS, known, 'ada')
    expect(changes).toEqual([
      {
        user: 'bob',
        groups: ['dev'],
        nickname: 'Bob',
        added: ['dev'],
        removed: ['ops'],
        isRenamed: true,
      },
      { user: 'carol', groups: [], added: [], removed: ['ops'], isRenamed: false },
    ])
    expect([unknown, undeclared]).toEqual([['eve'], ['carol']])
  })
})

test('1 000 users over 50 clusters are compared within ten seconds; number printed', () => {
  const users = Array.from({ length: 1_000 }, (_, index) => ({
    name: `user-${index}`,
    groups: [`team-${index % 40}`],
  }))
  const groups = Array.from({ length: 40 }, (_, index) => ({ name: `team-${index}` }))
  const access = declared({
    users,
    groups,
    grants: [
      ...users.map(({ name }) => ({
        user: name,
        role: 'ns-dev',
        clusterSelector: { matchLabels: {} },
        namespaces: ['test'],
      })),
      ...groups.map(({ name }) => ({
        group: name,
        role: 'ro',
        clusterSelector: { matchLabels: {} },
      })),
    ],
  })
  const clusters = Array.from({ length: 50 }, (_, index) => cluster(`c${index}`))
  const known = { users: new Set(users.map(({ name }) => name)), groups: new Set<string>() }
  const context = { prefix: 'mcm:', actor: 'ada', known, present: known.users }
  const actual = applied(access, clusters[0]!)
  const drifted = { ...actual, bindings: actual.bindings.slice(1) }
  // Of this thread: how busy the machine is besides says nothing.
  const started = process.cpuUsage()
  const changes = clusters.map((at, index) => {
    const wanted = wantedAccess(access, at, NOW)
    return accessDifference(wanted, index % 2 === 0 ? actual : drifted, context).inCluster.length
  })
  const { user, system } = process.cpuUsage(started)
  const ms = Math.round((user + system) / 1_000)
  console.log(`${users.length} users over ${clusters.length} clusters: compared in ${ms} ms of CPU`)
  expect(ms).toBeLessThan(10_000)
  expect(changes.reduce((sum, count) => sum + count, 0)).toBe(25)
})
