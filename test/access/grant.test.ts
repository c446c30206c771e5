import { describe, expect, it } from 'vitest'
import type { Grant } from '../../src/access/grant.ts'
import {
  bindingOf,
  bindingPath,
  grantKey,
  grantsOf,
  isManagedBinding,
  namesForGrant,
  requireGrant,
} from '../../src/access/grant.ts'
import type { RoleBinding } from '../../src/kube/rbac.ts'

const BOB: Grant = {
  subject: { kind: 'user', name: 'bob' },
  role: 'mcm:ns-dev',
  namespace: 'test',
}
const DEV_GROUP: Grant = { subject: { kind: 'group', name: 'dev' }, role: 'mcm:dev' }

describe('bindingOf', () => {
  it('a grant in a namespace is a RoleBinding with labels, annotations and the prefixed subject', () => {
    expect(bindingOf(BOB, 'mcm:', 'Bob Example')).toEqual({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: {
        name: expect.stringMatching(/^mcm-user-bob-[0-9a-f]{12}$/),
        namespace: 'test',
        labels: { 'app.kubernetes.io/managed-by': 'mcm', 'mcm.dev/principal': 'bob' },
        annotations: {
          'mcm.dev/grant': '{"user":"bob","role":"mcm:ns-dev","namespace":"test"}',
          'mcm.dev/nickname': 'Bob Example',
        },
      },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'mcm:ns-dev' },
      subjects: [{ kind: 'User', name: 'mcm:bob', apiGroup: 'rbac.authorization.k8s.io' }],
    })
  })

  it('a grant for all namespaces is a ClusterRoleBinding', () => {
    const binding = bindingOf(DEV_GROUP, 'corp:')
    expect(binding.kind).toBe('ClusterRoleBinding')
    expect(binding.metadata.namespace).toBeUndefined()
    expect(binding.subjects[0]).toMatchObject({ kind: 'Group', name: 'corp:dev' })
  })

  it('the same grant has the same name, whichever way the role is written', () => {
    expect(bindingOf({ ...BOB, role: 'ns-dev' }, 'mcm:')).toEqual(bindingOf(BOB, 'mcm:'))
  })

  it('different grants have different names', () => {
    const others: Grant[] = [
      { ...BOB, namespace: 'prod' },
      { ...BOB, role: 'ns-ro' },
      { ...BOB, subject: { kind: 'group', name: 'bob' } },
      { ...BOB, subject: { kind: 'user', name: 'Bob' } },
      { ...BOB, subject: { kind: 'user', name: 'bob_' } },
    ]
    const names = [BOB, ...others].map((grant) => bindingOf(grant, 'mcm:').metadata.name)
    names.push(bindingOf(BOB, 'corp:').metadata.name)
    expect(new Set(names).size).toBe(7)
  })

  it('a name that cannot be a label is found by its hash, and the object’s name stays plain', () => {
    const grant = { ...BOB, subject: { kind: 'user', name: 'Łukasz@example.org' } } as const
    const { labels, name } = bindingOf(grant, 'mcm:').metadata
    expect(labels?.['mcm.dev/principal']).toMatch(/^sha256\.[0-9a-f]{40}$/)
    expect(name).toMatch(/^mcm-user-ukasz-example-org-[0-9a-f]{12}$/)
  })

  it('a name that looks like such a hash does not stand for another', () => {
    const hashed = bindingOf({ ...BOB, subject: { kind: 'user', name: 'a@b' } }, 'mcm:').metadata
      .labels!['mcm.dev/principal']!
    const impostor = bindingOf({ ...BOB, subject: { kind: 'user', name: hashed } }, 'mcm:')
    expect(impostor.metadata.labels!['mcm.dev/principal']).not.toBe(hashed)
  })

  it('its path is where the API server keeps it', () => {
    const binding = bindingOf(BOB, 'mcm:')
    expect(bindingPath(binding)).toBe(
      `/apis/rbac.authorization.k8s.io/v1/namespaces/test/rolebindings/${binding.metadata.name}`,
    )
    expect(bindingPath(bindingOf(DEV_GROUP, 'mcm:'))).toContain('/v1/clusterrolebindings/mcm-group')
  })

  it.each([
    ['victim?', 'victim%3F'],
    ['?a=b', '%3Fa%3Db'],
    ['a#b c', 'a%23b%20c'],
    ['ü', '%C3%BC'],
  ])('its path names it and nothing else, though somebody called it %j', (name, encoded) => {
    const binding = bindingOf(BOB, 'mcm:')
    const named = { ...binding, metadata: { ...binding.metadata, name } } as RoleBinding
    expect(bindingPath(named).endsWith(`/rolebindings/${encoded}`)).toBe(true)
    const wide = { ...named, kind: 'ClusterRoleBinding' as const }
    expect(bindingPath(wide).endsWith(`/clusterrolebindings/${encoded}`)).toBe(true)
  })
})

