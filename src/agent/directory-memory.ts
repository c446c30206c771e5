import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import type { Directory } from '../directory/directory.ts'
import { StateError } from '../errors.ts'
import {
  type DirectoryPage,
  directoryPageSchema,
  type Head,
  headSchema,
} from '../protocol/messages.ts'
import { type StateSecret, secretValue } from './state-secret.ts'

/** What is remembered of a directory in one Secret: the highest head, and the chain while it fits. */
export interface Remembered {
  readonly head: Head
  readonly page?: DirectoryPage
}

const HEAD = 'head.json'
const CHAIN = 'chain.json.gz'
const MAX_UNPACKED_BYTES = 64 << 20

const pack = promisify(gzip)
const unpack = promisify(gunzip)

/**
 * Reads what is remembered. The head must be readable, or there is no telling what was seen; a chain that
 * is not can come again from a hub. Nothing is verified here. @throws StateError MCM_STATE_DAMAGED
 */
export async function readRemembered(secret: StateSecret): Promise<Remembered> {
  const head = headSchema.safeParse(jsonOf(secretValue(secret, HEAD)))
  if (!head.success) throw damaged(secret)
  const packed = secretValue(secret, CHAIN)
  const options = { maxOutputLength: MAX_UNPACKED_BYTES }
  const chain = packed && (await unpack(packed, options).catch(() => undefined))
  const page = directoryPageSchema.safeParse(jsonOf(chain))
  return { head: head.data, ...(page.success ? { page: page.data } : {}) }
}

/** The values to remember a directory by; without its chain when that, packed, is over `maxChainBytes`. */
export async function valuesToRemember(
  directory: Directory,
  maxChainBytes: number,
): Promise<{ values: Record<string, string | Uint8Array>; isWhole: boolean }> {
  const head = JSON.stringify(directory.head)
  const chain = await pack(JSON.stringify(directory.page(-1)))
  const isWhole = chain.length <= maxChainBytes
  return { values: { [HEAD]: head, ...(isWhole ? { [CHAIN]: chain } : {}) }, isWhole }
}

function jsonOf(bytes: Buffer | undefined): unknown {
  try {
    return JSON.parse(bytes?.toString('utf8') ?? '')
  } catch {
    return undefined
  }
}

function damaged({ metadata }: StateSecret): StateError {
  return new StateError('MCM_STATE_DAMAGED', `Secret ${metadata.name} cannot be read`, {
    hint: `to trust what the hub shows next, kubectl -n mcm-system delete secret ${metadata.name}`,
  })
}
