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

/**
 * What is remembered of a directory in one Secret: the highest head and the chain. When the chain
 * does not fit, its page has no statements, and of the details only those of revocations.
 */
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
 * Reads what is remembered. The head must be readable, or there is no telling what was seen; a
 * chain that is not can come again from a hub. Nothing is verified here.
 * @throws StateError MCM_STATE_DAMAGED
 */
export async function readRemembered(secret: StateSecret): Promise<Remembered> {
  const head = headSchema.safeParse(jsonOf(secretValue(secret, HEAD)))
  if (!head.success) throw damaged(secret)
  const kept = secretValue(secret, CHAIN)
  const options = { maxOutputLength: MAX_UNPACKED_BYTES }
  const chain = kept && (await unpack(kept, options).catch(() => undefined))
  const page = directoryPageSchema.safeParse(jsonOf(chain))
  return { head: head.data, ...(page.success ? { page: page.data } : {}) }
}

/** The values to remember a directory by; `isWhole` false when the chain, packed, does not fit. */
export async function valuesToRemember(
  directory: Directory,
  maxChainBytes: number,
): Promise<{ values: Record<string, string | Uint8Array>; isWhole: boolean }> {
  const head = JSON.stringify(directory.head)
  const chain = await packed(directory.page(-1))
  if (chain.length <= maxChainBytes)
    return { values: { [HEAD]: head, [CHAIN]: chain }, isWhole: true }
  const revocations = await packed(revocationsOf(directory))
  const fits = revocations.length <= maxChainBytes
  return { values: { [HEAD]: head, ...(fits ? { [CHAIN]: revocations } : {}) }, isWhole: false }
}

function revocationsOf(directory: Directory): DirectoryPage {
  const details = [...directory.details.values()]
  const isRevocation = ({ seq }: { seq: number }) => {
    const known = directory.known.get(seq)
    if (known?.type === 'approval') return known.detail.action !== 'approve'
    return known?.type === 'revoke' || known?.type === 'removal'
  }
  return { head: directory.head, statements: [], details: details.filter(isRevocation) }
}

function packed(page: DirectoryPage): Promise<Buffer> {
  return pack(JSON.stringify(page))
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
