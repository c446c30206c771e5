import { createHmac, createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { generalVerify } from 'jose'
import { beforeAll, describe, expect, test } from 'vitest'
import { generateSigningKey, type SigningKey } from '../../src/directory/signing-key.ts'
import {
  parseStatement,
  readDetail,
  type Statement,
  signStatement,
} from '../../src/directory/statement.ts'
import { keyId, sha256 } from '../../src/protocol/keys.ts'
import { Fleet, hubDraft, type Signed } from './fleet.ts'
import { encode, forgeStatement, headerOf, payloadOf, signature } from './forge.ts'

let fleet: Fleet
let signed: Signed

beforeAll(async () => {
  fleet = await Fleet.found()
  signed = await fleet.sign(hubDraft(['hub.example.com:8443']))
})

async function expectInvalid(text: string) {
  await expect(parseStatement(text)).rejects.toMatchObject({
    name: 'TrustError',
    code: 'MCM_DIRECTORY_INVALID',
  })
}

/** The good statement's payload with one text replaced, properly signed again. */
async function expectPayloadInvalid(from: string, to: string, signer: SigningKey = fleet.alice) {
  const payload = payloadOf(signed.statement)
  expect(payload).toContain(from)
  await expectInvalid(forgeStatement(payload.replace(from, to), [signer]))
}

async function expectHeaderInvalid(header: (key: SigningKey) => string) {
  await expectInvalid(forgeStatement(payloadOf(signed.statement), [fleet.alice], header))
}

describe('a signed statement', () => {
  test('reads back with the same hash, number, predecessor, time, type and signers', async () => {
    const read = await parseStatement(signed.statement.text)
    expect(read).toEqual(signed.statement)
    expect(read).toMatchObject({
      hash: sha256(signed.statement.text),
      seq: 1,
      previous: fleet.directory.head!.hash,
      time: new Date('2026-01-01T00:01:00Z'),
      type: 'hub',
      signers: [fleet.alice.id],
    })
  })

  test('is a JWS that any library verifies', async () => {
    const jws = JSON.parse(signed.statement.text)
    const { payload, protectedHeader } = await generalVerify(jws, { ...fleet.alice.jwk })
    expect(JSON.parse(Buffer.from(payload).toString())).toMatchObject({ v: 1, seq: 1, type: 'hub' })
    expect(protectedHeader).toEqual({ alg: 'ES256', typ: 'mcm-statement', jwk: fleet.alice.jwk })
  })

  test('is read whoever forged it, when every byte is as it must be', async () => {
    const again = forgeStatement(payloadOf(signed.statement), [fleet.alice])
    expect((await parseStatement(again)).signers).toEqual([fleet.alice.id])
  })

  test('drops fractions of a second', async () => {
    const time = new Date('2026-05-06T07:08:09.999Z')
    const { statement } = await fleet.sign(hubDraft(['h:1']), [fleet.alice], { time })
    expect(statement.time).toEqual(new Date('2026-05-06T07:08:09Z'))
  })

  test('is salted: the same detail has another hash each time', async () => {
    const again = await fleet.sign(hubDraft(['hub.example.com:8443']))
    expect(again.detail.text).toBe(signed.detail.text)
    expect(again.statement.detailHash).not.toBe(signed.statement.detailHash)
    const draft = { ...hubDraft(['h:1']), after: null, time: new Date(), salt: randomBytes(8) }
    await expect(signStatement(draft, [fleet.alice])).rejects.toThrow(TypeError)
  })
})

describe('a signature that does not hold is refused', () => {
  test('with any byte of the text changed', async () => {
    const { text } = signed.statement
    for (let index = 0; index < text.length; index += 3) {
      const other = text[index] === 'A' ? 'B' : 'A'
      await expectInvalid(text.slice(0, index) + other + text.slice(index + 1))
    }
  })

  test('by another key than the header’s', async () => {
    const mallory = generateSigningKey()
    const payload = payloadOf(signed.statement)
    await expectInvalid(forgeStatement(payload, [mallory], () => headerOf(fleet.alice)))
  })

  test('on a second place when the first one holds', async () => {
    const genesis = fleet.directory.statements[0]!
    const jws = JSON.parse(genesis.text)
    jws.signatures[1].signature = jws.signatures[0].signature
    await expectInvalid(JSON.stringify(jws))
    jws.signatures[1] = jws.signatures[0]
    expect((await parseStatement(JSON.stringify(jws))).signers).toEqual([
      fleet.fleetKey.id,
      fleet.fleetKey.id,
    ])
  })

  test('in its second form, which whoever relays it could make without the key', async () => {
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
    const jws = JSON.parse(signed.statement.text)
    const [entry] = jws.signatures
    const bytes = Buffer.from(entry.signature, 'base64url')
    const s = BigInt(`0x${bytes.subarray(32).toString('hex')}`)
    const twin = Buffer.from((order - s).toString(16).padStart(64, '0'), 'hex')
    entry.signature = Buffer.concat([bytes.subarray(0, 32), twin]).toString('base64url')
    const key = { ...fleet.alice.jwk }
    await expect(generalVerify(jws, key)).resolves.toBeDefined()
    await expectInvalid(JSON.stringify(jws))
  })

  test('of all zeros, of the group order, or empty', async () => {
    const jws = JSON.parse(signed.statement.text)
    const order = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'
    for (const bytes of [Buffer.alloc(64), Buffer.from(order + order, 'hex'), Buffer.alloc(0)]) {
      jws.signatures[0].signature = bytes.toString('base64url')
      await expectInvalid(JSON.stringify(jws))
    }
  })

  test('in DER instead of the 64 bytes of RFC 7518', async () => {
    const header = encode(headerOf(fleet.alice))
    const payload = encode(payloadOf(signed.statement))
    const raw = Buffer.from(signature(header, payload, fleet.alice), 'base64url')
    const der = Buffer.concat([Buffer.from('3044', 'hex'), Buffer.of(2, 32), raw.subarray(0, 32)])
    const text = Buffer.concat([der, Buffer.of(2, 32), raw.subarray(32)]).toString('base64url')
    await expectInvalid(
      JSON.stringify({ payload, signatures: [{ protected: header, signature: text }] }),
    )
  })
})

describe('a header that is not exactly alg, typ and jwk is refused', () => {
  const jwk = () => JSON.stringify(fleet.alice.jwk)

  test('alg none, with or without a signature', async () => {
    await expectHeaderInvalid(() => `{"alg":"none","typ":"mcm-statement","jwk":${jwk()}}`)
    const header = encode(`{"alg":"none","typ":"mcm-statement","jwk":${jwk()}}`)
    const payload = encode(payloadOf(signed.statement))
    await expectInvalid(
      JSON.stringify({ payload, signatures: [{ protected: header, signature: '' }] }),
    )
  })

  test('another alg than the key’s: HS256, ES384, EdDSA with a P-256 key, ES256 with an Ed25519 key', async () => {
    for (const alg of ['HS256', 'ES384', 'EdDSA', 'es256', ''])
      await expectHeaderInvalid(() => `{"alg":"${alg}","typ":"mcm-statement","jwk":${jwk()}}`)
    const invited = await fleet.invite('mallory')
    const payload = payloadOf(signed.statement)
    const wrong = () => headerOf(invited.key).replace('EdDSA', 'ES256')
    await expectInvalid(forgeStatement(payload, [invited.key], wrong))
  })

  test('HS256 keyed with the public key', async () => {
    const secret = Buffer.from(JSON.stringify(fleet.alice.jwk))
    const header = encode(`{"alg":"HS256","typ":"mcm-statement","jwk":${jwk()}}`)
    const payload = encode(payloadOf(signed.statement))
    const mac = createHmac('sha256', secret).update(`${header}.${payload}`).digest('base64url')
    await expectInvalid(
      JSON.stringify({ payload, signatures: [{ protected: header, signature: mac }] }),
    )
  })

  test('another typ, none, or members besides', async () => {
    await expectHeaderInvalid(() => `{"alg":"ES256","typ":"JWT","jwk":${jwk()}}`)
    await expectHeaderInvalid(() => `{"alg":"ES256","jwk":${jwk()}}`)
    for (const more of ['"kid":"x"', '"crit":["b64"],"b64":false', '"b64":false', '"__proto__":{}'])
      await expectHeaderInvalid(() => headerOf(fleet.alice).replace(/\}$/, `,${more}}`))
  })

  test('members in another order, twice, or with white space', async () => {
    await expectHeaderInvalid(() => `{"typ":"mcm-statement","alg":"ES256","jwk":${jwk()}}`)
    await expectHeaderInvalid(() => headerOf(fleet.alice).replace('{', '{"alg":"none",'))
    await expectHeaderInvalid(() => headerOf(fleet.alice).replace(',', ', '))
    await expectHeaderInvalid(() => headerOf(fleet.alice).replace('ES256', '\\u0045S256'))
  })

  test('a private member, or another, in the jwk', async () => {
    const { d } = fleet.alice.privateKey.export({ format: 'jwk' })
    for (const more of [`"d":"${d}"`, '"use":"sig"', '"kid":"alice"'])
      await expectHeaderInvalid(() => headerOf(fleet.alice).replace(/\}\}$/, `,${more}}}`))
  })

  test('a key that is not on the curve, RSA, P-384, secp256k1, or a secret', async () => {
    const off = { ...fleet.alice.jwk, x: fleet.fleetKey.jwk.x }
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey
    const k1 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey
    const jwks = [off, ...[p384, k1, rsa].map((key) => key.export({ format: 'jwk' }))]
    for (const bad of [...jwks, { kty: 'oct', k: 'AAAA' }, null, 'x', []])
      await expectHeaderInvalid(() =>
        JSON.stringify({ alg: 'ES256', typ: 'mcm-statement', jwk: bad }),
      )
  })

  test('the same key under a second spelling, which would have a second key id', async () => {
    const { x } = fleet.alice.jwk
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const last = alphabet[alphabet.indexOf(x.at(-1)!) + 1]!
    const twin = `${x.slice(0, -1)}${last}`
    expect(Buffer.from(twin, 'base64url')).toEqual(Buffer.from(x, 'base64url'))
    await expectHeaderInvalid(() => headerOf(fleet.alice).replace(x, twin))
  })
})

