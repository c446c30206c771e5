/**
 * Temporary folders that a later run can tell to be abandoned: each names the process it belongs to. A
 * killed run cannot remove its own, and etcd's alone takes a hundred megabytes.
 */
import { mkdtemp, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const OWNER_FILE = 'owner.json'
const UNCLAIMED_AGE_MS = 60_000

/** Makes a folder `<prefix>XXXXXX` (0700) in the temporary folder, owned by this process. */
export async function makeOwnedDirectory(prefix: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), prefix))
  const owner = { pid: process.pid, startedAt: await startTimeOf(process.pid) }
  await writeFile(join(directory, OWNER_FILE), JSON.stringify(owner))
  return directory
}

/** The folders of that prefix whose process has died. */
export async function abandonedDirectories(prefix: string): Promise<string[]> {
  const names = await readdir(tmpdir())
  const directories = names.filter((name) => name.startsWith(prefix))
  const abandoned: string[] = []
  for (const directory of directories.map((name) => join(tmpdir(), name))) {
    if (!(await isOwned(directory))) abandoned.push(directory)
  }
  return abandoned
}

async function isOwned(directory: string): Promise<boolean> {
  const text = await readFile(join(directory, OWNER_FILE), 'utf8').catch(() => '')
  // Between mkdtemp and the owner file, or a run killed right there.
  if (text === '') return (await ageOf(directory)) < UNCLAIMED_AGE_MS
  const owner = JSON.parse(text) as { pid: number; startedAt: string | undefined }
  return isAlive(owner.pid) && (await startTimeOf(owner.pid)) === owner.startedAt
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

async function ageOf(directory: string): Promise<number> {
  const found = await stat(directory).catch(() => undefined)
  return found === undefined ? 0 : Date.now() - found.mtimeMs
}

/** Process ids come back; with its start time one is unique until the next boot. Linux only. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  return text?.slice(text.lastIndexOf(')') + 2).split(' ')[19]
}
