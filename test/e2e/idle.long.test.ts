import { setTimeout as sleep } from 'node:timers/promises'
import { describe, test } from 'vitest'
import { wholeNodeIsPossible } from '../cluster/node.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { openIdleStreams, useAgain } from './idle-suite.ts'
import { openNodeStage } from './node-stage.ts'

const MINUTES = Number(process.env['MCM_TEST_IDLE_MINUTES'] ?? 10)
const skip = skipLoudly('streams that are idle for ten minutes', await wholeNodeIsPossible())

describe.skipIf(skip)('on a whole node', () => {
  test(`port-forward, exec, logs -f and a watch are alive after ${MINUTES} idle minutes`, async () => {
    const stage = await openNodeStage()
    try {
      const opened = await openIdleStreams(stage)
      await sleep(MINUTES * 60_000)
      await useAgain(stage, opened)
    } finally {
      await stage.close()
    }
  })
})
