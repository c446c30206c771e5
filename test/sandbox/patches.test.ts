import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/sandbox/json.ts'
import { applyJsonPatch } from '../../src/sandbox/patch/json-patch.ts'
import { applyMergePatch } from '../../src/sandbox/patch/merge-patch.ts'
import { applyStrategicPatch } from '../../src/sandbox/patch/strategic-merge.ts'
import { kindType } from '../../src/sandbox/schema/types.ts'

describe('JSON Patch (RFC 6902, appendix A)', () => {
  test.each([
    [
      'adds a member',
      { foo: 'bar' },
      [{ op: 'add', path: '/baz', value: 'qux' }],
      { foo: 'bar', baz: 'qux' },
    ],
    [
      'adds an array element',
      { foo: ['bar', 'baz'] },
      [{ op: 'add', path: '/foo/1', value: 'qux' }],
      { foo: ['bar', 'qux', 'baz'] },
    ],
    [
      'adds at the end',
      { foo: ['bar'] },
      [{ op: 'add', path: '/foo/-', value: ['abc'] }],
      { foo: ['bar', ['abc']] },
    ],
    [
      'removes a member',
      { baz: 'qux', foo: 'bar' },
      [{ op: 'remove', path: '/baz' }],
      { foo: 'bar' },
    ],
    [
      'removes an array element',
      { foo: ['bar', 'qux', 'baz'] },
      [{ op: 'remove', path: '/foo/1' }],
      { foo: ['bar', 'baz'] },
    ],
    ['replaces', { baz: 'qux' }, [{ op: 'replace', path: '/baz', value: 'boo' }], { baz: 'boo' }],
    [
      'moves',
      { foo: { bar: 'baz', waldo: 'fred' }, qux: {} },
      [{ op: 'move', from: '/foo/waldo', path: '/qux/thud' }],
      { foo: { bar: 'baz' }, qux: { thud: 'fred' } },
    ],
    [
      'moves within an array',
      { foo: ['all', 'grass', 'cows', 'eat'] },
      [{ op: 'move', from: '/foo/1', path: '/foo/3' }],
      { foo: ['all', 'cows', 'eat', 'grass'] },
    ],
    ['copies', { a: 1 }, [{ op: 'copy', from: '/a', path: '/b' }], { a: 1, b: 1 }],
    [
      'tests and goes on',
      { baz: 'qux', foo: ['a', 2] },
      [{ op: 'test', path: '/foo/1', value: 2 }],
      { baz: 'qux', foo: ['a', 2] },
    ],
    [
      'unescapes pointers',
      { '/': 9, '~1': 10 },
      [
        { op: 'replace', path: '/~01', value: 1 },
        { op: 'replace', path: '/~1', value: 2 },
      ],
      { '/': 2, '~1': 1 },
    ],
    ['replaces the whole', { a: 1 }, [{ op: 'replace', path: '', value: { b: 2 } }], { b: 2 }],
  ])('%s', (_, document, patch, expected) => {
    expect(applyJsonPatch(document, patch)).toEqual(expected)
  })

  test.each([
    ['a test that fails', { a: 1 }, [{ op: 'test', path: '/a', value: 2 }]],
    ['a path that is not there', { a: 1 }, [{ op: 'add', path: '/b/c', value: 1 }]],
    ['a removal of nothing', { a: 1 }, [{ op: 'remove', path: '/b' }]],
    ['a replacement of nothing', { a: 1 }, [{ op: 'replace', path: '/b', value: 1 }]],
    ['an index beyond the end', { a: [1] }, [{ op: 'add', path: '/a/2', value: 1 }]],
    ['an index with a leading zero', { a: [1, 2] }, [{ op: 'remove', path: '/a/01' }]],
    ['a move into itself', { a: { b: 1 } }, [{ op: 'move', from: '/a', path: '/a/b' }]],
    ['an operation nobody knows', { a: 1 }, [{ op: 'grow', path: '/a' }]],
    ['a member of the prototype', { a: 1 }, [{ op: 'add', path: '/__proto__/x', value: 1 }]],
    [
      'a member that is only inherited',
      { a: 1 },
      [{ op: 'copy', from: '/constructor', path: '/b' }],
    ],
  ])('refuses %s', (_, document, patch) => {
    expect(() => applyJsonPatch(document, patch)).toThrow()
  })

  test('leaves the document it was given as it was', () => {
    const document = { list: [1, 2, 3], inner: { a: 1 } }
    applyJsonPatch(document, [
      { op: 'remove', path: '/list/0' },
      { op: 'add', path: '/inner/b', value: 2 },
    ])
    expect(document).toEqual({ list: [1, 2, 3], inner: { a: 1 } })
  })
})

