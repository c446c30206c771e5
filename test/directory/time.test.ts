import { expect, test } from 'vitest'
import { formatTime, parseTime } from '../../src/directory/time.ts'

test('a time is written in seconds and read back', () => {
  const time = new Date('2026-01-02T03:04:05.678Z')
  expect(formatTime(time)).toBe('2026-01-02T03:04:05Z')
  expect(parseTime('2026-01-02T03:04:05Z')).toEqual(new Date('2026-01-02T03:04:05Z'))
})

test('a time in any other form is none', () => {
  for (const text of [
    '',
    '2026-01-02',
    '2026-01-02T03:04:05',
    '2026-01-02T03:04:60Z',
    '2026-13-01T00:00:00Z',
    '2026-01-02t03:04:05z',
  ])
    expect(parseTime(text), text).toBeUndefined()
})