describe('requireGrant', () => {
  it('refuses a preset for one namespace in all of them', () => {
    const { namespace: _, ...everywhere } = BOB
    expect(() => requireGrant(everywhere)).toThrow('role mcm:ns-dev is for one namespace')
  })

  it.each(['system:masters', 'a:b', '', 'bob '])('refuses the name %j', (name) => {
    expect(() => requireGrant({ ...BOB, subject: { kind: 'group', name } })).toThrow(
      'cannot be used',
    )
  })

  it.each(['', 'A', 'a/b', '../x', 'a.b'])('refuses the namespace %j', (namespace) => {
    expect(() => requireGrant({ ...BOB, namespace })).toThrow('cannot exist')
  })
})

describe('grantsOf', () => {
  it('reads back what was written', () => {
    expect(grantsOf(bindingOf(BOB, 'mcm:'), 'mcm:')).toEqual([BOB])
    expect(grantsOf(bindingOf(DEV_GROUP, 'mcm:'), 'mcm:')).toEqual([DEV_GROUP])
  })

  it('believes subjects and roleRef, not the annotation of a binding that was edited', () => {
    const edited = bindingOf(BOB, 'mcm:') as RoleBinding
    const binding: RoleBinding = {
      ...edited,
      roleRef: { ...edited.roleRef, name: 'cluster-admin' },
      subjects: [
        { kind: 'Group', name: 'mcm:dev', apiGroup: 'rbac.authorization.k8s.io' },
        { kind: 'User', name: 'someone-else', apiGroup: 'rbac.authorization.k8s.io' },
        { kind: 'ServiceAccount', name: 'mcm:x', namespace: 'test' },
      ],
    }
    expect(grantsOf(binding, 'mcm:')).toEqual([
      { subject: { kind: 'group', name: 'dev' }, role: 'cluster-admin', namespace: 'test' },
    ])
  })

  it('a binding without subjects grants nothing', () => {
    const { subjects: _, ...bare } = bindingOf(BOB, 'mcm:') as RoleBinding
    expect(grantsOf(bare as RoleBinding, 'mcm:')).toEqual([])
  })

  it('only a labelled binding is ours to change', () => {
    const binding = bindingOf(BOB, 'mcm:')
    const { labels: _, ...metadata } = binding.metadata
    expect(isManagedBinding(binding)).toBe(true)
    expect(isManagedBinding({ ...binding, metadata } as RoleBinding)).toBe(false)
  })
})

describe('what a grant needs of the impersonator', () => {
  it('a user’s name', () => {
    expect(namesForGrant(BOB, 'mcm:', ['x'])).toEqual({ users: ['mcm:bob'], groups: [] })
  })

  it('a group’s name and the names of its people', () => {
    expect(namesForGrant(DEV_GROUP, 'mcm:', ['bob', 'eve'])).toEqual({
      users: ['mcm:bob', 'mcm:eve'],
      groups: ['mcm:dev'],
    })
  })

  it('equal grants have equal keys', () => {
    expect(grantKey({ ...BOB, role: 'ns-dev' })).toBe(grantKey(BOB))
    expect(grantKey(BOB)).not.toBe(grantKey({ ...BOB, namespace: 'null' }))
  })
})
