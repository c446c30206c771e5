import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const YOUNG_SPACE = join(import.meta.dirname, '..', 'src', 'young-space.ts')

/** Full collections while buffers pass by; in a process of its own, as the flags are for a whole process. */
function collectionsWhilePassing(preparation: string): number {
  const program = `
    import { constants, PerformanceObserver } from 'node:perf_hooks'
    import { setImmediate as turn } from 'node:timers/promises'
    import { collectBuffersYoung } from ${JSON.stringify(YOUNG_SPACE)}
    ${preparation}
    let count = 0
    new PerformanceObserver((list) => {
      for (const { detail } of list.getEntries())
        if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) count += 1
    }).observe({ entryTypes: ['gc'] })
    const underWay = []
    for (let index = 0; index < 150_000; index += 1) {
      const piece = { bytes: Buffer.allocUnsafeSlow(32 * 1024), facts: Array.from({ length: 10 }, () => ({})) }
      underWay[index % 32] = piece
      if (index % 16 === 0) await turn()
    }
    await turn()
    console.log(count)
  `
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', program])
  return Number(stdout.toString())
}

test('buffers that pass by are collected young: hardly ever is the whole heap', () => {
  const before = collectionsWhilePassing('')
  const after = collectionsWhilePassing('collectBuffersYoung()')
  expect(before).toBeGreaterThan(10)
  expect(after).toBeLessThan(before / 4)
})
