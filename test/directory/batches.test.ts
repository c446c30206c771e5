import { expect, test } from 'vitest'
import { batches } from '../../src/directory/batches.ts'

const LENGTH = 1 << 15
const statements = Array.from({ length: 64 }, (_, index) => `${index}`.padEnd(LENGTH, 'x'))
const lengths = (all: Iterable<{ readonly statements: readonly string[] }>) =>
  [...all].map((batch) => batch.statements.length)

test('a batch is of a mebibyte, and everything is in one, in its order', () => {
  const all = [...batches({ statements, details: [] }, 4)]
  expect(lengths(all)).toEqual([32, 32])
  expect(all.flatMap((batch) => batch.statements)).toEqual(statements)
})

test('one who may not have the time is brought little first', () => {
  expect(lengths(batches({ statements, details: [] }, 4, { isGrowing: true }))).toEqual([
    2, 4, 8, 16, 32, 2,
  ])
})

test('a batch of statements goes on to where it may end', () => {
  const mayEnd = (seq: number) => seq === 60
  expect(lengths(batches({ statements, details: [] }, 4, { mayEnd }))).toEqual([56, 8])
})

test('details of statements that are known come first, in batches of their own where they are many', () => {
  const detail = (seq: number) => ({ seq, salt: 's', text: 'y'.repeat(LENGTH) })
  const details = Array.from({ length: 5 }, (_, seq) => detail(seq))
  const all = [
    ...batches({ statements: statements.slice(0, 1), details: [...details, detail(5)] }, 4, {
      mayEnd: () => false,
      isGrowing: true,
    }),
  ]
  expect(all.map((batch) => batch.details.map(({ seq }) => seq))).toEqual([
    [0, 1],
    [2, 3, 4, 5],
  ])
  expect(lengths(all)).toEqual([0, 1])
})
