import { expect, test } from 'vitest'
import { mergeTables } from '../../src/terminal/merged-table.ts'

const ONE = `NAME     STATUS   NOMINATED NODE
web-0    Running  <none>
web-10            node 1
`

test('rows of all clusters stand in one table behind the cluster, in kubectl’s looks', () => {
  const other = 'NAME   STATUS    NOMINATED NODE\ndb     Pending   <none>\n'
  expect(
    mergeTables([
      { name: 'ack', stdout: ONE },
      { name: 'edge-1', stdout: other },
      { name: 'empty', stdout: '' },
    ]),
  ).toEqual({
    text: `CLUSTER   NAME     STATUS    NOMINATED NODE
ack       web-0    Running   <none>
ack       web-10             node 1
edge-1    db       Pending   <none>
`,
    unread: [],
  })
})

test('other columns make another table', () => {
  const stdout = 'NAME    READY\npod/a   1/1\n\nNAME    TYPE\nsvc/a   ClusterIP\n'
  const { text } = mergeTables([
    { name: 'a', stdout },
    { name: 'b', stdout },
  ])
  expect(text).toBe(`CLUSTER   NAME    READY
a         pod/a   1/1
b         pod/a   1/1

CLUSTER   NAME    TYPE
a         svc/a   ClusterIP
b         svc/a   ClusterIP
`)
})

test('a long list that has grown wider than its titles is read at its gaps', () => {
  const stdout = 'NAME   STATUS   AGE\na      Active   5s\na-very-long-name   Active   10s\n'
  expect(mergeTables([{ name: 'x', stdout }]).text).toContain(
    'x         a-very-long-name   Active   10s\n',
  )
})

test('characters are counted, not bytes', () => {
  const stdout = 'NAME    VALUE\nŁukasz  a b\n'
  expect(mergeTables([{ name: 'x', stdout }]).text).toMatch(/^x +Łukasz +a b$/m)
})

test.each(['ok\n', 'NAME   AGE\nno columns at all here\n', 'Name A\n{"a":1}\n\nb\n'])(
  'what is no table is given back: %j',
  (stdout) =>
    expect(mergeTables([{ name: 'x', stdout }])).toEqual({
      text: '',
      unread: [{ name: 'x', stdout }],
    }),
)

test('a cell cannot move the cursor', () => {
  const stdout = 'NAME\n\u001b[2Kevil\u0007\n'
  expect(mergeTables([{ name: 'x', stdout }]).text).toBe('CLUSTER   NAME\nx         evil\n')
})
