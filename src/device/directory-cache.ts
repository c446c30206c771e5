import { Directory, requireNotRolledBack } from '../directory/directory.ts'
import { messageOf, StateError, TrustError } from '../errors.ts'
import { type DirectoryPage, directoryPageSchema, type Head } from '../protocol/messages.ts'
import { readTextIfAny, writeFileAtomic } from '../store/files.ts'
import type { Home } from './home.ts'
import { type DeviceState, readState, updateState } from './state.ts'

/**
 * The directory as this device last verified it. The file is only a cache: when read it must lead to the head that
 * the state remembers, what follows is verified again, and what cannot be believed is fetched anew.
 */

/** What is cached, verified; empty when there is nothing usable. */
export async function loadDirectory(
  home: Home,
  { fleet, head }: Pick<DeviceState, 'fleet' | 'head'>,
): Promise<Directory> {
  const text = await readTextIfAny(home.directoryCache)
  if (text === undefined) return Directory.empty(fleet)
  try {
    return await Directory.restore(fleet, directoryPageSchema.parse(JSON.parse(text)), head)
  } catch {
    return Directory.empty(fleet)
  }
}

/** `loadDirectory` as this device stands in it. */
export async function ownDirectory(home: Home, state: DeviceState): Promise<Directory> {
  return admittingOneself(await loadDirectory(home, state), state)
}

/** The same for a device that a token let in: it knows so itself (PROTOCOL §11.3). */
function admittingOneself(directory: Directory, { provided }: DeviceState): Directory {
  return provided === undefined ? directory : directory.admitting([provided.admission])
}

/**
 * What a hub shows, checked against what was seen before.
 * @throws TrustError MCM_DIRECTORY_INVALID MCM_DIRECTORY_ROLLED_BACK
 */
export async function extendFromHub(
  cached: Directory,
  page: DirectoryPage,
  remembered: DeviceState['head'] | undefined,
): Promise<Directory> {
  const known = cached.head
  if (known && (page.head?.seq ?? -1) < known.seq) throw shorter(page.head?.seq ?? -1, known.seq)
  const directory = await cached.extend(page)
  const { head } = directory
  if (head?.seq !== page.head?.seq || head?.hash !== page.head?.hash) throw otherHead()
  if (remembered) requireNotRolledBack(directory, remembered)
  return directory
}

/**
 * Keeps a directory and its head; an older one than another process kept meanwhile is let go.
 * @throws TrustError MCM_DIRECTORY_ROLLED_BACK where neither it nor what is kept leads to the other
 */
export async function keepDirectory(home: Home, directory: Directory): Promise<DeviceState> {
  const { head } = directory
  if (!head) throw new Error('an empty directory is never kept')
  return updateState(home, (state) => (head.seq < state.head.seq ? state : { ...state, head }), {
    before: async (state) => {
      if (head.seq < state.head.seq) return requireOneChain(await loadDirectory(home, state), head)
      requireNotRolledBack(directory, state.head)
      await writeDirectory(home, directory)
    },
  })
}

function requireOneChain(kept: Directory, head: Head): void {
  if (kept.head !== null) requireNotRolledBack(kept, head)
}

export async function writeDirectory(home: Home, directory: Directory): Promise<void> {
  await writeFileAtomic(home.directoryCache, JSON.stringify(directory.page(-1)))
}

/** The cached directory for use without a hub. @throws TrustError when the file is behind what was seen; StateError MCM_STATE_DAMAGED */
export async function offlineDirectory(home: Home): Promise<Directory> {
  const state = await readState(home)
  if (!state) return Directory.empty()
  const text = await readTextIfAny(home.directoryCache)
  if (text === undefined) return Directory.empty(state.fleet)
  const page = parsePage(text, home.directoryCache)
  return admittingOneself(await Directory.restore(state.fleet, page, state.head), state)
}

function parsePage(text: string, path: string): DirectoryPage {
  try {
    return directoryPageSchema.parse(JSON.parse(text))
  } catch (cause) {
    const why = messageOf(cause).split('\n')[0]
    throw new StateError('MCM_STATE_DAMAGED', `${path} is damaged: ${why}`, {
      hint: `remove ${path}: it is fetched and verified again`,
      cause,
    })
  }
}

function shorter(shown: number, seen: number): TrustError {
  return new TrustError(
    'MCM_DIRECTORY_ROLLED_BACK',
    `the hub shows a directory that ends at statement ${shown}, this device has verified ${seen}`,
    { hint: 'nothing was changed; ask another admin whether their mcm sees the same' },
  )
}

function otherHead(): TrustError {
  return new TrustError(
    'MCM_DIRECTORY_ROLLED_BACK',
    'the hub names another head than the statements it shows lead to',
    { hint: 'nothing was changed; ask another admin whether their mcm sees the same' },
  )
}
