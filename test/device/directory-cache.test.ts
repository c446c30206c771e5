import { readFile, rm, writeFile } from 'node:fs/promises'
import { describe, expect, test, vi } from 'vitest'
import { appendStatements, signDrafts } from '../../src/device/append.ts'
import {
  keepDirectory,
  loadDirectory,
  offlineDirectory,
  writeDirectory,
} from '../../src/device/directory-cache.ts'
import { verifiedDirectory } from '../../src/device/directory-check.ts'
import { type FleetSession, withFleet } from '../../src/device/fleet-session.ts'
import { requireState, writeState } from '../../src/device/state.ts'
import { Directory } from '../../src/directory/directory.ts'
import { asAda, inviteLink, type TestFleet } from './fleet.ts'
import { eachWithFleet } from './scene.ts'

let fleet: TestFleet

eachWithFleet((founded) => {
  fleet = founded
})

/** The hub as it was before the last statement. */
async function earlierHub(): Promise<Directory> {
  const { statements } = fleet.hub.directory
  const texts = statements.slice(0, -1).map(({ text }) => text)
  const details = [...fleet.hub.directory.details.values()].filter(({ seq }) => seq < texts.length)
  return Directory.empty().extend({ statements: texts, details })
}

const sync = () => withFleet(fleet.ada, async ({ directory }) => directory.head)

test('a hub that shows an older directory is refused', async () => {
  await inviteLink(fleet, 'bob')
  fleet.hub.directory = await earlierHub()
  await expect(sync()).rejects.toMatchObject({ code: 'MCM_DIRECTORY_ROLLED_BACK', exitCode: 7 })
})

test('also when the copy on this machine is gone: the head was remembered apart from it', async () => {
  await inviteLink(fleet, 'bob')
  fleet.hub.directory = await earlierHub()
  await rm(fleet.ada.home.directoryCache)
  await expect(sync()).rejects.toMatchObject({ code: 'MCM_DIRECTORY_ROLLED_BACK' })
})

test('a fork of the same length is refused, with the copy and without', async () => {
  await inviteLink(fleet, 'bob')
  const honest = fleet.hub.directory
  const copy = await readFile(fleet.ada.home.directoryCache, 'utf8')
  const state = await readFile(fleet.ada.home.state, 'utf8')
  // Another history from the same beginning, signed by the same administrator.
  fleet.hub.directory = await earlierHub()
  await rm(fleet.ada.home.directoryCache)
  const before = { ...JSON.parse(state), head: { ...fleet.hub.directory.head } }
  await writeFile(fleet.ada.home.state, JSON.stringify(before))
  await inviteLink(fleet, 'carol')
  expect(fleet.hub.directory.head?.seq).toBe(honest.head?.seq)
  await writeFile(fleet.ada.home.state, state)
  await rm(fleet.ada.home.directoryCache)
  await expect(sync()).rejects.toMatchObject({ code: 'MCM_DIRECTORY_ROLLED_BACK' })
  await writeFile(fleet.ada.home.directoryCache, copy)
  await expect(sync()).rejects.toMatchObject({ exitCode: 7 })
})

test('a damaged copy is fetched and verified again', async () => {
  const head = await sync()
  await writeFile(fleet.ada.home.directoryCache, '{"head":')
  const state = await requireState(fleet.ada.home)
  expect((await loadDirectory(fleet.ada.home, state)).head).toBeNull()
  expect(await sync()).toEqual(head)
})

test('a copy that somebody edited is not believed, and without a hub it is said', async () => {
  await inviteLink(fleet, 'bob')
  const copy = await readFile(fleet.ada.home.directoryCache, 'utf8')
  await writeFile(fleet.ada.home.directoryCache, copy.replaceAll('bob', 'eve'))
  await expect(offlineDirectory(fleet.ada.home)).rejects.toMatchObject({
    code: 'MCM_DIRECTORY_INVALID',
    exitCode: 7,
  })
  expect((await sync())?.seq).toBe(2)
})

test('a copy that is older than what was seen is not shown as the directory', async () => {
  const older = await readFile(fleet.ada.home.directoryCache, 'utf8')
  await inviteLink(fleet, 'bob')
  await writeFile(fleet.ada.home.directoryCache, older)
  await expect(offlineDirectory(fleet.ada.home)).rejects.toMatchObject({
    code: 'MCM_DIRECTORY_ROLLED_BACK',
  })
})

test('two commands at once never take the remembered head back', async () => {
  await Promise.all([inviteLink(fleet, 'bob'), sync(), inviteLink(fleet, 'carol'), sync()])
  await sync()
  expect((await requireState(fleet.ada.home)).head).toEqual(fleet.hub.directory.head)
  expect((await offlineDirectory(fleet.ada.home)).head).toEqual(fleet.hub.directory.head)
})

