import { expect, test } from 'vitest'
import { displayWidth, plainLine, truncate, withoutLinkSecrets } from '../../src/terminal/text.ts'

test('escape sequences, line ends and direction overrides of others never reach the screen', () => {
  expect(plainLine('a\u001b[2J\u001b]0;title\u0007b\r\nc\u202ed')).toBe('ab  cd')
  expect(plainLine('bell\u0007 null\u0000 del\u007f c1\u009b31m')).not.toMatch(
    /[\u0000-\u001f\u007f-\u009f]/,
  )
})

test('width counts columns: wide characters two, marks and colours none', () => {
  expect(displayWidth('abc')).toBe(3)
  expect(displayWidth('集群')).toBe(4)
  expect(displayWidth('e\u0301')).toBe(1)
  expect(displayWidth('\u001b[31mred\u001b[39m')).toBe(3)
})

test('cut text shows that it was cut and never exceeds its width', () => {
  expect(truncate('abcdef', 4)).toBe('abc…')
  expect(truncate('集群集群', 4)).toBe('集…')
  expect(truncate('abcd', 4)).toBe('abcd')
  expect(truncate('abcd', 0)).toBe('')
})

test('the secret of a link is never shown again', () => {
  const text = withoutLinkSecrets(
    'bad mcm://h:1/join#pin=a&secret=TOP and mcm://h:1/start#token=TOP',
  )
  expect(text).toBe('bad mcm://h:1/join#… and mcm://h:1/start#…')
})
