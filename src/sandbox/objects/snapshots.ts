/**
 * The rest of a list that was asked for in pieces (`limit`, `continue`): a token names a snapshot that
 * is kept for a while, so every piece shows the same moment.
 */
import type { World } from '../../world.ts'
import type { KubeObject } from '../json.ts'
import { badRequest, expired } from '../refusals.ts'

export interface Snapshot {
  /** What was listed; a token opens that list and no other. */
  readonly scope: string
  readonly items: readonly KubeObject[]
  readonly revision: number
}

const LIFETIME_MS = 5 * 60_000
const MAX_SNAPSHOTS = 200

const TOO_OLD =
  'The provided continue parameter is too old to display a consistent list result. You can start a new ' +
  'list without the continue parameter, or use the continue token in this response to retrieve the ' +
  'remainder of the results. Continuing with the provided token results in an inconsistent list - ' +
  'objects that were created, modified, or deleted between the time the first chunk was returned and ' +
  'now may show up in the list.'

export class Snapshots {
  readonly #world: World
  readonly #kept = new Map<string, Snapshot & { readonly until: number }>()

  constructor(world: World) {
    this.#world = world
  }

  keep(snapshot: Snapshot): string {
    const token = Buffer.from(this.#world.random(18)).toString('base64url')
    this.#kept.set(token, { ...snapshot, until: this.#world.now().getTime() + LIFETIME_MS })
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > MAX_SNAPSHOTS && oldest !== undefined) this.#kept.delete(oldest)
    return token
  }

  /** @throws Refusal 400 a token of another list, 410 one too old */
  resume(token: string, scope: string): Snapshot {
    const found = this.#kept.get(token)
    if (found && found.scope !== scope)
      throw badRequest('invalid continue token: it is for another list')
    if (found && this.#world.now().getTime() < found.until) return found
    throw expired(TOO_OLD)
  }
}
