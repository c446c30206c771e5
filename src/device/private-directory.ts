import { rmSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, StateError } from '../errors.ts'

/** A directory that only this person may enter, for as long as one command runs. */
export interface PrivateDirectory {
  readonly path: string
  /** Writes a new file, mode 0600, and gives its path. */
  write(name: string, text: string): Promise<string>
  /** Takes it away with all that is in it; at once, also where nothing can be waited for. */
  remove(): void
}

/** Made in the first of the parents that can be written. @throws StateError MCM_STATE_UNWRITABLE */
export async function openPrivateDirectory(parents: readonly string[]): Promise<PrivateDirectory> {
  const path = await makeIn(parents)
  return {
    path,
    async write(name, text) {
      const file = join(path, name)
      await writeFile(file, text, { mode: 0o600, flag: 'wx' })
      return file
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  }
}

async function makeIn(parents: readonly string[]): Promise<string> {
  let failure: unknown
  for (const parent of parents) {
    try {
      // Mode 0700, whatever the umask (mkdtemp(3)).
      return await mkdtemp(join(parent, 'mcm-'))
    } catch (error) {
      failure = error
    }
  }
  throw new StateError(
    'MCM_STATE_UNWRITABLE',
    `no private directory can be made in ${parents.join(' or ')}: ${messageOf(failure)}`,
    { hint: 'set XDG_RUNTIME_DIR or TMPDIR to a directory of yours', cause: failure },
  )
}
