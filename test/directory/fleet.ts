import { randomBytes } from 'node:crypto'
import type { Detail } from '../../src/directory/details.ts'
import { Directory } from '../../src/directory/directory.ts'
import {
  generateSigningKey,
  inviteSigningKey,
  type SigningKey,
} from '../../src/directory/signing-key.ts'
import { type Statement, signStatement } from '../../src/directory/statement.ts'
import type { DetailEnvelope, Head } from '../../src/protocol/messages.ts'

/** A fleet in a test: alice has founded it, and a minute passes with every statement. */

export const CLUSTER = 'c-aaaaaaaaaa'
export const OTHER_CLUSTER = 'c-bbbbbbbbbb'
const START = Date.parse('2026-01-01T00:00:00Z')
const MINUTE_MS = 60_000

export type Draft = Detail & { readonly inviteKey?: string; readonly invite?: number }
export interface Signed {
  readonly statement: Statement
  readonly detail: DetailEnvelope
}
export interface Invited {
  readonly seq: number
  readonly key: SigningKey
}

export class Fleet {
  directory = Directory.empty()
  readonly fleetKey = generateSigningKey()
  readonly alice = generateSigningKey()

  static async found(): Promise<Fleet> {
    const fleet = new Fleet()
    const device = { key: p256(fleet.alice), name: 'alice’s laptop' }
    const detail = { fleetKey: p256(fleet.fleetKey), user: 'alice', device }
    await fleet.append({ type: 'fleet', detail }, [fleet.fleetKey, fleet.alice])
    return fleet
  }

  get state() {
    return this.directory.state
  }

  /** The time of the statement with this number, or of the next one. */
  timeOf(seq = this.directory.statements.length): Date {
    return new Date(START + seq * MINUTE_MS)
  }

  /** Signs a statement that would follow `after`, without appending it. */
  async sign(
    draft: Draft,
    signers: readonly SigningKey[] = [this.alice],
    options: { readonly after?: Head | null; readonly time?: Date } = {},
  ): Promise<Signed> {
    const after = options.after === undefined ? this.directory.head : options.after
    const time = options.time ?? this.timeOf(after ? after.seq + 1 : 0)
    return signStatement({ ...draft, after, time, salt: randomBytes(16) }, signers)
  }

  /** Signs and appends; gives the number. */
  async append(
    draft: Draft,
    signers: readonly SigningKey[] = [this.alice],
    time?: Date,
  ): Promise<number> {
    const { statement, detail } = await this.sign(draft, signers, time ? { time } : {})
    const update = { statements: [statement.text], details: [detail] }
    this.directory = await this.directory.extend(update)
    return statement.seq
  }

  async invite(
    user: string,
    options: { groups?: string[]; expires?: string; bot?: boolean; lifetime?: number } = {},
    signer = this.alice,
  ): Promise<Invited> {
    const secret = randomBytes(16).toString('base64url')
    const key = inviteSigningKey(secret, this.directory.fleet!)
    const { groups = [], expires = '2026-02-01T00:00:00Z', bot = false, lifetime } = options
    const detail = { user, groups, expires, bot, ...(lifetime ? { lifetime } : {}) }
    return { seq: await this.append({ type: 'invite', inviteKey: key.id, detail }, [signer]), key }
  }

  async join(user: string, invited: Invited, device = generateSigningKey()): Promise<SigningKey> {
    await this.append(deviceDraft(user, invited, device), [invited.key, device])
    return device
  }

  /** Invite and device at once. */
  async admit(user: string, groups: string[] = []): Promise<SigningKey> {
    return this.join(user, await this.invite(user, { groups }))
  }

  async register(id = CLUSTER, name = 'idc-k8s', agent = generateSigningKey()): Promise<number> {
    return this.append(clusterDraft(id, name, agent.id))
  }

  async member(
    action: 'add' | 'remove',
    kind: 'user' | 'group',
    name: string,
    cluster = CLUSTER,
  ): Promise<number> {
    return this.append({ type: 'member', detail: { action, subject: { kind, name }, cluster } })
  }

  async admin(action: 'add' | 'remove', user: string, key: string): Promise<number> {
    return this.append({ type: 'admin', detail: { action, user, key } })
  }

  async revoke(
    who: { user: string } | { device: string } | { cluster: string },
    signer = this.alice,
  ): Promise<number> {
    return this.append({ type: 'revoke', detail: { ...who, reason: '' } }, [signer])
  }
}

export function deviceDraft(user: string, invited: Invited, device: SigningKey): Draft {
  return {
    type: 'device',
    invite: invited.seq,
    detail: { user, name: 'laptop', key: p256(device) },
  }
}

export function clusterDraft(id: string, name: string, agentKey: string): Draft {
  const cas = { serverCa: 'c2VydmVy', userCa: 'dXNlcg==' }
  const detail = {
    id,
    name,
    labels: {},
    ...cas,
    agentKey,
    issuer: 'agent',
    prefix: 'mcm:',
  } as const
  return { type: 'cluster', detail }
}

export function hubDraft(
  endpoints: string[],
  privateEndpoints: string[] = [],
  certificate = 'aHVi',
): Draft {
  return { type: 'hub', detail: { endpoints, privateEndpoints, certificate } }
}

export function p256(key: SigningKey) {
  if (key.jwk.kty !== 'EC') throw new TypeError('not P-256')
  return key.jwk
}