describe('a text with a second reading is refused', () => {
  test('white space, an escape, a byte-order mark, or anything after it', async () => {
    const { text } = signed.statement
    for (const other of [
      ` ${text}`,
      `${text}\n`,
      `\ufeff${text}`,
      text.replace(':', ': '),
      text.replace('payload', '\\u0070ayload'),
      `${text}${text}`,
      '',
      'null',
      '[]',
      '"text"',
      '{}',
    ])
      await expectInvalid(other)
  })

  test('a member twice, one more, or another order', async () => {
    const { text } = signed.statement
    const { payload, signatures } = JSON.parse(text)
    const [entry] = signatures
    for (const other of [
      text.replace('{', '{"payload":"AAAA",'),
      text.replace(/\}$/, ',"x":1}'),
      text.replace(/\}$/, ',"__proto__":{"admin":true}}'),
      JSON.stringify({ signatures, payload }),
      JSON.stringify({ payload, signatures, header: {} }),
      JSON.stringify({ payload, signatures: [{ ...entry, header: { kid: 'x' } }] }),
      JSON.stringify({
        payload,
        signatures: [{ signature: entry.signature, protected: entry.protected }],
      }),
      JSON.stringify({ payload, ...entry }),
    ])
      await expectInvalid(other)
  })

  test('base64url with padding, in the other alphabet, or with bits left over', async () => {
    const payload = payloadOf(signed.statement)
    const header = encode(headerOf(fleet.alice))
    const build = (encoded: string, protectedHeader = header) => {
      const value = signature(protectedHeader, encoded, fleet.alice)
      const signatures = [{ protected: protectedHeader, signature: value }]
      return JSON.stringify({ payload: encoded, signatures })
    }
    await parseStatement(build(encode(payload)))
    for (const suffix of ['=', '==', ' ', '\n', 'A'])
      await expectInvalid(build(encode(payload) + suffix))
    await expectInvalid(build(encode(payload), `${header}=`))
    const standard = Buffer.from(`${payload}`).toString('base64')
    if (standard !== encode(payload)) await expectInvalid(build(standard))
    const [entry] = JSON.parse(signed.statement.text).signatures
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const last = alphabet[alphabet.indexOf(entry.signature.at(-1)) + 1]
    const twin = `${entry.signature.slice(0, -1)}${last}`
    const bytes = (value: string) => Buffer.from(value, 'base64url')
    expect(bytes(twin)).toEqual(bytes(entry.signature))
    await expectInvalid(signed.statement.text.replace(entry.signature, twin))
  })

  test('a payload in another order, with white space, a member twice or one more', async () => {
    await expectPayloadInvalid('{"v":1,"seq":1,', '{"seq":1,"v":1,')
    await expectPayloadInvalid('"seq":1', '"seq": 1')
    await expectPayloadInvalid('"seq":1', '"seq":0,"seq":1')
    await expectPayloadInvalid('"type":"hub"', '"type":"member","type":"hub"')
    await expectPayloadInvalid('"type":"hub"', '"type":"hub","note":1')
    await expectPayloadInvalid('"type":"hub"', '"type":"hub","__proto__":{"seq":7}')
    await expectPayloadInvalid('"type":"hub"', '"type":"h\\u0075b"')
  })

  test('numbers that are huge, negative, fractional, exponential or text', async () => {
    for (const number of [
      '1e400',
      '9007199254740993',
      '-1',
      '-0',
      '1.0',
      '1e0',
      '01',
      '"1"',
      'null',
    ])
      await expectPayloadInvalid('"seq":1', `"seq":${number}`)
  })

  test('a version, a type or a time that is not known', async () => {
    await expectPayloadInvalid('"v":1', '"v":2')
    await expectPayloadInvalid('"type":"hub"', '"type":"root"')
    await expectPayloadInvalid('"type":"hub"', '"type":"__proto__"')
    for (const time of [
      '2026-01-01T00:01:00.000Z',
      '2026-01-01T00:01:00+00:00',
      '2026-01-01 00:01:00Z',
      '2026-02-30T00:00:00Z',
      '2026-01-01T24:00:00Z',
      '+12026-01-01T00:00:00Z',
    ])
      await expectPayloadInvalid('2026-01-01T00:01:00Z', time)
  })

  test('hashes that are not 32 bytes in base64url', async () => {
    const { detailHash, previous } = signed.statement
    for (const hash of ['', 'x', `${detailHash}A`, `${detailHash.slice(0, -1)}=`]) {
      await expectPayloadInvalid(detailHash, hash)
      await expectPayloadInvalid(previous!, hash)
    }
  })

  test('more than 64 KiB', async () => {
    await expectInvalid(`${signed.statement.text}${' '.repeat(65_536)}`)
  })
})