test('verifying takes nothing from before: all of it is fetched and checked again', async () => {
  await inviteLink(fleet, 'bob')
  expect(await verifiedDirectory(fleet.ada, false)).toMatchObject({ statements: 3, source: 'hub' })
  const verify = vi.spyOn(globalThis.crypto.subtle, 'verify')
  expect(await verifiedDirectory(fleet.ada, true)).toMatchObject({ statements: 3, source: 'copy' })
  expect(verify.mock.calls.length).toBeGreaterThanOrEqual(3)
  verify.mockRestore()
  // The part this device has verified long ago comes in another form.
  fleet.hub.tamper = (page) =>
    page.statements.length < 3
      ? page
      : { ...page, statements: [`${page.statements[0]} `, ...page.statements.slice(1)] }
  await expect(verifiedDirectory(fleet.ada, false)).rejects.toMatchObject({
    code: 'MCM_DIRECTORY_INVALID',
  })
})

describe('no two statements of one number', () => {
  const draft = (endpoint: string) => (session: FleetSession) => [
    {
      type: 'hub' as const,
      detail: {
        endpoints: [endpoint],
        privateEndpoints: [],
        certificate: fleet.hub.certificateDer.toString('base64'),
      },
      signers: [session.key],
    },
  ]

  test('are signed for a hub that shows the directory of before to a later step of a command', async () => {
    await asAda(fleet, async (session) => {
      const before = fleet.hub.directory
      await appendStatements(session, draft('127.0.0.1:1'))
      fleet.hub.directory = before
      await expect(appendStatements(session, draft('127.0.0.1:2'))).rejects.toMatchObject({
        code: 'MCM_DIRECTORY_ROLLED_BACK',
      })
      expect(fleet.hub.directory.head).toEqual(before.head)
    })
  })

  test('control: an honest hub gets both, one after the other', async () => {
    await asAda(fleet, async (session) => {
      await appendStatements(session, draft('127.0.0.1:1'))
      const { directory } = await appendStatements(session, draft('127.0.0.1:2'))
      expect(directory.head?.seq).toBe(session.directory.head!.seq + 2)
      expect(fleet.hub.directory.head).toEqual(directory.head)
    })
  })

  const signed = async (session: FleetSession, ...endpoints: string[]) => {
    const { device, directory } = session
    const drafts = endpoints.flatMap((endpoint) => draft(endpoint)(session))
    return directory.extend(await signDrafts(device.world, directory.head, drafts))
  }

  test('are kept: whoever signed one while another came is told, however long that one has grown', async () => {
    await asAda(fleet, async (session) => {
      const other = await signed(session, '127.0.0.1:9')
      for (const kept of [
        await signed(session, '127.0.0.1:1'),
        await signed(session, '127.0.0.1:1', '127.0.0.1:2'),
      ]) {
        fleet.hub.directory = kept
        await writeDirectory(fleet.ada.home, session.directory)
        await writeState(fleet.ada.home, session.state)
        await keepDirectory(fleet.ada.home, kept)
        await expect(keepDirectory(fleet.ada.home, other)).rejects.toMatchObject({
          code: 'MCM_DIRECTORY_ROLLED_BACK',
        })
        expect((await offlineDirectory(fleet.ada.home)).head).toEqual(kept.head)
      }
    })
  })

  test('are signed for a hub that speaks of somebody faster and shows nobody: it gets one text', async () => {
    const texts = new Set<string>()
    fleet.hub.feignConflict = ({ statements }) => void texts.add(statements.join())
    await asAda(fleet, async (session) => {
      const appending = appendStatements(session, draft('127.0.0.1:1'))
      await expect(appending).rejects.toMatchObject({ code: 'MCM_CONFLICT', exitCode: 6 })
    })
    expect(texts.size).toBe(1)
  })

  test('are signed for one that took the first and says that somebody was faster', async () => {
    fleet.hub.feignConflict = async (update) => {
      fleet.hub.directory = await fleet.hub.directory.extend(update)
    }
    const { head } = fleet.hub.directory
    await asAda(fleet, (session) => appendStatements(session, draft('127.0.0.1:1')))
    expect(fleet.hub.directory.head?.seq).toBe(head!.seq + 1)
  })

  test('are signed by a process for which a hub has another chain than for one beside it', async () => {
    let asked = 0
    await asAda(fleet, async (session) => {
      const beside = await signed(session, '127.0.0.1:1')
      const fork = await signed(session, '127.0.0.1:2')
      fleet.hub.feignConflict = async () => {
        asked += 1
        await keepDirectory(fleet.ada.home, beside)
        fleet.hub.directory = fork
      }
      await expect(appendStatements(session, draft('127.0.0.1:3'))).rejects.toMatchObject({
        name: 'TrustError',
        exitCode: 7,
      })
    })
    expect(asked).toBe(1)
  })
})
