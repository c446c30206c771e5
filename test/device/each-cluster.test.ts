import { afterEach, expect, test, vi } from 'vitest'
import {
  type ClusterRun,
  type EachOptions,
  exitCodeOfRuns,
  runOnEach,
} from '../../src/device/each-cluster.ts'
import { NotFoundError } from '../../src/errors.ts'
import { type FakeChild, fakeChildren } from './fake-children.ts'

afterEach(() => void vi.useRealTimers())

function targets(...names: string[]) {
  return names.map((name) => ({
    name,
    id: `c-${name}`,
    environment: async () => ({ MCM_CLUSTER: name }),
  }))
}

function run(
  names: readonly string[],
  play: (child: FakeChild) => void,
  options: Partial<EachOptions> = {},
) {
  const fake = fakeChildren(play)
  const runs = runOnEach(targets(...names), {
    start: fake.start,
    command: ['kubectl', 'version'],
    parallel: 10,
    signal: new AbortController().signal,
    lines: {},
    ...options,
  })
  return { ...fake, runs }
}

test('every cluster has its own environment, output and verdict, in the order given', async () => {
  const { runs, children } = run(['b', 'a', 'c'], (child) => {
    child.stdout.write(`from ${child.cluster}`)
    child.stderr.write('talk')
    if (child.cluster === 'b') child.end({ exitCode: 3 })
    else if (child.cluster === 'c') child.end({ signal: 'SIGSEGV' })
    else child.end()
  })
  const output = (name: string) => ({
    name,
    id: `c-${name}`,
    stdout: `from ${name}`,
    stderr: 'talk',
  })
  expect(await runs).toMatchObject([
    { ...output('b'), outcome: 'failed', exitCode: 3, problem: 'exit code 3' },
    { ...output('a'), outcome: 'succeeded', exitCode: 0 },
    { ...output('c'), outcome: 'failed', exitCode: null, problem: 'ended by SIGSEGV' },
  ])
  expect(children.map(({ command }) => command)).toEqual(Array(3).fill(['kubectl', 'version']))
})

test('no more run at a time than told, and the next begins when one ends', async () => {
  const seen: number[] = []
  const names = ['a', 'b', 'c', 'd', 'e']
  const fake = run(
    names,
    (child) => {
      seen.push(fake.running().length)
      setImmediate(() => child.end())
    },
    { parallel: 2 },
  )
  expect(await fake.runs).toHaveLength(5)
  expect(Math.max(...seen)).toBe(2)
})

test('lines go on as they come, and a reader that is slow holds the program back', async () => {
  const lines: string[] = []
  const gate = Promise.withResolvers<void>()
  const { runs, children } = run(['a'], () => {}, {
    lines: {
      stdout: async ({ name }, line) => {
        lines.push(`${name} ${line}`)
        if (lines.length === 1) await gate.promise
      },
    },
  })
  await vi.waitFor(() => expect(children).toHaveLength(1))
  const [child] = children
  child!.stdout.write('one\ntwo\r\nth')
  child!.stdout.write('ree')
  await vi.waitFor(() => expect(lines).toEqual(['a one']))
  let isFull = false
  while (!isFull) isFull = !child!.stdout.write(`${'x'.repeat(1000)}\n`)
  expect(lines).toEqual(['a one'])
  gate.resolve()
  child!.end()
  expect(await runs).toMatchObject([{ outcome: 'succeeded', stdout: '' }])
  expect(lines.slice(0, 3)).toEqual(['a one', 'a two', `a three${'x'.repeat(1000)}`])
})

test('Ctrl-C ends what runs and begins nothing more; what would not end is killed', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const controller = new AbortController()
  const { runs, children } = run(
    ['done', 'soft', 'hard', 'waiting'],
    (child) => {
      if (child.cluster === 'done') child.end()
      if (child.cluster === 'hard')
        child.onSignal = (signal) => signal === 'SIGKILL' && child.end({ signal })
    },
    { parallel: 3, signal: controller.signal, timeoutMs: 60_000 },
  )
  await vi.waitFor(() => expect(children.map(({ cluster }) => cluster)).toContain('waiting'))
  const late = children.find(({ cluster }) => cluster === 'waiting')!
  controller.abort()
  await vi.advanceTimersByTimeAsync(1_900)
  const hard = children.find(({ cluster }) => cluster === 'hard')!
  expect(hard.signals).toEqual(['SIGTERM'])
  await vi.advanceTimersByTimeAsync(200)
  expect(hard.signals).toEqual(['SIGTERM', 'SIGKILL'])
  expect(late.signals).toEqual(['SIGTERM'])
  expect((await runs).map(({ outcome }) => outcome)).toEqual([
    'succeeded',
    'interrupted',
    'interrupted',
    'interrupted',
  ])
  expect(vi.getTimerCount()).toBe(0)
})

test('what had not begun at Ctrl-C says so', async () => {
  const controller = new AbortController()
  const { runs, children } = run(['a', 'b'], () => controller.abort(), {
    parallel: 1,
    signal: controller.signal,
  })
  expect(await runs).toMatchObject([
    { outcome: 'interrupted', problem: 'it did not finish' },
    { outcome: 'interrupted', problem: 'it had not begun', durationMs: 0 },
  ])
  expect(children).toHaveLength(1)
})

test('a time limit is each cluster’s own', async () => {
  const { runs } = run(['fast', 'slow'], (child) => child.cluster === 'fast' && child.end(), {
    timeoutMs: 20,
  })
  expect(await runs).toMatchObject([
    { outcome: 'succeeded' },
    { outcome: 'timed out', problem: 'no end within 0.02 s', exitCode: null },
  ])
})

test('a program that is not there is one error for all, and nothing is left running', async () => {
  const missing = new NotFoundError('MCM_PROGRAM_UNKNOWN', 'there is no program kubectl in PATH')
  const { runs, running } = run(['a', 'b'], (child) => {
    if (child.cluster === 'a') child.fail(missing)
  })
  await expect(runs).rejects.toBe(missing)
  expect(running()).toEqual([])
})

test('a reader that fails ends everything', async () => {
  const closed = new Error('write EPIPE')
  const { runs, running } = run(['a', 'b'], (child) => child.stdout.write('line\n'), {
    lines: { stdout: () => Promise.reject(closed) },
  })
  await expect(runs).rejects.toBe(closed)
  expect(running()).toEqual([])
})

test('an output that is kept is bounded, and only its cluster fails', async () => {
  const chunk = Buffer.alloc(1 << 20, 'x')
  const { runs, children } = run(['flood', 'calm'], (child) => {
    if (child.cluster === 'calm') return child.end()
    const more = () => {
      while (!child.isOver && child.stdout.write(chunk));
      if (!child.isOver) child.stdout.once('drain', more)
    }
    more()
  })
  const [flood, calm] = await runs
  expect(flood).toMatchObject({
    outcome: 'failed',
    problem: 'printed more than 64 MiB',
    stdout: '',
  })
  expect(calm).toMatchObject({ outcome: 'succeeded' })
  expect(children[0]!.signals).toContain('SIGKILL')
})

test.each([
  [['succeeded', 'succeeded'], 0],
  [['succeeded', 'timed out'], 9],
  [['failed', 'timed out'], 10],
  [['failed'], 10],
] as const)('%j is exit code %i', (outcomes, exitCode) => {
  const runs = outcomes.map((outcome) => ({ outcome }) as ClusterRun)
  expect(exitCodeOfRuns(runs)).toBe(exitCode)
})