describe('members and signers out of place are refused', () => {
  test('a genesis that is not the first, and a first that is none', async () => {
    await expectPayloadInvalid('"type":"hub"', '"type":"fleet"')
    await expectPayloadInvalid(`"seq":1,"prev":"${signed.statement.previous}"`, '"seq":0')
    await expectPayloadInvalid(`"prev":"${signed.statement.previous}",`, '')
  })

  test('inviteKey and invite anywhere but in their own type, or missing there', async () => {
    const payload = payloadOf(signed.statement)
    const key = fleet.alice.id
    for (const other of [
      payload.replace(/\}$/, `,"inviteKey":"${key}"}`),
      payload.replace(/\}$/, ',"invite":0}'),
      payload.replace('"type":"hub"', '"type":"invite"'),
      payload
        .replace('"type":"hub"', '"type":"invite"')
        .replace(/\}$/, `,"inviteKey":"${key}","invite":0}`),
      payload.replace('"type":"hub"', '"type":"device"'),
    ])
      await expectInvalid(forgeStatement(other, [fleet.alice]))
  })

  test('one signature too many, too few, or of the wrong kind of key', async () => {
    const payload = payloadOf(signed.statement)
    const invited = await fleet.invite('bob')
    const device = payload.replace('"type":"hub"', '"type":"device"').replace(/\}$/, ',"invite":0}')
    for (const signers of [[], [fleet.alice, fleet.alice], [invited.key]])
      await expectInvalid(forgeStatement(payload, signers))
    for (const signers of [
      [fleet.alice],
      [invited.key],
      [fleet.alice, fleet.alice],
      [fleet.alice, invited.key],
      [invited.key, invited.key],
      [invited.key, fleet.alice, fleet.alice],
    ])
      await expectInvalid(forgeStatement(device, signers))
    expect((await parseStatement(forgeStatement(device, [invited.key, fleet.alice]))).type).toBe(
      'device',
    )
  })
})

