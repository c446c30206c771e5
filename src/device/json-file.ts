import type { z } from 'zod'
import { StateError } from '../errors.ts'
import { readTextIfAny, writeFileAtomic } from '../store/files.ts'

/** A JSON file of ours with a version: read and checked as a whole, or refused with a next step. */
export interface JsonFile<T> {
  readonly version: number
  readonly schema: z.ZodType<T>
  /** What to do when it is damaged; an exact command where there is one. */
  readonly remedy: string
}

/** The content, or undefined without a file. @throws StateError MCM_STATE_DAMAGED MCM_STATE_NEWER */
export async function readJsonFile<T>(path: string, kind: JsonFile<T>): Promise<T | undefined> {
  const text = await readTextIfAny(path)
  if (text === undefined) return undefined
  const value = parse(text, path, kind.remedy)
  const version = (value as { version?: unknown } | null)?.version
  if (typeof version === 'number' && version > kind.version) throw newer(path, version)
  const result = kind.schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const where = issue?.path.join('.') || 'content'
  throw damaged(path, `${where}: ${issue?.message}`, kind.remedy)
}

/** Replaces the file. @throws StateError MCM_STATE_UNWRITABLE */
export async function writeJsonFile<T>(path: string, kind: JsonFile<T>, value: T): Promise<void> {
  const { version } = kind
  await writeFileAtomic(path, `${JSON.stringify({ ...value, version }, null, 2)}\n`)
}

function parse(text: string, path: string, remedy: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The parser's own message repeats the text, which is nobody's business.
    throw damaged(path, 'it is not JSON', remedy)
  }
}

function damaged(path: string, why: string, hint: string): StateError {
  return new StateError('MCM_STATE_DAMAGED', `${path} is damaged: ${why}`, { hint })
}

function newer(path: string, version: number): StateError {
  return new StateError(
    'MCM_STATE_NEWER',
    `${path} was written by a newer mcm (version ${version})`,
    { hint: 'update mcm' },
  )
}
