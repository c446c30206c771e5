import { expect, test } from 'vitest'
import { inParallel } from '../../src/device/in-parallel.ts'

test('results stand in the order of the items, and no more run at a time than told', async () => {
  let [running, most] = [0, 0]
  const results = await inParallel([5, 1, 3, 2, 4], 2, async (item) => {
    most = Math.max(most, ++running)
    for (let turn = 0; turn < item; turn++) await Promise.resolve()
    running--
    return item * 10
  })
  expect(results).toEqual([50, 10, 30, 20, 40])
  expect(most).toBe(2)
})

test('after an error nothing more begins, and what has begun is over when it is thrown', async () => {
  const begun: number[] = []
  const over: number[] = []
  const all = inParallel([0, 1, 2, 3], 2, async (item) => {
    begun.push(item)
    await Promise.resolve()
    if (item === 0) throw new Error('no')
    for (let turn = 0; turn < 20; turn++) await Promise.resolve()
    over.push(item)
  })
  await expect(all).rejects.toThrow('no')
  expect([begun, over]).toEqual([[0, 1], [1]])
})

test('nothing to do is done', async () => {
  expect(await inParallel([], 8, async () => 1)).toEqual([])
})
