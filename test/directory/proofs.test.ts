import { createHmac } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import {
  signEnrolmentProof,
  signInviteProof,
  signPublication,
  verifyEnrolmentProof,
  verifyInviteProof,
  verifyPublication,
} from '../../src/directory/proofs.ts'
import { generateSigningKey, inviteSigningKey } from '../../src/directory/signing-key.ts'
import { Secret } from '../../src/secret.ts'
import { CLUSTER, Fleet, OTHER_CLUSTER, p256 } from './fleet.ts'
import { encode, headerOf, payloadOf, signature } from './forge.ts'

const HASH = 'A'.repeat(43)

describe('a publication', () => {
  const secret = new Secret(Buffer.alloc(32, 1).toString('base64url'))
  const agent = generateSigningKey()
  const payload = { cluster: CLUSTER, serverCa: 'AAAA', userCa: 'BBBB', agentKey: agent.jwk }
  const mismatch = { name: 'TrustError', code: 'MCM_PAIRING_MISMATCH' }

  function expectRefused(text: string, by = secret, cluster = CLUSTER) {
    return expect(verifyPublication(by, text, cluster)).rejects.toMatchObject(mismatch)
  }

  /** Any header and payload, with the right secret. */
  function forge(header: string, text: string): string {
    const input = `${encode(header)}.${encode(text)}`
    const mac = createHmac('sha256', Buffer.alloc(32, 1)).update(input).digest('base64url')
    return `${input}.${mac}`
  }

  test('is what the agent said, to whoever holds the pairing secret', async () => {
    const text = await signPublication(secret, payload)
    expect(await verifyPublication(secret, text, CLUSTER)).toEqual(payload)
  })

  test('with another CA, key or cluster in it is refused: the hub cannot put its own there', async () => {
    const text = await signPublication(secret, payload)
    const [header, body, mac] = text.split('.') as [string, string, string]
    const said = Buffer.from(body, 'base64url').toString()
    const hub = generateSigningKey()
    for (const other of [
      said.replace('BBBB', 'CCCC'),
      said.replace('AAAA', 'CCCC'),
      said.replace(agent.jwk.x, hub.jwk.x),
      said.replace(CLUSTER, OTHER_CLUSTER),
    ])
      await expectRefused(`${header}.${encode(other)}.${mac}`)
    const hubSecret = new Secret(Buffer.alloc(32, 2).toString('base64url'))
    await expectRefused(await signPublication(hubSecret, payload))
  })

  test('for another cluster is refused', async () => {
    await expectRefused(await signPublication(secret, payload), secret, OTHER_CLUSTER)
  })

  test('for another purpose, with another alg, none, or members besides is refused', async () => {
    const text = await signPublication(secret, payload)
    const said = Buffer.from(text.split('.')[1]!, 'base64url').toString()
    expect(await verifyPublication(secret, forge('{"alg":"HS256"}', said), CLUSTER)).toEqual(
      payload,
    )
    await expectRefused(forge('{"alg":"HS256"}', said.replace('register', 'enrol')))
    await expectRefused(forge('{"alg":"HS256"}', said.replace('"purpose":"mcm register v1",', '')))
    await expectRefused(forge('{"alg":"HS384"}', said))
    await expectRefused(forge('{"alg":"HS256","typ":"JWT"}', said))
    await expectRefused(forge('{"alg":"HS256"}', said.replace('{', '{"cluster":"x",')))
    await expectRefused(`${encode('{"alg":"none"}')}.${encode(said)}.`)
    for (const noise of ['', 'a.b', 'a.b.c', 'a.b.c.d', `${text}=`, ` ${text}`])
      await expectRefused(noise)
  })

  test('with an agent key that is no P-256 key is refused', async () => {
    const invited = (await (await Fleet.found()).invite('bob')).key
    for (const agentKey of [invited.jwk, { crv: 'P-256', kty: 'EC', x: 'x', y: 'y' } as const])
      await expectRefused(await signPublication(secret, { ...payload, agentKey }))
  })

  test('is neither signed nor read with a secret of under 256 bits', async () => {
    const short = new Secret(Buffer.alloc(31, 1).toString('base64url'))
    await expect(signPublication(short, payload)).rejects.toMatchObject(mismatch)
    await expectRefused(await signPublication(secret, payload), short)
  })
})

