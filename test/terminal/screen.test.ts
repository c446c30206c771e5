import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { openScreen } from '../../src/terminal/screen.ts'

function screen(isTTY: boolean, env: Record<string, string> = {}) {
  const stdout = Object.assign(new PassThrough(), { isTTY, columns: 100 })
  const stderr = Object.assign(new PassThrough(), { isTTY })
  return { stdout, stderr, ...openScreen({ stdin: { isTTY }, stdout, stderr }, env) }
}

test('a terminal gets colour and its own width', () => {
  const { style, width, isInteractive } = screen(true)
  expect(style.red('x')).toBe('\u001b[31mx\u001b[39m')
  expect([width, isInteractive]).toEqual([100, true])
})

test('off a terminal nothing is coloured and nothing is cut', () => {
  const { style, talkStyle, width, isWatched } = screen(false, { FORCE_COLOR: '3' })
  expect(style.red('x') + talkStyle.red('y')).toBe('xy')
  expect([width, isWatched]).toEqual([Number.POSITIVE_INFINITY, false])
})

test('NO_COLOR and dumb terminals switch colour off', () => {
  expect(screen(true, { NO_COLOR: '1' }).style.red('x')).toBe('x')
  expect(screen(true, { TERM: 'dumb' }).style.red('x')).toBe('x')
})

test('data goes to stdout, talk to stderr, each line ended', () => {
  const io = screen(false)
  io.print('data')
  io.say('talk\n')
  expect([String(io.stdout.read()), String(io.stderr.read())]).toEqual(['data\n', 'talk\n'])
})
