import { expect, test } from 'vitest'
import { bindingOf, grantsOf } from '../../src/access/grant.ts'
import { bareTimedGroup, timedGroupName, timedGroupOf } from '../../src/access/timed-group.ts'
import type { RoleBinding } from '../../src/kube/rbac.ts'
import { isPrincipalName } from '../../src/protocol/names.ts'

const BOB = {
  subject: { kind: 'user', name: 'bob' },
  role: 'mcm:ns-dev',
  namespace: 'test',
} as const
const EXPIRES = new Date('2030-01-31T18:00:00Z')

test('is the hash that the protocol says, another for every other grant, and the same whenever it ends', () => {
  expect(timedGroupOf(BOB)).toBe('grant:3ea8d3b482bd6ae4')
  const others = [
    { ...BOB, namespace: 'prod' },
    { ...BOB, role: 'mcm:ns-ro' },
    { ...BOB, subject: { kind: 'group', name: 'bob' } as const },
    { ...BOB, subject: { kind: 'user', name: 'Bob' } as const },
    { subject: BOB.subject, role: BOB.role },
    { ...BOB, request: 17 },
    { ...BOB, request: 18 },
  ]
  expect(new Set([BOB, ...others].map(timedGroupOf)).size).toBe(8)
})

test('of an access request is bound and read back with its number, and believed with no other', () => {
  const binding = bindingOf({ ...BOB, request: 17 }, 'mcm:') as RoleBinding
  const timedGroup = timedGroupOf({ ...BOB, request: 17 })
  expect(grantsOf(binding, 'mcm:')).toEqual([{ ...BOB, request: 17, timedGroup }])
  expect(binding.metadata.name).not.toBe(bindingOf({ ...BOB, request: 18 }, 'mcm:').metadata.name)
  const annotations = Object.fromEntries(
    Object.entries(binding.metadata.annotations!).map(([name, text]) => [
      name,
      text.replace('17', '18'),
    ]),
  )
  const forged = { ...binding, metadata: { ...binding.metadata, annotations } }
  expect(grantsOf(forged, 'mcm:')).toEqual([])
})

test('can be no name of a user or group', () => {
  expect(isPrincipalName(timedGroupOf(BOB))).toBe(false)
})

test('is known behind the prefix, and nothing else is', () => {
  const group = timedGroupOf(BOB)
  expect(bareTimedGroup(timedGroupName(group, 'mcm:'), 'mcm:')).toBe(group)
  for (const name of [group, `corp:${group}`, 'mcm:grant:xyz', `mcm:${group}0`, 'mcm:dev'])
    expect(bareTimedGroup(name, 'mcm:')).toBeUndefined()
  expect(() => timedGroupName('system:masters', 'mcm:')).toThrow('is no timed group')
})

test('a binding to it is read back as the grant that it stands for', () => {
  const binding = bindingOf({ ...BOB, expires: EXPIRES }, 'mcm:')
  expect(grantsOf(binding, 'mcm:')).toEqual([{ ...BOB, timedGroup: timedGroupOf(BOB) }])
  expect(binding.metadata.annotations?.['mcm.dev/grant']).toContain('2030-01-31T18:00:00Z')
  expect(binding.metadata.name).toBe(bindingOf(BOB, 'mcm:').metadata.name)
})

test('a binding whose annotation names somebody else, or another role, grants nothing of ours', () => {
  const binding = bindingOf({ ...BOB, expires: EXPIRES }, 'mcm:') as RoleBinding
  const annotated = (text: string): RoleBinding => ({
    ...binding,
    metadata: { ...binding.metadata, annotations: { 'mcm.dev/grant': text } },
  })
  for (const text of ['{"user":"eve"}', '{"group":"bob"}', '{}', 'no JSON', '{"user":7}'])
    expect(grantsOf(annotated(text), 'mcm:')).toEqual([])
  const roleRef = { ...binding.roleRef, name: 'cluster-admin' }
  expect(grantsOf({ ...binding, roleRef }, 'mcm:')).toEqual([])
})
