import { createECDH, createHash, createPrivateKey } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import type { Detail } from '../../src/directory/details.ts'
import { Directory } from '../../src/directory/directory.ts'
import {
  inviteSigningKey,
  type SigningKey,
  signingKeyFromPem,
} from '../../src/directory/signing-key.ts'
import { signStatement } from '../../src/directory/statement.ts'
import { visibleDetails } from '../../src/directory/visibility.ts'
import { describeState } from './describe-state.ts'

/**
 * Writes vector.json (PROTOCOL §3.4): a chain with every type of statement. Keys and salts follow from names,
 * for tests only; ES256 signatures are random, so the file is kept and not made again by the tests.
 * Run: node test/directory/make-vector.ts
 */

const [IDC, ACK] = ['c-idcidcidc2', 'c-ackackack2']
const START = Date.parse('2026-01-01T00:00:00Z')
const MINUTE_MS = 60_000
const keys: Record<string, SigningKey> = {}
const inviteSecrets: Record<string, string> = {}
let directory = Directory.empty()

function digest(name: string): Buffer {
  return createHash('sha256').update(`mcm test vector: ${name}`).digest()
}

/** The P-256 key of a name. */
function keyOf(name: string): SigningKey & { jwk: { kty: 'EC' } } {
  const ecdh = createECDH('prime256v1')
  ecdh.setPrivateKey(digest(name))
  const point = ecdh.getPublicKey()
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) =>
    part.toString('base64url'),
  )
  const jwk = { kty: 'EC', crv: 'P-256', x: x!, y: y!, d: digest(name).toString('base64url') }
  const pem = createPrivateKey({ key: jwk, format: 'jwk' }).export({ type: 'sec1', format: 'pem' })
  keys[name] = signingKeyFromPem(pem as string)
  return keys[name] as SigningKey & { jwk: { kty: 'EC' } }
}

function inviteOf(name: string): SigningKey {
  inviteSecrets[name] = digest(name).subarray(0, 16).toString('base64url')
  return inviteSigningKey(inviteSecrets[name], directory.fleet!)
}

async function append(
  draft: Detail & { inviteKey?: string; invite?: number },
  ...signers: readonly SigningKey[]
): Promise<number> {
  const seq = directory.statements.length
  const salt = digest(`salt ${seq}`).subarray(0, 16)
  const time = new Date(START + seq * MINUTE_MS)
  const head = { after: directory.head, time, salt }
  const { statement, detail } = await signStatement({ ...draft, ...head }, signers)
  directory = await directory.extend({ statements: [statement.text], details: [detail] })
  return seq
}

function cluster(
  id: string,
  name: string,
  agent: string,
  labels: Record<string, string>,
  approvals?: 2,
): Detail {
  const der = (what: string) => digest(`${name} ${what}`).toString('base64')
  const cas = { serverCa: der('server CA'), userCa: der('user CA') }
  const fixed = { issuer: 'agent', prefix: 'mcm:' } as const
  return {
    type: 'cluster',
    detail: {
      id,
      name,
      labels,
      ...cas,
      agentKey: keyOf(agent).id,
      ...fixed,
      ...(approvals ? { approvals } : {}),
    },
  }
}

function hub(endpoints: string[], privateEndpoints: string[], certificate: string): Detail {
  const der = digest(certificate).toString('base64')
  return { type: 'hub', detail: { endpoints, privateEndpoints, certificate: der } }
}

function invite(user: string, groups: string[], expires: string, bot = false): Detail {
  return { type: 'invite', detail: { user, groups, expires, bot } }
}

function device(user: string, name: string, key: ReturnType<typeof keyOf>): Detail {
  return { type: 'device', detail: { user, name, key: key.jwk } }
}

function member(
  action: 'add' | 'remove',
  kind: 'user' | 'group',
  name: string,
  id: string,
): Detail {
  return { type: 'member', detail: { action, subject: { kind, name }, cluster: id } }
}

const [fleetKey, alice] = [keyOf('fleet'), keyOf('alice laptop')]
const founder = { key: alice.jwk, name: 'alice’s laptop' }
const genesis: Detail = {
  type: 'fleet',
  detail: { fleetKey: fleetKey.jwk, user: 'alice', device: founder },
}
await append(genesis, fleetKey, alice)
await append(hub(['hub.example.com:8443'], ['10.0.0.1:8443'], 'first hub'), alice)
await append(cluster(IDC, 'idc-k8s', 'idc agent', { env: 'prod', 'example.com/site': 'a' }), alice)
await append(member('add', 'user', 'alice', IDC), alice)

const bobInvite = inviteOf('bob')
const bobSeq = await append(
  { ...invite('bob', ['dev', 'qa'], '2026-01-08T00:00:00Z'), inviteKey: bobInvite.id },
  alice,
)
const bob = keyOf('bob laptop')
await append({ ...device('bob', 'bob’s laptop', bob), invite: bobSeq }, bobInvite, bob)
await append(member('add', 'group', 'dev', IDC), alice)

const lateInvite = inviteOf('late')
const lateSeq = await append(
  { ...invite('late', [], '2026-01-01T00:07:30Z'), inviteKey: lateInvite.id },
  alice,
)
const late = keyOf('late laptop')
await append({ ...device('late', 'too late', late), invite: lateSeq }, lateInvite, late)

