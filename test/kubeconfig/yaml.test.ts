import { expect, test } from 'vitest'
import { readPositioned } from '../../src/kubeconfig/yaml.ts'

const TEXT = `# a comment
users:
  - name: bob
    groups:
      - dev
      - ops
  - { name: eve, groups: [] }
empty:
`

test('says where a value stands, or what should hold it where there is none', () => {
  const { value, positionOf } = readPositioned(TEXT, 'x.yaml')
  expect(value).toMatchObject({ users: [{ name: 'bob' }, { name: 'eve' }], empty: null })
  const at = (...path: (string | number)[]) => {
    const { line, column } = positionOf(path)
    return `${line}:${column}`
  }
  expect(at('users', 0, 'name')).toBe('3:11')
  expect(at('users', 0, 'groups', 1)).toBe('6:9')
  expect(at('users', 1, 'name')).toBe('7:13')
  expect(at('users', 1, 'role')).toBe('7:5')
  expect(at('users', 9)).toBe('3:3')
  expect(at()).toBe('2:1')
})

test.each([
  ['users: [', /^x\.yaml:\d+:\d+: this is not YAML/],
  ['a: 1\na: 2\n', /^x\.yaml:2:1: this is not YAML/],
  ['a: 1\n---\nb: 2\n', /^x\.yaml:\d+:\d+: this is not YAML/],
  [`a: &a [x]\n${'b: &b [*a,*a]\n'.repeat(1)}c: *nowhere\n`, /this is not YAML/],
])('%j is refused with its place', (text, message) => {
  expect(() => readPositioned(text, 'x.yaml')).toThrow(message)
})

test('an empty text is nothing, at its first place', () => {
  const { value, positionOf } = readPositioned('', 'x.yaml')
  expect([value, positionOf([])]).toEqual([null, { line: 1, column: 1 }])
})

test('aliases that multiply are refused, not expanded', () => {
  const lines = ['a: &a [x, x, x, x, x, x, x, x, x, x]']
  for (let index = 1; index < 12; index++) {
    const [before, name] = [`a${index === 1 ? '' : index - 1}`, `a${index}`]
    lines.push(`${name}: &${name} [${Array(10).fill(`*${before}`).join(', ')}]`)
  }
  expect(() => readPositioned(lines.join('\n'), 'x.yaml')).toThrow('this is not YAML')
})
