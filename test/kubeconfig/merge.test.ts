import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { mergeEntries, removeEntries } from '../../src/kubeconfig/merge.ts'
import { entriesOf, HAND_STYLE, KUBECTL_STYLE } from './fixture.ts'

const merge = (text: string | undefined, ...names: string[]) =>
  mergeEntries(
    text,
    names.map((name) => entriesOf(name)),
    { file: 'config' },
  )

/** Whether every line of `before` stands in `after`, in order. */
function linesLost(before: string, after: string): string[] {
  const rest = after.split('\n')
  return before.split('\n').filter((line) => {
    const at = rest.indexOf(line)
    if (at >= 0) rest.splice(0, at + 1)
    return at < 0
  })
}

test('an absent file becomes a kubeconfig whose current context is ours', () => {
  const config = parse(merge(undefined, 'idc-k8s'))
  expect(config).toMatchObject({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'mcm-idc-k8s',
  })
  expect(config.contexts).toHaveLength(1)
})

test('merging into a file of kubectl loses and reformats no line of it', () => {
  const after = merge(KUBECTL_STYLE, 'idc-k8s')
  expect(linesLost(KUBECTL_STYLE, after)).toEqual([])
  expect(after).toContain('- name: mcm-idc-k8s')
})

test('comments, order, quotes, indentation and unknown fields of a hand-written file survive', () => {
  const after = merge(HAND_STYLE, 'idc-k8s')
  // The one thing the writer evens out: the blanks before a comment.
  expect(linesLost(HAND_STYLE, after)).toEqual(['current-context: "office"   # the usual one'])
  for (const kept of [
    '# my clusters',
    '# the usual one',
    '# the token is rotated',
    '# behind the vpn',
  ])
    expect(after).toContain(kept)
  const { users, contexts, clusters, ...rest } = parse(HAND_STYLE)
  expect(parse(after)).toMatchObject(rest)
  expect(parse(after).users[0]).toEqual(users[0])
  expect(parse(after).contexts[0]).toEqual(contexts[0])
  expect(parse(after).clusters[0]).toEqual(clusters[0])
})

test('the current context of the owner is left alone, unless asked', () => {
  expect(parse(merge(KUBECTL_STYLE, 'idc-k8s'))['current-context']).toBe('prod')
  const asked = mergeEntries(KUBECTL_STYLE, [entriesOf()], { file: 'c', current: 'mcm-idc-k8s' })
  expect(parse(asked)['current-context']).toBe('mcm-idc-k8s')
})

test('merging twice is merging once, byte for byte, in every style', () => {
  for (const text of [
    undefined,
    KUBECTL_STYLE,
    HAND_STYLE,
    '',
    '{"apiVersion":"v1","kind":"Config"}',
  ]) {
    const once = merge(text, 'a', 'b')
    expect(merge(once, 'a', 'b')).toBe(once)
  }
})

test('an entry of ours is replaced where it stands', () => {
  const before = merge(KUBECTL_STYLE, 'a', 'b')
  const moved = mergeEntries(before, [entriesOf('a', undefined, 'c-cccccccccc')], { file: 'c' })
  expect(parse(moved).clusters.map((entry: { name: string }) => entry.name)).toEqual([
    'prod',
    'mcm-a',
    'mcm-b',
  ])
  expect(parse(moved).clusters[1].cluster.server).toContain('c-cccccccccc')
})

test('an entry of the same name that somebody else made is never overwritten', () => {
  const foreign = KUBECTL_STYLE.replaceAll('prod', 'mcm-idc-k8s')
  expect(() => merge(foreign, 'idc-k8s')).toThrow(/mcm did not make/)
})

test('removing takes ours out and gives the rest back byte for byte', () => {
  const merged = merge(KUBECTL_STYLE, 'a', 'b')
  const { text, removed } = removeEntries(merged, 'config')
  expect(removed).toEqual(['mcm-a', 'mcm-b'])
  expect(text).toBe(KUBECTL_STYLE)
})

test('removing one cluster keeps the others, and a current context that went is emptied', () => {
  const two = mergeEntries(
    undefined,
    [entriesOf('a', undefined, 'c-aaaaaaaaaa'), entriesOf('b', undefined, 'c-bbbbbbbbbb')],
    { file: 'c' },
  )
  const { text, removed } = removeEntries(two, 'c', 'c-aaaaaaaaaa')
  expect(removed).toEqual(['mcm-a'])
  const names = parse(text).contexts.map((entry: { name: string }) => entry.name)
  expect(names).toEqual(['mcm-b'])
  expect(parse(text)['current-context']).toBe('')
})

test('removing where nothing is ours changes nothing', () => {
  expect(removeEntries(HAND_STYLE, 'c').text).toBe(HAND_STYLE)
})

test('a JSON kubeconfig stays one that a JSON reader reads', () => {
  const json = JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'x', cluster: {} }],
  })
  const after = merge(json, 'a')
  expect(() => JSON.parse(after)).not.toThrow()
  expect(JSON.parse(after).clusters).toHaveLength(2)
})

test('Windows line ends stay', () => {
  const after = merge(KUBECTL_STYLE.replaceAll('\n', '\r\n'), 'a')
  expect(after.replaceAll('\r\n', '')).not.toContain('\n')
})

test('anchors and aliases of the owner survive', () => {
  const text = 'clusters:\n- &one\n  name: a\n  cluster: {server: "https://a"}\nother: *one\n'
  const after = merge(text, 'a-b')
  expect(after).toContain('&one')
  expect(after).toContain('*one')
})

test.each([
  ['not YAML', 'a: [b'],
  ['a list', '- a\n- b\n'],
  ['clusters that are no list', 'clusters: {a: 1}\n'],
  ['an entry without a name', 'clusters:\n- cluster: {server: x}\n'],
  ['a key given twice', 'users: []\nusers: []\n'],
])('a file that is %s is refused, named, and not touched', (_what, text) => {
  const error = (() => {
    try {
      return merge(text, 'a')
    } catch (caught) {
      return caught
    }
  })()
  expect(error).toMatchObject({ code: 'MCM_BAD_FILE', exitCode: 2 })
  expect(String(error)).toContain('config')
})

test('an entry named like an object member pollutes nothing', () => {
  const after = merge('clusters:\n- name: __proto__\n  cluster: {server: "https://x"}\n', 'a')
  expect(after).toContain('__proto__')
  expect(({} as Record<string, unknown>)['server']).toBeUndefined()
})