await append({ type: 'admin', detail: { action: 'add', user: 'bob', key: bob.id } }, alice)
await append(cluster(ACK, 'ack', 'ack agent', {}, 2), bob)
await append(member('add', 'user', 'Łukasz', ACK), bob)
const botInvite = inviteOf('Łukasz')
const botSeq = await append(
  { ...invite('Łukasz', [], '2026-01-08T00:00:00Z', true), inviteKey: botInvite.id },
  bob,
)
const bot = keyOf('ci runner')
await append({ ...device('Łukasz', 'ci runner', bot), invite: botSeq }, botInvite, bot)
await append(cluster(IDC, 'idc-k8s', 'idc agent', { env: 'prod' }), bob)
await append(hub(['hub.example.com:8443'], [], 'second hub'), alice)
await append({ type: 'admin', detail: { action: 'remove', user: 'bob', key: bob.id } }, alice)
await append({ type: 'revoke', detail: { device: bot.id, reason: 'runner rebuilt' } }, alice)
await append({ type: 'revoke', detail: { user: 'bob', reason: 'left' } }, alice)
const againInvite = inviteOf('bob again')
const againSeq = await append(
  { ...invite('bob', ['dev'], '2026-01-08T00:00:00Z'), inviteKey: againInvite.id },
  alice,
)
await append(
  {
    type: 'groups',
    detail: { user: 'bob', groups: ['dev', 'on-call'], nickname: 'Bob the Builder' },
  },
  alice,
)
await append(
  {
    type: 'member',
    detail: {
      action: 'add',
      subject: { kind: 'user', name: 'bob' },
      cluster: IDC,
      expires: '2026-01-02T00:00:00Z',
    },
  },
  alice,
)
await append(
  {
    type: 'grant',
    detail: {
      subject: { kind: 'user', name: 'bob' },
      cluster: IDC,
      group: 'grant:0123456789abcdef',
      expires: '2026-01-02T00:00:00Z',
    },
  },
  alice,
)
const phone = keyOf('bob phone')
await append({ ...device('bob', 'phone', phone), invite: againSeq }, againInvite, phone)
const asked = { cluster: IDC, user: 'bob', role: 'mcm:ops', seconds: 3_600, reason: 'disk full' }
const approvedSeq = await append({ type: 'request', detail: asked }, phone)
await append({ type: 'approval', detail: { action: 'approve', request: approvedSeq } }, alice)
const narrow = { ...asked, role: 'mcm:ns-dev', namespace: 'shop' }
const deniedSeq = await append({ type: 'request', detail: narrow }, phone)
await append({ type: 'approval', detail: { action: 'deny', request: deniedSeq } }, alice)
const takenBackSeq = await append({ type: 'request', detail: narrow }, phone)
await append({ type: 'approval', detail: { action: 'end', request: takenBackSeq } }, phone)
await append({ type: 'approval', detail: { action: 'approve', request: takenBackSeq } }, alice)
await append(
  {
    type: 'oidc',
    detail: {
      action: 'set',
      name: 'corp',
      issuer: 'https://id.example.com',
      domain: 'example.com',
      maximumAge: 43_200,
      people: {
        clientId: 'mcm',
        scopes: ['email', 'groups'],
        userClaim: 'email',
        groupsClaim: 'groups',
        groups: { developers: 'dev' },
      },
      workloads: [{ user: 'ci@example.com', claims: { sub: 'repo:example/app' } }],
    },
  },
  alice,
)
const tabletInvite = inviteOf('alice tablet')
const tabletSeq = await append(
  { ...invite('alice', [], '2026-01-08T00:00:00Z'), inviteKey: tabletInvite.id },
  alice,
)
const tablet = keyOf('alice tablet')
await append({ ...device('alice', 'tablet', tablet), invite: tabletSeq }, tabletInvite, tablet)
await append({ type: 'removal', detail: { device: tablet.id, reason: 'lost' } }, alice)
await append(member('remove', 'user', 'alice', IDC), alice)
await append({ type: 'revoke', detail: { cluster: ACK, reason: '' } }, alice)
await append({ type: 'confirm', detail: {} }, alice)

const numbers = (viewer: Parameters<typeof visibleDetails>[1]) =>
  visibleDetails(directory, viewer).map(({ seq }) => seq)
const vector = {
  comment: 'PROTOCOL §3.4. These keys are public and for tests only.',
  fleet: directory.fleet,
  keys: Object.fromEntries(
    Object.entries(keys).map(([name, { id, privateKey }]) => [
      name,
      { id, jwk: privateKey.export({ format: 'jwk' }) },
    ]),
  ),
  invites: Object.fromEntries(
    Object.entries(inviteSecrets).map(([name, secret]) => {
      const { id, jwk } = inviteSigningKey(secret, directory.fleet!)
      return [name, { secret, id, jwk }]
    }),
  ),
  hashes: directory.statements.map(({ hash }) => hash),
  page: directory.page(-1),
  visible: {
    'bob phone': numbers({ kind: 'device', key: phone.id }),
    'bob laptop': numbers({ kind: 'device', key: bob.id }),
    'ci runner': numbers({ kind: 'device', key: bot.id }),
    'idc agent': numbers({ kind: 'agent', cluster: IDC }),
    'ack agent': numbers({ kind: 'agent', cluster: ACK }),
    'bob again': numbers({ kind: 'invite', key: againInvite.id }),
  },
  state: describeState(directory.state),
}
writeFileSync(new URL('vector.json', import.meta.url), `${JSON.stringify(vector, null, 2)}\n`)