test.each([
  [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
  [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
  [{ a: 'b' }, { a: null }, {}],
  [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
  [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
  [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
  [
    ['a', 'b'],
    ['c', 'd'],
    ['c', 'd'],
  ],
  [{ a: 'foo' }, null, null],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
])('JSON Merge Patch (RFC 7386, appendix A): %j with %j', (target, patch, expected) => {
  expect(applyMergePatch(target, patch)).toEqual(expected)
})

describe('strategic merge', () => {
  const pod = kindType('', 'v1', 'Pod')!
  const spec = (object: JsonObject) => (object.spec as JsonObject).containers
  const merge = (target: JsonObject, patch: JsonObject) => applyStrategicPatch(target, patch, pod)
  const two = {
    spec: {
      containers: [
        { name: 'a', image: '1' },
        { name: 'b', image: '2' },
      ],
    },
  }

  test('containers are told apart by name', () => {
    expect(spec(merge(two, { spec: { containers: [{ name: 'b', image: '3' }] } }))).toEqual([
      { name: 'a', image: '1' },
      { name: 'b', image: '3' },
    ])
  })

  test('$patch: delete takes one, $patch: replace all', () => {
    expect(spec(merge(two, { spec: { containers: [{ name: 'a', $patch: 'delete' }] } }))).toEqual([
      { name: 'b', image: '2' },
    ])
    expect(
      spec(merge(two, { spec: { containers: [{ $patch: 'replace' }, { name: 'c' }] } })),
    ).toEqual([{ name: 'c' }])
  })

  test('lists within list items are merged by their own keys', () => {
    const target = {
      spec: {
        containers: [
          { name: 'a', env: [{ name: 'X', value: '1' }], ports: [{ containerPort: 80 }] },
        ],
      },
    }
    const patch = {
      spec: {
        containers: [
          {
            name: 'a',
            env: [{ name: 'Y', value: '2' }],
            ports: [{ containerPort: 80, name: 'web' }],
          },
        ],
      },
    }
    expect(spec(merge(target, patch))).toEqual([
      {
        name: 'a',
        env: [
          { name: 'X', value: '1' },
          { name: 'Y', value: '2' },
        ],
        ports: [{ containerPort: 80, name: 'web' }],
      },
    ])
  })

  test('lists without a key are replaced, lists of values are added to and taken from', () => {
    const target = {
      metadata: { finalizers: ['a', 'b'] },
      spec: { containers: [{ name: 'a', args: ['x'] }] },
    }
    const patch = {
      metadata: { finalizers: ['c'], '$deleteFromPrimitiveList/finalizers': ['a'] },
      spec: { containers: [{ name: 'a', args: ['y'] }] },
    }
    const merged = merge(target, patch)
    expect((merged.metadata as JsonObject).finalizers).toEqual(['b', 'c'])
    expect(spec(merged)).toEqual([{ name: 'a', args: ['y'] }])
  })

  test('$retainKeys and $setElementOrder are followed', () => {
    const target = {
      spec: { volumes: [{ name: 'v', emptyDir: {} }], containers: two.spec.containers },
    }
    const patch = {
      spec: {
        volumes: [{ name: 'v', $retainKeys: ['name', 'hostPath'], hostPath: { path: '/' } }],
        '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }],
      },
    }
    const merged = merge(target, patch)
    expect((merged.spec as JsonObject).volumes).toEqual([{ name: 'v', hostPath: { path: '/' } }])
    expect(spec(merged)).toMatchObject([{ name: 'b' }, { name: 'a' }])
  })

  test('null takes a member away, maps are merged', () => {
    const target = { metadata: { labels: { a: '1', b: '2' } } }
    expect(merge(target, { metadata: { labels: { a: null, c: '3' } } })).toEqual({
      metadata: { labels: { b: '2', c: '3' } },
    })
  })

  test('an item without its key is refused', () => {
    expect(() => merge(two, { spec: { containers: [{ image: 'x' }] } })).toThrow(
      'does not contain declared merge key: name',
    )
  })
})
