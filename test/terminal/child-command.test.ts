import { describe, expect, test } from 'vitest'
import {
  outputFormat,
  printsTable,
  splitAtBoundary,
  withBoundary,
} from '../../src/terminal/child-command.ts'

const words = (text: string) => text.split(' ')

describe('our words end where the other program begins', () => {
  test.each([
    ['kubectl -c a get pods -o json -n x --v=9', 'kubectl -c a -- get pods -o json -n x --v=9'],
    ['kubectl --cluster a get --help', 'kubectl --cluster a -- get --help'],
    ['kubectl --cluster=a --help', 'kubectl --cluster=a -- --help'],
    ['kubectl -ca logs -c app web-0', 'kubectl -ca -- logs -c app web-0'],
    ['kubectl -c a -n x get pods', 'kubectl -c a -- -n x get pods'],
    ['kubectl -c a exec web-0 -- ls -l', 'kubectl -c a -- exec web-0 -- ls -l'],
    ['kubectl -c a -- get pods', 'kubectl -c a -- get pods'],
    ['kubectl get pods -c a', 'kubectl -- get pods -c a'],
    ['kubectl -c a --json', 'kubectl -c a -- --json'],
    ['exec -c a -c b --mode proxy helm list -c x', 'exec -c a -c b --mode proxy -- helm list -c x'],
    ['exec -c a -- helm list', 'exec -c a -- helm list'],
  ])('%j', (typed, expected) => expect(withBoundary(words(typed)).join(' ')).toBe(expected))

  test.each([
    'kubectl --help',
    'kubectl',
    'kubectl -c',
    'kubectl -c a',
    'exec --help',
    'each --all -- ls',
    'clusters show a',
    'constructor x',
  ])('nothing is added to %j', (typed) => expect(withBoundary(words(typed))).toEqual(words(typed)))
})

test('the first boundary counts, later ones are the other program’s', () => {
  expect(splitAtBoundary(words('-c a -- exec web -- ls'))).toEqual({
    own: ['-c', 'a'],
    command: ['exec', 'web', '--', 'ls'],
  })
  expect(splitAtBoundary(['--all'])).toEqual({ own: ['--all'], command: [] })
})

test.each([
  'kubectl get pods',
  'kubectl get pods -A -o wide',
  'kubectl -n x get pods',
  'kubectl --namespace=x get pods',
  'kubectl --context get get pods',
  '/usr/bin/kubectl get nodes -o custom-columns=NAME:.metadata.name',
])('%j prints a table', (text) => expect(printsTable(words(text))).toBe(true))

test.each([
  'kubectl get pods -o json',
  'kubectl get pods -ojson',
  'kubectl get pods --output=name',
  'kubectl get pods -w',
  'kubectl get pods --watch=true',
  'kubectl get pods --no-headers',
  'kubectl get --raw /healthz',
  'kubectl describe pods',
  'kubectl -n get describe pods',
  'helm get pods',
  'kubectl',
])('%j prints none, or never ends', (text) => expect(printsTable(words(text))).toBe(false))

test.each([
  ['get -o json', 'json'],
  ['get -ojson', 'json'],
  ['get -o=json', 'json'],
  ['get --output json', 'json'],
  ['get --output=yaml -o json', 'json'],
  ['exec web -- cat -o json', ''],
  ['get', ''],
])('the output format of %j is %j', (text, format) =>
  expect(outputFormat(words(text))).toBe(format),
)
