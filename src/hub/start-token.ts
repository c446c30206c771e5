import { sha256 } from '../protocol/keys.ts'
import { Secret } from '../secret.ts'
import type { World } from '../world.ts'
import type { HubStore } from './store.ts'

const TOKEN_BYTES = 16

/**
 * A fresh start token for a hub that has no fleet, to be shown once; undefined when it has one. Only
 * its hash is kept, and the token of an earlier start ends. Call it before `startHub`.
 */
export async function ensureStartToken(
  store: HubStore,
  world: World,
): Promise<Secret<string> | undefined> {
  const { statements } = await store.readDirectory()
  if (statements.length > 0) return undefined
  const token = Buffer.from(world.random(TOKEN_BYTES)).toString('base64url')
  await store.writeStartTokenHash(sha256(token))
  return new Secret(token)
}

/** Whether this is the token of the last start. */
export async function isStartToken(store: HubStore, token: string): Promise<boolean> {
  const hash = await store.readStartTokenHash()
  return hash !== undefined && hash === sha256(token)
}
