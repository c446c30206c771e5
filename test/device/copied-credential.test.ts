import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { readCertificateFile } from '../../src/device/certificate-file.ts'
import { markedCopied } from '../../src/device/copied-credential.ts'
import { credentialFor } from '../../src/device/credentials.ts'
import { certificatePath } from '../../src/device/home.ts'
import { withFileLock } from '../../src/store/files.ts'
import type { FakeAgent } from './fake-agent.ts'
import { HOUR, type TestFleet } from './fleet.ts'
import { eachWithCluster } from './scene.ts'

let fleet: TestFleet
let agent: FakeAgent

eachWithCluster((founded, registered) => {
  fleet = founded
  agent = registered
})

const path = () => certificatePath(fleet.ada.home, agent.id)

test('a certificate that was renewed meanwhile stays, and is the one that a kubeconfig gets', async () => {
  const first = await credentialFor(fleet.ada, agent.id)
  fleet.world.advance(8 * HOUR + 60_000)
  const second = await credentialFor(fleet.ada, agent.id)
  const copied = await markedCopied(fleet.ada, agent.id, first)
  expect(copied).toMatchObject({ fingerprint: second.fingerprint })
  const file = await readCertificateFile(path())
  expect(file).toMatchObject({ fingerprint: second.fingerprint, isCopied: true })
})

test('nothing is marked while somebody renews', async () => {
  const credential = await credentialFor(fleet.ada, agent.id)
  let marked: Promise<unknown> | undefined
  await withFileLock(path(), async () => {
    const before = await readFile(path(), 'utf8')
    let isDone = false
    marked = markedCopied(fleet.ada, agent.id, credential).then(() => {
      isDone = true
    })
    for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate)
    expect(isDone).toBe(false)
    expect(await readFile(path(), 'utf8')).toBe(before)
  })
  await marked
  expect(await readCertificateFile(path())).toMatchObject({ isCopied: true })
})