describe('an enrolment proof', () => {
  const device = generateSigningKey()
  const said = { cluster: CLUSTER, csr: HASH, exporter: HASH, time: '2026-01-02T03:04:05Z' }
  const header = () => JSON.stringify({ alg: 'ES256', jwk: device.jwk })
  const body = () => JSON.stringify({ purpose: 'mcm enrol v1', ...said })

  function expectRefused(text: string) {
    return expect(verifyEnrolmentProof(text)).rejects.toMatchObject({
      name: 'IdentityError',
      code: 'MCM_DEVICE_UNKNOWN',
    })
  }

  function forge(headerText: string, bodyText: string, key = device): string {
    const [first, second] = [encode(headerText), encode(bodyText)]
    return `${first}.${second}.${signature(first, second, key)}`
  }

  test('names the key that signed it and what it signed', async () => {
    const text = await signEnrolmentProof(device, said)
    expect(await verifyEnrolmentProof(text)).toEqual({
      key: device.jwk,
      keyId: device.id,
      payload: { purpose: 'mcm enrol v1', ...said },
    })
    expect((await verifyEnrolmentProof(forge(header(), body()))).keyId).toBe(device.id)
  })

  test('by another key than the one it names is refused', async () => {
    await expectRefused(forge(header(), body(), generateSigningKey()))
  })

  test('with any part changed is refused', async () => {
    const text = await signEnrolmentProof(device, said)
    const [first, , last] = text.split('.')
    await expectRefused(`${first}.${encode(body().replace(CLUSTER, OTHER_CLUSTER))}.${last}`)
    await expectRefused(`${first}.${encode(body().replace('03:04', '03:05'))}.${last}`)
  })

  test('with another alg, typ, members besides, or a private member is refused', async () => {
    const jwk = JSON.stringify(device.jwk)
    for (const other of [
      `{"alg":"none","jwk":${jwk}}`,
      `{"alg":"EdDSA","jwk":${jwk}}`,
      `{"jwk":${jwk},"alg":"ES256"}`,
      `{"alg":"ES256","typ":"JWT","jwk":${jwk}}`,
      `{"alg":"ES256","jwk":${jwk},"kid":"x"}`,
      header().replace('}}', ',"d":"x"}}'),
      'null',
      '{}',
    ])
      await expectRefused(forge(other, body()))
  })

  test('for another purpose, with a member more, twice, missing or out of form is refused', async () => {
    for (const other of [
      body().replace('enrol', 'register'),
      body().replace('{', '{"cluster":"x",'),
      body().replace(HASH, 'short'),
      body().replace('"time":"2026-01-02T03:04:05Z"', '"time":"now"'),
      body().replace(',', ', '),
      'null',
    ])
      await expectRefused(forge(header(), other))
  })

  test('with an Ed25519 key, as an invite has, is refused', async () => {
    const invited = (await (await Fleet.found()).invite('bob')).key
    await expectRefused(forge(JSON.stringify({ alg: 'EdDSA', jwk: invited.jwk }), body(), invited))
  })

  test('is no statement, and a statement no proof', async () => {
    const fleet = await Fleet.found()
    const statement = fleet.directory.statements[0]!
    await expectRefused(forge(headerOf(device), payloadOf(statement)))
    const genesis = JSON.parse(statement.text)
    const { protected: first, signature: last } = genesis.signatures[0]
    await expectRefused(`${first}.${genesis.payload}.${last}`)
    expect(p256(device)).toEqual(device.jwk)
  })

  test('that is noise is refused', async () => {
    for (const text of ['', '.', '..', 'a.b.c', 'x'.repeat(8192)]) await expectRefused(text)
  })
})

describe('an invite proof', () => {
  const fleet = Buffer.alloc(32, 7).toString('base64url')
  const invite = inviteSigningKey(Buffer.alloc(16, 9).toString('base64url'), fleet)
  const said = { fleet, exporter: HASH, time: '2026-01-02T03:04:05Z' }
  const header = () => JSON.stringify({ alg: 'EdDSA', typ: 'mcm-invite-proof', jwk: invite.jwk })
  const body = () => JSON.stringify({ purpose: 'mcm invite v1', ...said })

  function expectRefused(text: string) {
    return expect(verifyInviteProof(text)).rejects.toMatchObject({
      name: 'IdentityError',
      code: 'MCM_INVITE_EXPIRED',
    })
  }

  function forge(headerText: string, bodyText: string, key = invite): string {
    const [first, second] = [encode(headerText), encode(bodyText)]
    return `${first}.${second}.${signature(first, second, key)}`
  }

  test('names the key that signed it and what it signed', async () => {
    const text = await signInviteProof(invite, said)
    expect(await verifyInviteProof(text)).toEqual({
      keyId: invite.id,
      payload: { purpose: 'mcm invite v1', ...said },
    })
    // Ed25519 signs without chance: whoever follows PROTOCOL §5.1 comes to this very text.
    expect(text).toBe(forge(header(), body()))
  })

  test('by another key, or with any part changed, is refused', async () => {
    const other = inviteSigningKey(Buffer.alloc(16, 8).toString('base64url'), fleet)
    await expectRefused(forge(header(), body(), other))
    const [first, , last] = (await signInviteProof(invite, said)).split('.')
    await expectRefused(`${first}.${encode(body().replace('03:04', '03:05'))}.${last}`)
  })

  test('with another alg or typ, without one, or with members besides is refused', async () => {
    const jwk = JSON.stringify(invite.jwk)
    for (const other of [
      `{"alg":"none","typ":"mcm-invite-proof","jwk":${jwk}}`,
      `{"alg":"EdDSA","jwk":${jwk}}`,
      `{"alg":"EdDSA","typ":"mcm-statement","jwk":${jwk}}`,
      `{"typ":"mcm-invite-proof","alg":"EdDSA","jwk":${jwk}}`,
      `{"alg":"EdDSA","typ":"mcm-invite-proof","jwk":${jwk},"kid":"x"}`,
      'null',
    ])
      await expectRefused(forge(other, body()))
  })

  test('for another purpose, with a member more, missing or out of form is refused', async () => {
    for (const other of [
      body().replace('mcm invite', 'mcm enrol'),
      body().replace('{', '{"user":"x",'),
      body().replace(HASH, 'short'),
      body().replace('"time":"2026-01-02T03:04:05Z"', '"time":"now"'),
      body().replace(',', ', '),
      'null',
    ])
      await expectRefused(forge(header(), other))
  })

  test('by a device’s P-256 key is refused, and so is an enrolment proof', async () => {
    const device = generateSigningKey()
    for (const alg of ['ES256', 'EdDSA']) {
      const text = JSON.stringify({ alg, typ: 'mcm-invite-proof', jwk: device.jwk })
      await expectRefused(forge(text, body(), device))
    }
    const { exporter, time } = said
    const enrolment = { cluster: CLUSTER, csr: HASH, exporter, time }
    await expectRefused(await signEnrolmentProof(device, enrolment))
  })
})
