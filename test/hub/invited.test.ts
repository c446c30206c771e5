import { randomBytes } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type HubApi, openHub } from '../../src/client/hub.ts'
import { signInviteProof } from '../../src/directory/proofs.ts'
import {
  generateSigningKey,
  inviteSigningKey,
  type SigningKey,
} from '../../src/directory/signing-key.ts'
import { readUnverified } from '../../src/directory/statement.ts'
import { formatTime } from '../../src/directory/time.ts'
import { ENROLMENT_EXPORTER_LABEL, INVITE_EXPORTER_LABEL } from '../../src/protocol/messages.ts'
import { ALPN_HTTP2 } from '../../src/protocol/names.ts'
import { Stage } from './stage.ts'

const UNKNOWN = {
  name: 'IdentityError',
  code: 'MCM_INVITE_EXPIRED',
  message: 'the directory knows no such invite',
}

let stage: Stage
let carol: SigningKey

beforeEach(async () => {
  stage = await Stage.founded()
  carol = await inviteOf('carol', ['payroll-admins'])
})
afterEach(() => stage.stop())

async function inviteOf(user: string, groups: string[]): Promise<SigningKey> {
  const key = inviteSigningKey(randomBytes(16).toString('base64url'), stage.directory.fleet!)
  const detail = { user, groups, expires: '2026-06-01T00:00:00Z', bot: false }
  await stage.append({ type: 'invite', inviteKey: key.id, detail })
  return key
}

interface Connection {
  readonly socket: TLSSocket
  readonly api: HubApi
}

async function connect(key: SigningKey | undefined = generateSigningKey()): Promise<Connection> {
  const socket = await stage.dial(key, ALPN_HTTP2)
  return { socket, api: openHub(socket) }
}

interface Said {
  readonly fleet: string
  readonly exporter: string
  readonly time: string
}

function proofFor({ socket }: Connection, key: SigningKey, other: Partial<Said> = {}) {
  return signInviteProof(key, {
    fleet: stage.directory.fleet!,
    exporter: exporterOf(socket, INVITE_EXPORTER_LABEL),
    time: formatTime(stage.world.now()),
    ...other,
  })
}

function exporterOf(socket: TLSSocket, label: string): string {
  return socket.exportKeyingMaterial(32, label, Buffer.alloc(0)).toString('base64url')
}

async function detailsOf({ api }: Connection, invite: string): Promise<string> {
  return JSON.stringify((await api.directory({ after: -1, details: 'all', invite })).details)
}

const inAMinute = (minutes: number) =>
  formatTime(new Date(stage.world.now().getTime() + minutes * 60_000))

describe('the directory as the invited may see it', () => {
  it('is shown to whoever proves the invite’s key, and nobody else’s invite in it', async () => {
    const bob = await inviteOf('bob', ['dev'])
    const connection = await connect()
    const details = await detailsOf(connection, await proofFor(connection, carol))
    expect(details).toContain('payroll-admins')
    expect(details).not.toContain('bob')
    expect(await detailsOf(connection, await proofFor(connection, bob))).not.toContain('carol')
  })

  it('is not shown to a member who knows every key id in the chain', async () => {
    const bob = await connect(await stage.admit('bob'))
    const own = await bob.api.directory({ after: -1, details: 'all' })
    expect(JSON.stringify(own.details)).not.toContain('carol')
    const ids = own.statements.flatMap((text) => readUnverified(text).unverified.inviteKey ?? [])
    expect(ids).toContain(carol.id)
    for (const id of ids) await expect(detailsOf(bob, id)).rejects.toMatchObject(UNKNOWN)
  })

  it('is not shown for a proof that was made for another connection: a hub cannot use what it gets', async () => {
    const [victim, attacker] = [await connect(), await connect()]
    const proof = await proofFor(victim, carol)
    await expect(detailsOf(attacker, proof)).rejects.toMatchObject(UNKNOWN)
    expect(await detailsOf(victim, proof)).toContain('carol')
  })

  it.each([
    ['by a key that no invite has', () => ({ key: generateInvite() })],
    ['for another fleet', () => ({ other: { fleet: 'A'.repeat(43) } })],
    ['that is old', () => ({ other: { time: inAMinute(-11) } })],
    ['of the future', () => ({ other: { time: inAMinute(11) } })],
    ['with a made up exporter value', () => ({ other: { exporter: 'A'.repeat(43) } })],
  ])('is not shown for a proof %s', async (_title, change) => {
    const { key = carol, other }: { key?: SigningKey; other?: Partial<Said> } = change()
    const connection = await connect()
    const proof = await proofFor(connection, key, other)
    await expect(detailsOf(connection, proof)).rejects.toMatchObject(UNKNOWN)
  })

  it('is not shown for the exporter value of another purpose', async () => {
    const connection = await connect()
    const exporter = exporterOf(connection.socket, ENROLMENT_EXPORTER_LABEL)
    const proof = await proofFor(connection, carol, { exporter })
    await expect(detailsOf(connection, proof)).rejects.toMatchObject(UNKNOWN)
  })

  it('is not shown for nothing, noise, or an unsigned proof', async () => {
    const connection = await connect()
    const [header, payload] = (await proofFor(connection, carol)).split('.')
    for (const text of ['', '.', 'a.b.c', `${header}.${payload}.`, 'x'.repeat(4_000)])
      await expect(detailsOf(connection, text)).rejects.toMatchObject(UNKNOWN)
  })

  it('is shown with the proof of a clock that is a little off, and to somebody without a certificate', async () => {
    const connection = await connect()
    const proof = await proofFor(connection, carol, { time: inAMinute(-9) })
    expect(await detailsOf(connection, proof)).toContain('carol')
    const socket = await stage.dial(undefined, ALPN_HTTP2)
    const stranger = { socket, api: openHub(socket) }
    expect(await detailsOf(stranger, await proofFor(stranger, carol))).toContain('carol')
  })

  it('is what a proof opens on a hub without a fleet as little as elsewhere', async () => {
    const other = await Stage.open()
    try {
      const socket = await other.dial(generateSigningKey(), ALPN_HTTP2)
      const connection = { socket, api: openHub(socket) }
      const proof = await proofFor(connection, carol)
      await expect(detailsOf(connection, proof)).rejects.toMatchObject(UNKNOWN)
    } finally {
      await other.stop()
    }
  })
})

function generateInvite(): SigningKey {
  return inviteSigningKey(randomBytes(16).toString('base64url'), stage.directory.fleet!)
}
