import { z } from 'zod'
import { directoryAppendSchema } from '../protocol/messages.ts'
import { deleteFile } from '../store/files.ts'
import type { Home } from './home.ts'
import { type JsonFile, readJsonFile, writeJsonFile } from './json-file.ts'

/**
 * A login that has begun: written before the hub is told anything, removed when the state is written. So a
 * login whose answer was lost goes on where it was, with the same key. Holds no secret.
 */

const key43 = z.string().regex(/^[A-Za-z0-9_-]{43}$/)

const schema = z.object({
  version: z.number(),
  fleet: key43,
  user: z.string(),
  device: z.object({ id: key43, name: z.string() }),
  secrets: z.enum(['keychain', 'file']),
  /** The key id of the invite a join uses. */
  invite: key43.optional(),
  /** What founds the fleet: the same bytes again, for its fingerprint is their hash. */
  founding: directoryAppendSchema.optional(),
})
export type PendingLogin = Omit<z.infer<typeof schema>, 'version'>

const PENDING: JsonFile<z.infer<typeof schema>> = {
  version: 1,
  schema,
  remedy: 'remove it and log in again',
}

export async function readPendingLogin(home: Home): Promise<PendingLogin | undefined> {
  return readJsonFile(home.pendingLogin, PENDING)
}

export async function writePendingLogin(home: Home, pending: PendingLogin): Promise<void> {
  await writeJsonFile(home.pendingLogin, PENDING, { ...pending, version: PENDING.version })
}

export async function clearPendingLogin(home: Home): Promise<void> {
  await deleteFile(home.pendingLogin)
}
