import { randomUUID } from 'node:crypto'
import { chmod, mkdir, open, readFile, realpath, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { type McmError, messageOf, StateError } from '../errors.ts'

/**
 * Files of one person or one program on this machine: read, replaced as a whole, guarded by a lock.
 * Knows nothing of what stands in them. Invariant: a reader sees the old text or the new text,
 * never a part, and what was acknowledged survives a power cut.
 */

const MISSING = new Set(['ENOENT', 'ENOTDIR'])

/** The text of a file, or undefined when there is none. @throws StateError MCM_STATE_DAMAGED when it cannot be read */
export async function readTextIfAny(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    if (MISSING.has(errno(cause))) return undefined
    throw new StateError('MCM_STATE_DAMAGED', `${path} cannot be read: ${messageOf(cause)}`, {
      hint: `check the owner and mode of ${path}`,
      cause,
    })
  }
}

/**
 * Replaces a file durably: a temporary file beside it, fsync, rename, fsync of the directory.
 * Missing directories are made with mode 0700. @throws StateError MCM_STATE_UNWRITABLE
 */
export async function writeFileAtomic(path: string, text: string, mode = 0o600): Promise<void> {
  const directory = dirname(path)
  const temporary = join(directory, `.${basename(path)}.${randomUUID()}.tmp`)
  try {
    await makePrivateDirectory(directory)
    await writeDurably(temporary, text, mode)
    await rename(temporary, path)
    await syncDirectory(directory)
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {})
    throw unwritable(path, cause)
  }
}

/** Makes a directory that only its owner may enter, also when it is there already. @throws StateError MCM_STATE_UNWRITABLE */
export async function makeSecretDirectory(path: string): Promise<void> {
  await makePrivateDirectory(path)
  await chmod(path, 0o700).catch((cause) => {
    throw unwritable(path, cause)
  })
}

/** Makes a directory and its parents, mode 0700 for those it makes. @throws StateError MCM_STATE_UNWRITABLE */
export async function makePrivateDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw unwritable(path, cause)
  }
}

/** Deletes a file; true when there was one. @throws StateError MCM_STATE_UNWRITABLE */
export async function deleteFile(path: string): Promise<boolean> {
  try {
    await rm(path)
    return true
  } catch (cause) {
    if (MISSING.has(errno(cause))) return false
    throw unwritable(path, cause)
  }
}

async function writeDurably(path: string, text: string, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  // The umask may have taken bits away that an existing file had.
  await chmod(path, mode)
}

/** Directories cannot be opened on every system; the rename itself is atomic all the same. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r').catch(() => undefined)
  if (!directory) return
  await directory.sync().catch(() => {})
  await directory.close()
}

export interface LockOptions {
  /** How long to wait for others, in ms; 20 s unless told. */
  readonly waitMs?: number
  /** What to tell whoever waited in vain; a sentence. */
  readonly hint?: string
}

const STALE_MS = 10_000
const WAIT_MS = 20_000
const RETRY_MS = 40

/**
 * Runs `work` while no other process of this machine holds `<path>.lock`; a lock whose holder died is
 * taken over after 10 s. It respects a lock file that kubectl left or holds under that name.
 * @throws StateError MCM_STATE_LOCKED after `waitMs`, MCM_STATE_UNWRITABLE
 */
export async function withFileLock<T>(
  path: string,
  work: () => Promise<T>,
  options: LockOptions = {},
): Promise<T> {
  await makePrivateDirectory(dirname(path))
  const release = await acquire(path, options)
  try {
    return await work()
  } finally {
    await release().catch(() => {})
  }
}

async function acquire(path: string, options: LockOptions): Promise<() => Promise<void>> {
  // Loaded here: most commands never wait for anybody, and start-up time is felt.
  const { lock } = (await import('proper-lockfile')).default
  // After a long sleep of the machine another process may have taken over; files are replaced whole,
  // so the worst is that the later of two writers wins.
  const once = { realpath: false, stale: STALE_MS, onCompromised: () => {} }
  for (let triesLeft = Math.ceil((options.waitMs ?? WAIT_MS) / RETRY_MS); ; triesLeft -= 1) {
    try {
      return await lock(path, once)
    } catch (cause) {
      // Only a holder lets go; where nothing can be written, waiting is in vain.
      if (errno(cause) !== 'ELOCKED' || triesLeft <= 0) throw lockError(path, cause, options)
    }
    await setTimeout(RETRY_MS)
  }
}

function lockError(path: string, cause: unknown, options: LockOptions): McmError {
  const lock = `${path}.lock`
  // Whether it is there is no question to ask now: its holder may just have let go.
  if (!isHeld(cause)) return unwritable(lock, cause)
  const hint = options.hint ?? `try again, or remove ${lock} when nothing else is running`
  return new StateError('MCM_STATE_LOCKED', `${path} is locked by another program (${lock})`, {
    hint,
    cause,
  })
}

/** An old lock is taken away, but one that is a file, as kubectl's, is not ours: that fails. */
function isHeld(cause: unknown): boolean {
  const isForeignFile = (cause as NodeJS.ErrnoException).syscall === 'rmdir'
  return errno(cause) === 'ELOCKED' || (errno(cause) === 'ENOTDIR' && isForeignFile)
}

/** The file a path finally names, through symbolic links; the path itself when there is none yet. */
export async function resolveLinks(path: string): Promise<string> {
  return realpath(path).catch(() => path)
}

function unwritable(path: string, cause: unknown): StateError {
  if (cause instanceof StateError) return cause
  return new StateError('MCM_STATE_UNWRITABLE', `${path} cannot be written: ${messageOf(cause)}`, {
    hint: 'check the directory, its owner and the free space; files of mcm itself go where MCM_HOME says',
    cause,
  })
}

function errno(cause: unknown): string {
  return (cause as NodeJS.ErrnoException | undefined)?.code ?? ''
}
