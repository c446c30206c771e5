import { expect, test } from 'vitest'
import { labelSelector } from '../../src/kube/label-selector.ts'

const LABELS = { env: 'prod', region: 'us', tier: '2', empty: '' }

test.each([
  '',
  'env=prod',
  'env==prod',
  'env = prod , region!=eu',
  'env in (prod, test)',
  'region notin (eu,cn),tier',
  'missing notin (a)',
  'missing!=x',
  '!missing',
  'empty=',
  'tier>1,tier<3',
])('%j selects', (text) => expect(labelSelector(text)(LABELS)).toBe(true))

test.each([
  'env=test',
  'env=prod,region=eu',
  'env in (test)',
  'env notin (prod)',
  'missing',
  '!env',
  'missing=',
  'env>1',
  'tier>2',
  'constructor',
  'toString',
])('%j does not select', (text) => expect(labelSelector(text)(LABELS)).toBe(false))

test.each([
  ['env=', { env: 'prod' }, false],
  ['polluted', Object.create({ polluted: 'x' }), false],
])('%j reads own labels only', (text, labels, expected) =>
  expect(labelSelector(text)(labels)).toBe(expected),
)

test.each([
  ['env=prod=test', `values[0][env]: Invalid value: "prod=test"`],
  ['env=-', `values[0][env]: Invalid value: "-"`],
  [`env=${'x'.repeat(64)}`, 'values[0][env]: Invalid value'],
  ['tier>many', 'the value must be an integer'],
  ['env prod', "found 'prod', expected: in, notin, =, ==, !=, gt, lt"],
  ['!', 'expected: identifier'],
  [',', "expected: !, identifier, or 'end of string'"],
])('%j is refused in the words of the API server', (text, words) =>
  expect(() => labelSelector(text)).toThrow(words),
)
