import { expect, test } from 'vitest'
import { forget } from './many-changes.ts'
import { NS, stage } from './stage.ts'

const on = stage()
const MAPS = `${NS}/configmaps`
const make = (name: string, labels: object = {}) => on.post(MAPS, { metadata: { name, labels } })
const drop = (name: string) => on.ask({ method: 'DELETE', path: `${MAPS}/${name}` })
const relabel = (name: string, labels: object) =>
  on.ask({
    method: 'PATCH',
    path: `${MAPS}/${name}`,
    contentType: 'application/merge-patch+json',
    body: { metadata: { labels } },
  })

async function revision(): Promise<string> {
  const { json } = await on.get(MAPS)
  return (json as { metadata: { resourceVersion: string } }).metadata.resourceVersion
}

test('a watch without a revision begins with what is there', async () => {
  await make('there')
  const watching = await on.follow(`${MAPS}?watch=1&fieldSelector=metadata.name%3Dthere`)
  expect(await watching.next()).toMatchObject({
    type: 'ADDED',
    object: { metadata: { name: 'there' } },
  })
  watching.close()
})

test('a watch from a revision misses nothing and repeats nothing', async () => {
  const from = await revision()
  await make('r1')
  await make('r2')
  const watching = await on.follow(`${MAPS}?watch=1&resourceVersion=${from}`)
  await make('r3')
  const names = [await watching.next(), await watching.next(), await watching.next()].map(
    ({ object }) => object.metadata.name,
  )
  expect(names).toEqual(['r1', 'r2', 'r3'])
  watching.close()
})

test('an object that leaves the selection is DELETED from it, one that enters is ADDED', async () => {
  const from = await revision()
  const watching = await on.follow(`${MAPS}?watch=1&labelSelector=in%3Dyes&resourceVersion=${from}`)
  await make('s', { in: 'no' })
  await relabel('s', { in: 'yes' })
  await relabel('s', { x: 'y' })
  await relabel('s', { in: 'no' })
  await drop('s')
  await make('end', { in: 'yes' })
  const types: string[] = []
  for (let index = 0; index < 4; index++) types.push((await watching.next()).type)
  expect(types).toEqual(['ADDED', 'MODIFIED', 'DELETED', 'ADDED'])
  watching.close()
})

test('a change that changes nothing is no event', async () => {
  await make('same')
  const from = await revision()
  const watching = await on.follow(`${MAPS}?watch=1&resourceVersion=${from}`)
  await relabel('same', {})
  await make('after-same')
  expect((await watching.next()).object.metadata.name).toBe('after-same')
  watching.close()
})

test('a streamed list ends its first part with the bookmark that says so', async () => {
  const watching = await on.follow(
    `/api/v1/namespaces?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`,
  )
  for (let index = 0; index < 4; index++) expect((await watching.next()).type).toBe('ADDED')
  expect(await watching.next()).toMatchObject({
    type: 'BOOKMARK',
    object: {
      kind: 'Namespace',
      metadata: { annotations: { 'k8s.io/initial-events-end': 'true' } },
    },
  })
  watching.close()
})

test('a revision from before what is remembered is an ERROR event of 410', async () => {
  const oldRevision = await forget(on)
  const watching = await on.follow(`${MAPS}?watch=1&resourceVersion=${oldRevision}`)
  expect(await watching.next()).toMatchObject({
    type: 'ERROR',
    object: { code: 410, reason: 'Expired' },
  })
  await watching.ended
})

test('a watch ends when its time is up, with a last bookmark for those who want one', async () => {
  const watching = await on.follow(
    `${MAPS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion=${await revision()}`,
  )
  expect((await watching.next()).type).toBe('BOOKMARK')
  await watching.ended
})

test('a client that goes away leaves nothing behind', async () => {
  const watching = await on.follow(`${MAPS}?watch=1&resourceVersion=${await revision()}`)
  watching.close()
  await watching.ended
  const path = `${MAPS}?watch=1`
  await expect
    .poll(
      () =>
        on.sandbox
          .auditEvents()
          .filter((one) => one.requestURI.startsWith(path) && one.stage === 'ResponseStarted')
          .length -
        on.sandbox
          .auditEvents()
          .filter((one) => one.requestURI.startsWith(path) && one.stage === 'ResponseComplete')
          .length,
    )
    .toBe(0)
})
