import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import type { ClusterRun } from '../../src/device/each-cluster.ts'
import { openEachScreen } from '../../src/terminal/each-screen.ts'
import {
  linePrefixer,
  runsDocument,
  viewFailedRuns,
  viewRunning,
} from '../../src/terminal/each-views.ts'
import { openScreen } from '../../src/terminal/screen.ts'

function streams(isTTY: boolean) {
  const stdout = Object.assign(new PassThrough(), { isTTY, columns: 80 })
  const stderr = Object.assign(new PassThrough(), { isTTY })
  const screen = openScreen({ stdin: { isTTY }, stdout, stderr }, {})
  const read = (stream: PassThrough) => String(stream.read() ?? '')
  return { screen, printed: () => read(stdout), said: () => read(stderr) }
}

function run(name: string, more: Partial<ClusterRun> = {}): ClusterRun {
  const output = { stdout: '', stderr: '', durationMs: 12 }
  return { name, id: `c-${name}`, outcome: 'succeeded', exitCode: 0, ...output, ...more }
}

const failed = { outcome: 'failed', exitCode: 1, problem: 'exit code 1' } as const

test('names are as wide as the widest, and coloured only on a terminal', () => {
  const plain = linePrefixer(['ack', 'edge-1'], streams(false).screen.style, false)
  expect(plain('ack', 'x')).toBe('ack    | x')
  expect(plain('edge-1', 'x')).toBe('edge-1 | x')
  const coloured = linePrefixer(['ack', 'edge-1'], streams(true).screen.style, true)
  expect(coloured('ack', 'x')).toBe('\u001b[36mack   \u001b[39m | x')
})

test('on a terminal no cluster can write into the line of another; elsewhere bytes stay', () => {
  const evil = '\u001b[1A\r\u001b[2Kedge | fine\tx'
  const terminal = linePrefixer(['ack'], streams(false).screen.style, true)
  expect(terminal('ack', evil)).toBe('ack |  edge | fine\tx')
  expect(linePrefixer(['ack'], streams(false).screen.style, false)('ack', evil)).toBe(
    `ack | ${evil}`,
  )
})

test('an answer of -o json is an object in the document, and text where it is none', () => {
  const command = ['kubectl', 'get', 'pods', '-o', 'json']
  const runs = [run('a', { stdout: '{"items":[]}' }), run('b', { stdout: 'oops', ...failed })]
  expect(runsDocument(runs, command)).toEqual({
    clusters: [
      {
        name: 'a',
        id: 'c-a',
        outcome: 'succeeded',
        exitCode: 0,
        object: { items: [] },
        stderr: '',
        durationMs: 12,
      },
      { name: 'b', id: 'c-b', ...failed, stdout: 'oops', stderr: '', durationMs: 12 },
    ],
  })
  expect(runsDocument([run('a', { stdout: '1' })], ['echo'])).toMatchObject({
    clusters: [{ stdout: '1' }],
  })
})

test('failures are counted and named at the end; nothing is said of success', () => {
  const { screen } = streams(false)
  expect(viewFailedRuns([run('a')], screen)).toBe('')
  expect(viewFailedRuns([run('a'), run('edge-1', failed), run('b', failed)], screen)).toBe(
    'mcm: 2 of 3 clusters failed\n  edge-1   exit code 1\n  b        exit code 1\n',
  )
  const interrupted = {
    outcome: 'interrupted',
    exitCode: null,
    problem: 'it did not finish',
  } as const
  expect(viewFailedRuns([run('a', interrupted)], screen)).toBe(
    'mcm: interrupted: 1 of 1 cluster did not finish\n  a   it did not finish\n',
  )
})

test('the moving line names a few of those that run', () => {
  expect(viewRunning(['a', 'b', 'c', 'd'], 12)).toBe('12 clusters: running on a, b, c, …')
  expect(viewRunning(['a'], 1)).toBe('1 cluster: running on a')
})

test('merged output is one table, then what was no table, then failures', async () => {
  const { screen, printed, said } = streams(false)
  let cleared = 0
  const progress = { clear: () => void cleared++ }
  const shown = openEachScreen(screen, progress, ['a', 'b', 'c'], true)
  expect(Object.keys(shown.lines)).toEqual(['stderr'])
  await shown.lines.stderr!({ name: 'b', id: '', environment: async () => ({}) }, 'Warning: x')
  await shown.finish([
    run('a', { stdout: 'NAME\nx\n' }),
    run('b', { stdout: 'odd\ntext\n' }),
    run('c', failed),
  ])
  expect(printed()).toBe('CLUSTER   NAME\na         x\nb | odd\nb | text\n')
  expect(said()).toBe('b | Warning: x\nmcm: 1 of 3 clusters failed\n  c   exit code 1\n')
  expect(cleared).toBeGreaterThan(0)
})
