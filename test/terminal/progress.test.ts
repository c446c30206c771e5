import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { openProgress } from '../../src/terminal/progress.ts'
import { openScreen, type ScreenStreams } from '../../src/terminal/screen.ts'

beforeEach(
  () =>
    void vi.useFakeTimers({
      toFake: ['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval', 'performance'],
    }),
)
afterEach(() => void vi.useRealTimers())

function streams(isTTY: boolean): ScreenStreams & { said(): string } {
  const stderr = Object.assign(new PassThrough(), { isTTY })
  const stdout = Object.assign(new PassThrough(), { isTTY })
  return { stdin: { isTTY }, stdout, stderr, said: () => String(stderr.read() ?? '') }
}

test('a quick step says nothing', async () => {
  const io = streams(false)
  await openProgress(openScreen(io, {})).step('quick', async () => 1)
  expect(io.said()).toBe('')
})

test('off a terminal a slow step is two plain lines', async () => {
  const io = streams(false)
  const slow = Promise.withResolvers<void>()
  const step = openProgress(openScreen(io, {})).step('waiting for the agent', () => slow.promise)
  await vi.advanceTimersByTimeAsync(1_001)
  slow.resolve()
  await step
  expect(io.said()).toBe('waiting for the agent …\nwaiting for the agent: done\n')
})

test('a step that fails is not called done', async () => {
  const io = streams(false)
  const slow = Promise.withResolvers<void>()
  const step = openProgress(openScreen(io, {})).step('waiting', () => slow.promise)
  const failed = expect(step).rejects.toThrow('no')
  await vi.advanceTimersByTimeAsync(1_001)
  slow.reject(new Error('no'))
  await failed
  expect(io.said()).toBe('waiting …\n')
})

test('on a terminal one line moves, and is gone at the end', async () => {
  const io = streams(true)
  const slow = Promise.withResolvers<void>()
  const progress = openProgress(openScreen(io, { NO_COLOR: '1' }))
  const step = progress.step('waiting\u001b[2J', () => slow.promise)
  await vi.advanceTimersByTimeAsync(1_500)
  progress.say('one cluster is down')
  slow.resolve()
  await step
  const said = io.said()
  expect(said).toContain('waiting 1 s')
  expect(said).toContain('one cluster is down\n')
  expect(said.endsWith('\r\u001b[2K')).toBe(true)
  expect(said).not.toContain('\u001b[2J')
})

test('with --json steps are silent', async () => {
  const io = streams(true)
  const slow = Promise.withResolvers<void>()
  const step = openProgress(openScreen(io, {}), { quiet: true }).step('x', () => slow.promise)
  await vi.advanceTimersByTimeAsync(5_000)
  slow.resolve()
  await step
  expect(io.said()).toBe('')
})

test('nothing of somebody else’s text moves the cursor, with --json neither', () => {
  for (const quiet of [false, true]) {
    const io = streams(false)
    openProgress(openScreen(io, {}), { quiet }).say(
      'open https://id.example.com/\u001b[2J\u202e now',
    )
    expect(io.said()).toBe('open https://id.example.com/ now\n')
  }
})
