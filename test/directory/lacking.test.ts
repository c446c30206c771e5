import { expect, test } from 'vitest'
import { lackingDetails, readLacking } from '../../src/directory/lacking.ts'
import { namedHeadSchema } from '../../src/protocol/messages.ts'
import { Fleet } from './fleet.ts'

/** A directory of so many statements, of which the details of some are hidden. */
function directoryOf(length: number, hidden: readonly number[]): string {
  const numbers = Array.from({ length }, (_, seq) => seq)
  const statements = numbers.map((seq) => ({ ...statement, seq }))
  const details = new Map(
    numbers.filter((seq) => !hidden.includes(seq)).map((seq) => [seq, { seq, salt: '', text: '' }]),
  )
  return lackingDetails({ statements, details })
}

const statement = (await Fleet.found()).directory.statements[0]!

function numbersIn(text: string, length: number): number[] {
  return Array.from({ length }, (_, seq) => seq).filter(readLacking(text))
}

test('every statement without its detail is named, and no other', () => {
  const hidden = [0, 7, 8, 9, 63, 64, 99]
  const text = directoryOf(100, hidden)
  expect(numbersIn(text, 1_000)).toEqual(hidden)
})

test('whoever has everything says nothing, however long the directory is', () => {
  expect(directoryOf(10_000, [])).toBe('')
  expect(numbersIn('', 100)).toEqual([])
})

test('the form is fixed: the lowest bit of a byte comes first, bytes of zeros at the end are left out', () => {
  expect(directoryOf(1_000, [0])).toBe('AQ')
  expect(directoryOf(1_000, [3, 17])).toBe(Buffer.from([8, 0, 2]).toString('base64url'))
})

test('all the details of 10 000 statements are less than 2 KB, and fit the message', () => {
  const all = Array.from({ length: 10_000 }, (_, seq) => seq)
  const lacks = directoryOf(10_000, all)
  expect(lacks.length).toBeLessThan(2_048)
  expect(numbersIn(lacks, 10_001)).toEqual(all)
  expect(namedHeadSchema.parse({ head: null, lacks })).toEqual({ head: null, lacks })
})

test('what is no base64url, or longer than a directory can be, is no answer of an agent', () => {
  const refused = ['A=', 'A+', ' ', 'A'.repeat((1 << 20) + 1), [1]]
  for (const lacks of refused)
    expect(namedHeadSchema.safeParse({ head: null, lacks }).success).toBe(false)
})
