import { expect, test } from 'vitest'
import { type ClusterSelection, selectClusters } from '../../src/device/cluster-selection.ts'
import { DirectoryState } from '../../src/directory/state.ts'

/** Five clusters; ada is a member of all but the last. */
const NAMES: Readonly<Record<string, Record<string, string>>> = {
  ack: { env: 'prod', region: 'eu' },
  'edge-1': { env: 'prod', region: 'us', gpu: 'a100' },
  'edge-2': { env: 'test', region: 'us' },
  'a.b': {},
  secret: { env: 'prod' },
}

function directory(): { state: DirectoryState } {
  const start = new Date(0)
  const der = Buffer.alloc(0)
  const common = { seq: 1, serverCaDer: der, userCaDer: der, agentKey: 'k', prefix: 'mcm:' }
  const clusters = Object.entries(NAMES).map(([name, labels], index) => {
    const id = `c-aaaaaaaaa${'abcdef'[index]}`
    return [id, { ...common, id, name, labels, issuer: 'agent' as const }] as const
  })
  const subject = { kind: 'user', name: 'ada' } as const
  const member = new Map([['user:ada', { subject, since: start }]])
  const members = clusters.filter(([, { name }]) => name !== 'secret').map(([id]) => [id, member])
  const ada = { name: 'ada', bot: false, groups: [], devices: new Map(), invites: [] }
  return {
    state: new DirectoryState({
      admins: new Map(),
      confirmed: undefined,
      hubs: [],
      clusters: new Map(clusters),
      users: new Map([['ada', { ...ada, since: start, groupsSince: new Map() }]]),
      ownerOfKey: new Map(),
      members: new Map(members as [string, typeof member][]),
      timedGrants: new Map(),
      providers: new Map(),
      requests: new Map(),
      withoutEffect: new Map(),
    }),
  }
}

function select(selection: Partial<ClusterSelection>): string[] {
  const whole = { all: false, selectors: [], ...selection }
  return selectClusters(directory(), 'ada', whole).map(({ name }) => name)
}

test.each([
  [['ack'], ['ack']],
  [['edge-2,ack'], ['ack', 'edge-2']],
  [
    ['edge-2', 'ack', 'edge-*'],
    ['ack', 'edge-1', 'edge-2'],
  ],
  [['edge-?'], ['edge-1', 'edge-2']],
  [['*'], ['a.b', 'ack', 'edge-1', 'edge-2']],
  [['c-aaaaaaaaab'], ['edge-1']],
  [['env=prod,region!=eu'], ['edge-1']],
  [['region in (eu, us),!gpu'], ['ack', 'edge-2']],
  [
    ['env=test', 'ack'],
    ['ack', 'edge-2'],
  ],
])('%j selects each of its clusters once, by name', (selectors, names) =>
  expect(select({ selectors })).toEqual(names),
)

test('all is every cluster the person may reach', () =>
  expect(select({ all: true })).toEqual(['a.b', 'ack', 'edge-1', 'edge-2']))

test('a bare key is a label where it is said to be one', () => {
  expect(select({ labels: 'gpu' })).toEqual(['edge-1'])
  expect(() => select({ selectors: ['gpu'] })).toThrow('no cluster "gpu" is known to you')
})

test('a dot in a glob is a dot', () => {
  expect(select({ selectors: ['a.*'] })).toEqual(['a.b'])
})

test.each([
  [{ selectors: ['ack', 'nowhere-*'] }, 'no cluster you may reach is called "nowhere-*"'],
  [{ selectors: ['env=nowhere'] }, 'no cluster you may reach has labels "env=nowhere"'],
  [{ labels: 'nothing' }, 'no cluster you may reach has labels "nothing"'],
  [{ selectors: ['edge-3'] }, 'no cluster "edge-3" is known to you'],
  [{ selectors: [''] }, 'no cluster "" is known to you'],
])('a part that matches nothing is an error, never a smaller choice: %j', (selection, message) =>
  expect(() => select(selection)).toThrow(expect.objectContaining({ message, exitCode: 3 })),
)

test('a cluster one is no member of is refused by name and met by no glob or label', () => {
  expect(() => select({ selectors: ['secret'] })).toThrow('ada is not a member of secret')
  expect(() => select({ selectors: ['s*'] })).toThrow('no cluster you may reach is called "s*"')
  expect(select({ selectors: ['env=prod'] })).toEqual(['ack', 'edge-1'])
})

test('a label selector that cannot be read says how to write one', () =>
  expect(() => select({ selectors: ['env=a=b'] })).toThrow(
    expect.objectContaining({ code: 'MCM_USAGE', hint: expect.stringContaining('env=prod') }),
  ))
