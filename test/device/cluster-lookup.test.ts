import { expect, test } from 'vitest'
import { nearNames } from '../../src/device/cluster-lookup.ts'

test('names a slip of the finger away, or that begin alike, are offered, nearest first', () => {
  const names = ['idc-k8s', 'idc-k9s', 'edge-1', 'edge-2', 'production']
  expect(nearNames('idc-k8', names)).toEqual(['idc-k8s', 'idc-k9s'])
  expect(nearNames('prod', names)).toEqual(['production'])
  expect(nearNames('egde-1', names)).toEqual(['edge-1'])
  expect(nearNames('something-else', names)).toEqual([])
  expect(nearNames('', ['a'])).toEqual(['a'])
})

test('no more than three are offered', () => {
  expect(nearNames('a1', ['a2', 'a3', 'a4', 'a5'])).toHaveLength(3)
})
