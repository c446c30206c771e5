import { expect, test } from 'vitest'
import type { RemovedDevice } from '../../src/device/devices.ts'
import { viewRemovedDevice } from '../../src/terminal/device-views.ts'

const ID = 'd'.repeat(43)
const removed = (changes: Partial<RemovedDevice> = {}): RemovedDevice => ({
  ...{ user: 'ann@example.com', id: ID, name: 'laptop', isSigned: false, problems: [] },
  ...changes,
})
const problems = [{ cluster: 'idc', problem: 'no agent\u001b[2J is connected' }]

test('a device that is gone everywhere is no more', () => {
  expect(viewRemovedDevice(removed())).toBe(
    'device laptop (dddddddd) of ann@example.com is no more\n',
  )
})

test('one that some cluster was not told of is not called gone, and who can end it is said', () => {
  const text = viewRemovedDevice(removed({ problems }))
  expect(text).not.toContain('is no more')
  expect(text).toContain(`mcm devices remove ${ID} --user ann@example.com`)
  expect(viewRemovedDevice(removed({ problems, isSigned: true }))).toContain('is no more')
})

test('neither a stranger’s name for it nor an agent’s sentence moves the cursor', () => {
  const text = viewRemovedDevice(removed({ name: '\u001b]0;x\u0007\rlaptop\u202e', problems }))
  expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
})
