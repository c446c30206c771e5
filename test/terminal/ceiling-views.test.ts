import { expect, test } from 'vitest'
import type { ClusterCeiling } from '../../src/device/ceiling.ts'
import { viewCeiling } from '../../src/terminal/ceiling-views.ts'

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
  expect(text.includes('mcm clusters ceiling idc --set no-exec --apply')).toBe(hasNext)
})

test('a ceiling that is missing, and one that could not be asked about, are no ceiling called none', () => {
  const missing = viewCeiling(told('legacy', 'legacy'))
  expect(missing).toContain('missing: nobody does anything there')
  expect(missing).toContain('--set none --apply')
  const unknown = viewCeiling({ cluster: 'idc', id: 'c-aaaaaaaaaa', problem: 'no agent' })
  expect(unknown).toContain('not known: no agent')
})
