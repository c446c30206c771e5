import { expect, test } from 'vitest'
import { renderFields, renderTable } from '../../src/terminal/table.ts'

const columns = [
  { title: 'name', cell: (row: { name: string; text: string }) => row.name, isFixed: true },
  { title: 'text', cell: (row: { name: string; text: string }) => row.text },
]
const rows = [
  { name: 'idc-k8s', text: 'in the data centre behind two firewalls' },
  { name: '集群', text: 'b' },
]

test('columns line up, also behind wide characters', () => {
  expect(renderTable(rows, columns, Number.POSITIVE_INFINITY)).toBe(
    'NAME      TEXT\nidc-k8s   in the data centre behind two firewalls\n集群      b\n',
  )
})

test('a narrow terminal cuts what may give way and keeps the names', () => {
  const text = renderTable(rows, columns, 24)
  for (const line of text.trimEnd().split('\n')) expect(line.length).toBeLessThanOrEqual(24)
  expect(text).toContain('idc-k8s   in the data c…')
})

test('painting a cell does not move the next column', () => {
  const painted = renderTable(
    rows,
    [{ ...columns[0]!, style: (text) => `\u001b[1m${text}\u001b[22m` }, columns[1]!],
    80,
  )
  expect(painted).toContain('\u001b[1midc-k8s\u001b[22m   in the')
})

test('no rows, no table', () => {
  expect(renderTable([], columns, 80)).toBe('')
})

test('a hostile name cannot move the cursor', () => {
  expect(renderTable([{ name: 'a\u001b[1A\nb', text: '' }], columns, 80)).toBe('NAME   TEXT\na b\n')
})

test('fields line up and absent ones are left out', () => {
  expect(renderFields({ user: 'ack', 'fleet key': undefined, device: 'x' })).toBe(
    'user:     ack\ndevice:   x\n',
  )
})