describe('a detail', () => {
  test('is the one that was signed, or refused', () => {
    const { statement, detail } = signed
    expect(readDetail(statement, detail)).toEqual(hubDraft(['hub.example.com:8443']))
    const other = randomBytes(16).toString('base64url')
    for (const wrong of [
      { ...detail, text: detail.text.replace('hub.example', 'hub.evil') },
      { ...detail, salt: other },
      { ...detail, seq: 2 },
      { ...detail, salt: `${detail.salt}=` },
      { ...detail, salt: '' },
    ])
      expect(() => readDetail(statement, wrong)).toThrow(
        expect.objectContaining({ code: 'MCM_DIRECTORY_INVALID' }),
      )
  })

  test('cannot move the border between salt and text', () => {
    const { statement, detail } = signed
    const bytes = Buffer.concat([Buffer.from(detail.salt, 'base64url'), Buffer.from(detail.text)])
    for (const border of [15, 17]) {
      const salt = bytes.subarray(0, border).toString('base64url')
      const text = bytes.subarray(border).toString()
      expect(() => readDetail(statement, { ...detail, salt, text })).toThrow(
        expect.objectContaining({ code: 'MCM_DIRECTORY_INVALID' }),
      )
    }
  })
})

test('signing takes keys of files as they are', async () => {
  const pem = fleet.alice.privateKey.export({ type: 'pkcs8', format: 'pem' })
  const privateKey = createPrivateKey(pem)
  const key = { ...fleet.alice, privateKey }
  const { statement }: { statement: Statement } = await fleet.sign(hubDraft(['h:1']), [key])
  expect((await parseStatement(statement.text)).signers).toEqual([keyId(fleet.alice.jwk)])
})
