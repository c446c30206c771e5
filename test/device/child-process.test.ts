import { expect, test } from 'vitest'
import { type ChildOptions, startChild, startUntilExit } from '../../src/device/child-process.ts'
import { linesOf, textOf } from '../../src/device/output-lines.ts'
import { fakeChildren } from './fake-children.ts'

const detached: ChildOptions = { env: { PATH: process.env['PATH'] }, kind: 'detached' }

test('a detached program has its environment and no input, and all it says is read', async () => {
  const env = { ...detached.env, MCM_CLUSTER: 'ack', ABSENT: undefined }
  const script = 'read line || echo "no input"; echo $MCM_CLUSTER$ABSENT >&2; exit 4'
  const child = startChild(['sh', '-c', script], { ...detached, env })
  const output = [textOf(child.stdout!, 1000), textOf(child.stderr!, 1000), child.ended]
  expect(await Promise.all(output)).toEqual(['no input\n', 'ack\n', { exitCode: 4, signal: null }])
})

test('a signal ends it with everything it has started', async () => {
  const child = startChild(['sh', '-c', 'sleep 600 & echo $!; wait'], detached)
  const { value } = await linesOf(child.stdout!).next()
  process.kill(Number(value), 0)
  child.kill('SIGKILL')
  expect(await child.ended).toEqual({ exitCode: null, signal: 'SIGKILL' })
  child.kill('SIGKILL')
})

test.each([
  [['no-such-program'], 'there is no program no-such-program in PATH', 'MCM_PROGRAM_UNKNOWN'],
  [['/no/such'], 'there is no program /no/such', 'MCM_PROGRAM_UNKNOWN'],
  [['/tmp'], '/tmp cannot be run: spawn /tmp EACCES', 'MCM_USAGE'],
])('%j cannot be started, and it is said why', async (command, message, code) => {
  await expect(startChild(command, detached).ended).rejects.toMatchObject({ message, code })
})

test('kubectl that is missing comes with the place to get it', async () => {
  const options = { ...detached, env: { PATH: '/nowhere' } }
  await expect(startChild(['kubectl'], options).ended).rejects.toMatchObject({
    message: 'there is no program kubectl in PATH',
    hint: 'install it: https://kubernetes.io/docs/tasks/tools/#kubectl',
  })
})

test('what still runs when this process ends is killed with it, and nothing else', async () => {
  let atExit = () => {}
  const { start, children } = fakeChildren()
  const startUntil = startUntilExit(start, (work) => {
    atExit = work
  })
  startUntil(['a'], detached)
  startUntil(['b'], detached)
  children[0]!.end()
  await children[0]!.ended
  atExit()
  expect(children.map(({ signals }) => signals)).toEqual([[], ['SIGKILL']])
})
