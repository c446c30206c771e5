import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import type { AccessDocument } from '../../src/device/access-document.ts'
import { viewAccess, viewAccessDiff, viewApplied } from '../../src/terminal/access-views.ts'
import { openScreen } from '../../src/terminal/screen.ts'

function screen(isTTY: boolean) {
  const stdout = Object.assign(new PassThrough(), { isTTY, columns: 120 })
  return openScreen({ stdin: {}, stdout, stderr: new PassThrough() }, {})
}

const DOCUMENT: AccessDocument = {
  clusters: [
    { cluster: 'ack', id: 'c-1', changes: [], kept: [], problems: [] },
    {
      cluster: 'idc-k8s',
      id: 'c-2',
      changes: [
        {
          action: 'remove',
          kind: 'RoleBinding',
          name: 'b1',
          namespace: 'test',
          about: 'user eve mcm:ns-dev in test',
        },
        { action: 'change', kind: 'ClusterRole', name: 'pod-dev', about: '', differs: ['rules'] },
        { action: 'add', kind: 'member', name: 'user bob', about: 'may reach the cluster' },
      ],
      kept: ['user ada mcm:admin'],
      problems: ['ClusterRole x is there, and not mcm’s'],
    },
  ],
  people: [{ user: 'bob', added: ['dev'], removed: ['ops'] }],
  unknown: ['carol'],
  undeclared: ['dave'],
  summary: { add: 1, change: 2, remove: 1 },
}

test('a difference is shown by cluster with signs, what is kept and what cannot be; clusters as declared are not', () => {
  expect(viewAccessDiff(DOCUMENT, screen(false))).toBe(`idc-k8s
  - RoleBinding test/b1: user eve mcm:ns-dev in test
  ~ ClusterRole pod-dev [rules]
  + member user bob: may reach the cluster
    user ada mcm:admin (not declared, kept: it is yours)
  ! ClusterRole x is there, and not mcm’s
people
  ~ bob: -ops +dev
    carol is not in the fleet: mcm invite carol
    dave is not declared: in the fleet, without rights
1 to add, 2 to change, 1 to remove; 1 of 2 clusters have problems
`)
})

test('on a terminal what comes is green, what changes yellow, what goes red', () => {
  const text = viewAccessDiff(DOCUMENT, screen(true))
  expect(text).toContain('\u001b[31m  - RoleBinding')
  expect(text).toContain('\u001b[33m  ~ ClusterRole')
  expect(text).toContain('\u001b[32m  + member')
})

test('nothing to change is one line', () => {
  const clusters = DOCUMENT.clusters.slice(0, 1)
  const none = {
    people: [],
    unknown: [],
    undeclared: [],
    summary: { add: 0, change: 0, remove: 0 },
  }
  expect(viewAccessDiff({ clusters, ...none }, screen(false))).toBe('as declared\n')
})

test('what a cluster has in its names cannot move the cursor', () => {
  const clusters = [
    { cluster: 'ack', id: 'c-1', changes: [], kept: [], problems: ['no \u001b[2J\nsuch'] },
  ]
  const text = viewAccessDiff({ ...DOCUMENT, clusters }, screen(false))
  expect(text).not.toContain('\u001b')
})

test('what was applied is counted, and what was refused is told', () => {
  const applied = {
    clusters: [
      { cluster: 'ack', id: 'c-1', changed: ['a', 'b'], problems: [] },
      { cluster: 'idc-k8s', id: 'c-2', changed: [], problems: ['it is forbidden'] },
    ],
    people: ['bob'],
    problems: [],
  }
  expect(viewApplied(applied, screen(false))).toBe(
    'ack: 2 changed\nidc-k8s: nothing to change\n  ! it is forbidden\npeople: bob\n',
  )
})

test('grants are a table with ends only where one ends', () => {
  const subject = { kind: 'user', name: 'bob' } as const
  const grants = [{ cluster: 'ack', subject, role: 'mcm:ro' }]
  expect(viewAccess({ grants, problems: [] }, screen(false))).toBe(
    'CLUSTER   WHO        ROLE     NAMESPACE\nack       user bob   mcm:ro   (all)\n',
  )
  const timed = [{ ...grants[0]!, expires: '2030-01-31T18:00:00Z' }]
  expect(viewAccess({ grants: timed, problems: [] }, screen(false))).toContain('UNTIL')
})
