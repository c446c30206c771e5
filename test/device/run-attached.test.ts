import { expect, test } from 'vitest'
import type { ChildClusters } from '../../src/device/child-clusters.ts'
import { runAttached } from '../../src/device/run-attached.ts'
import type { ClusterRecord } from '../../src/directory/state.ts'
import { fakeChildren } from './fake-children.ts'

function attach(sharesTerminal: boolean, signal = new AbortController().signal) {
  const { start, children } = fakeChildren()
  let take = (_signal: NodeJS.Signals) => {}
  let removed = 0
  const clusters: ChildClusters = {
    mode: 'exec',
    clusters: [{ name: 'ack' }, { name: 'edge' }] as ClusterRecord[],
    environment: async (_clusters, current) => ({ MCM_CLUSTER: current?.name }),
    remove: () => {
      removed += 1
    },
  }
  const takeSignals = (taker: typeof take) => {
    take = taker
  }
  return {
    children,
    run: (current?: number) =>
      runAttached(
        clusters,
        ['helm', 'list'],
        { start, takeSignals, signal, sharesTerminal },
        current,
      ),
    send: (signal: NodeJS.Signals) => take(signal),
    removed: () => removed,
  }
}

test('the program has the person’s own terminal, and its end is given back', async () => {
  const { run, children, removed } = attach(false)
  const end = run(1)
  await expect.poll(() => children).toHaveLength(1)
  expect(children[0]!.options).toEqual({ env: { MCM_CLUSTER: 'edge' }, kind: 'attached' })
  expect(removed()).toBe(0)
  children[0]!.end({ exitCode: 7 })
  expect(await end).toEqual({ exitCode: 7, signal: null })
  expect(removed()).toBe(1)
})

test('signals go to the program, which decides what they mean', async () => {
  const { run, children, send } = attach(false)
  const end = run()
  await expect.poll(() => children).toHaveLength(1)
  const [child] = children
  child!.onSignal = (signal) => signal === 'SIGTERM' && child!.end({ exitCode: 0 })
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGTERM'] as const) send(signal)
  expect(await end).toEqual({ exitCode: 0, signal: null })
  expect(child!.signals).toEqual(['SIGINT', 'SIGHUP', 'SIGTERM'])
})

test('what the keyboard sends to both is not sent a second time', async () => {
  const { run, children, send } = attach(true)
  const end = run()
  await expect.poll(() => children).toHaveLength(1)
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGTERM'] as const) send(signal)
  expect(await end).toEqual({ exitCode: null, signal: 'SIGTERM' })
  expect(children[0]!.signals).toEqual(['SIGTERM'])
})

test('what was interrupted before it began does not begin', async () => {
  const { run, children, removed } = attach(false, AbortSignal.abort())
  await expect(run()).rejects.toThrow('aborted')
  expect(children).toEqual([])
  expect(removed()).toBe(1)
})

test('a program that cannot be started leaves no file behind', async () => {
  const { run, children, removed } = attach(false)
  const end = run()
  await expect.poll(() => children).toHaveLength(1)
  children[0]!.fail(new Error('not there'))
  await expect(end).rejects.toThrow('not there')
  expect(removed()).toBe(1)
})
