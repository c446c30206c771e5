import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { beforeAll, expect, test } from 'vitest'
import { STATEMENT_TYPES } from '../../src/directory/details.ts'
import { Directory } from '../../src/directory/directory.ts'
import { inviteSigningKey } from '../../src/directory/signing-key.ts'
import { type Viewer, visibleDetails } from '../../src/directory/visibility.ts'
import { keyId, publicJwk } from '../../src/protocol/keys.ts'
import { directoryPageSchema } from '../../src/protocol/messages.ts'
import { describeState } from './describe-state.ts'

/** The chain that is stored beside this test: it holds whatever becomes of the code that made it. */
const vector = JSON.parse(readFileSync(new URL('vector.json', import.meta.url), 'utf8'))
const page = directoryPageSchema.parse(vector.page)
let directory: Directory

beforeAll(async () => {
  directory = await Directory.restore(vector.fleet, page)
})

test('the stored chain is valid, holds every type, and says what it always said', () => {
  expect(describeState(directory.state)).toEqual(vector.state)
  expect(new Set(directory.statements.map(({ type }) => type))).toEqual(new Set(STATEMENT_TYPES))
})

test('hashes are SHA-256 over the exact text, each named by its successor', () => {
  const hashes = page.statements.map((text) =>
    createHash('sha256').update(text).digest('base64url'),
  )
  expect(hashes).toEqual(vector.hashes)
  expect(directory.statements.slice(1).map(({ previous }) => previous)).toEqual(hashes.slice(0, -1))
  expect(vector.fleet).toBe(hashes[0])
  expect(page.head).toEqual({ seq: hashes.length - 1, hash: hashes.at(-1) })
})

test('invite keys follow from their secrets, key ids from their keys', () => {
  for (const { secret, id, jwk } of Object.values<{ secret: string; id: string; jwk: object }>(
    vector.invites,
  )) {
    const key = inviteSigningKey(secret, vector.fleet)
    expect([key.id, key.jwk]).toEqual([id, jwk])
  }
  for (const { id, jwk } of Object.values<{ id: string; jwk: object }>(vector.keys))
    expect(keyId(publicJwk(jwk)!)).toBe(id)
})

test('each viewer is shown what the table of the protocol says, and with it verifies the whole chain', async () => {
  const [phone, bob, bot] = [
    vector.keys['bob phone'].id,
    vector.keys['bob laptop'].id,
    vector.keys['ci runner'].id,
  ]
  const viewers: Record<string, Viewer> = {
    'bob phone': { kind: 'device', key: phone },
    'bob laptop': { kind: 'device', key: bob },
    'ci runner': { kind: 'device', key: bot },
    'idc agent': { kind: 'agent', cluster: 'c-idcidcidc2' },
    'ack agent': { kind: 'agent', cluster: 'c-ackackack2' },
    'bob again': { kind: 'invite', key: vector.invites['bob again'].id },
  }
  for (const [name, viewer] of Object.entries(viewers)) {
    const details = visibleDetails(directory, viewer)
    expect(
      details.map(({ seq }) => seq),
      name,
    ).toEqual(vector.visible[name])
    const copy = await Directory.restore(vector.fleet, { ...page, details })
    expect(copy.head).toEqual(page.head)
  }
})

test('one statement left out, or its neighbour’s detail, makes it invalid', async () => {
  for (let seq = 0; seq < page.statements.length - 1; seq++) {
    const statements = page.statements.toSpliced(seq, 1)
    await expect(Directory.restore(vector.fleet, { ...page, statements })).rejects.toMatchObject({
      code: 'MCM_DIRECTORY_INVALID',
    })
    const details = page.details.with(seq, { ...page.details[seq + 1]!, seq })
    await expect(Directory.restore(vector.fleet, { ...page, details })).rejects.toMatchObject({
      code: 'MCM_DIRECTORY_INVALID',
    })
  }
})
