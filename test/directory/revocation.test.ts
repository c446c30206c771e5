import { beforeEach, expect, test } from 'vitest'
import { Directory } from '../../src/directory/directory.ts'
import { revocationDetails } from '../../src/directory/revocation.ts'
import { generateSigningKey } from '../../src/directory/signing-key.ts'
import { visibleDetails } from '../../src/directory/visibility.ts'
import { Fleet, hubDraft } from './fleet.ts'

let fleet: Fleet

beforeEach(async () => {
  fleet = await Fleet.found()
})

test('a user or device that is no admin is revoked by one statement', async () => {
  const bob = await fleet.admit('bob')
  const reason = 'left'
  expect(revocationDetails(fleet.state, { user: 'bob' }, reason)).toEqual([
    { type: 'revoke', detail: { user: 'bob', reason } },
  ])
  expect(revocationDetails(fleet.state, { device: bob.id }, reason)).toEqual([
    { type: 'revoke', detail: { device: bob.id, reason } },
  ])
})

test('an admin stops being one for everybody, also for those who are not shown the revocation', async () => {
  const [laptop, phone] = [await fleet.admit('bob'), await fleet.admit('bob')]
  for (const { id } of [laptop, phone]) await fleet.admin('add', 'bob', id)
  const carol = await fleet.admit('carol')
  const ofLaptop = revocationDetails(fleet.state, { device: laptop.id }, '')
  expect(ofLaptop.map(({ type }) => type)).toEqual(['admin', 'revoke'])
  for (const draft of revocationDetails(fleet.state, { user: 'bob' }, '')) await fleet.append(draft)
  expect([...fleet.state.admins.keys()]).toEqual([fleet.alice.id])
  const details = visibleDetails(fleet.directory, { kind: 'device', key: carol.id })
  const page = { ...fleet.directory.page(-1), details }
  const copy = await Directory.restore(fleet.directory.fleet!, page)
  expect([...copy.state.admins.keys()]).toEqual([fleet.alice.id])
  const { statement, detail } = await fleet.sign(hubDraft(['evil:1']), [laptop])
  const update = { statements: [statement.text], details: [detail] }
  await expect(copy.extend(update)).rejects.toMatchObject({ code: 'MCM_DIRECTORY_INVALID' })
})

test('an admin’s key that another user joined with is removed first, whichever of both is revoked', async () => {
  const device = generateSigningKey()
  await fleet.admin('add', 'bob', device.id)
  await fleet.join('eve', await fleet.invite('eve'), device)
  const removal = { type: 'admin', detail: { action: 'remove', user: 'bob', key: device.id } }
  for (const user of ['bob', 'eve'])
    expect(revocationDetails(fleet.state, { user }, '')[0]).toEqual(removal)
})

test('an admin who was revoked and not removed is named as stranded', async () => {
  const bob = await fleet.admit('bob')
  await fleet.admin('add', 'bob', bob.id)
  expect(fleet.directory.strandedAdmins.size).toBe(0)
  await fleet.revoke({ device: bob.id })
  expect([...fleet.directory.strandedAdmins]).toEqual([bob.id])
})
