import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { describe, expect, test } from 'vitest'
import { wholeNodeIsPossible } from '../cluster/node.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { runCommand } from '../cluster/run-command.ts'
import { openNodeStage } from './node-stage.ts'

const MEGABYTES = 1_000
const skip = skipLoudly('cp of a gigabyte', await wholeNodeIsPossible())

describe.skipIf(skip)('on a whole node', () => {
  test('cp carries a gigabyte there and back unchanged, through mcm proxy', async () => {
    const stage = await openNodeStage()
    try {
      const { ways, node, scratch } = stage
      await node.runShellPod({ name: 'plain', command: ['sleep', '100000'] })
      const [there, back] = [join(scratch, 'there'), join(scratch, 'back')]
      const source = ['if=/dev/urandom', `of=${there}`, 'bs=1000000', `count=${MEGABYTES}`]
      expect(await runCommand('dd', source)).toMatchObject({ exitCode: 0 })
      const copy = async (from: string, to: string) => {
        const startedAt = Date.now()
        const done = await ways.kubectl('proxy', ['cp', from, to], { timeoutMs: 1_800_000 })
        expect(done.exitCode, done.stderr).toBe(0)
        const rate = (MEGABYTES / (Date.now() - startedAt)) * 1_000
        console.info(`${from === there ? 'up' : 'down'}: ${rate.toFixed(0)} MB/s`)
      }
      await copy(there, 'plain:/tmp/there')
      const { stdout } = await ways.kubectl('proxy', [
        'exec',
        'plain',
        '--',
        'sha256sum',
        '/tmp/there',
      ])
      expect(stdout.toString().split(' ')[0]).toBe(await sha256OfFile(there))
      await copy('plain:/tmp/there', back)
      expect(await sha256OfFile(back)).toBe(await sha256OfFile(there))
    } finally {
      await stage.close()
    }
  })
})

async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
