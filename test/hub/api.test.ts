import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { HubApi } from '../../src/client/hub.ts'
import { Directory } from '../../src/directory/directory.ts'
import { signPublication } from '../../src/directory/proofs.ts'
import {
  generateSigningKey,
  inviteSigningKey,
  type SigningKey,
} from '../../src/directory/signing-key.ts'
import { ensureStartToken } from '../../src/hub/start-token.ts'
import type { DirectoryAppend } from '../../src/protocol/messages.ts'
import { Secret } from '../../src/secret.ts'
import { hubIdentity } from '../client/certificates.ts'
import { type Draft, p256 } from '../directory/fleet.ts'
import { Stage } from './stage.ts'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.founded()
})

afterEach(() => stage.stop())

const inviteDetail = { user: 'bob', groups: [], expires: '2026-06-01T00:00:00Z', bot: false }

describe('founding the fleet', () => {
  beforeEach(async () => {
    await stage.stop()
    stage = await Stage.open()
  })

  it('takes the start token, once, and says so in the hub’s own words', async () => {
    const api = await stage.api(stage.alice)
    expect(await api.info()).toEqual({ version: '1.2.3', time: '2026-03-01T12:00:00Z' })
    const token = (await ensureStartToken(stage.store, stage.world))!.reveal()
    expect(token).toMatch(/^[\w-]{22}$/)
    const update = await stage.foundingStatements()
    const head = await api.foundFleet({ token, ...update })
    expect(head.seq).toBe(1)
    expect((await api.info()).fleet).toBeDefined()
    await expect(api.foundFleet({ token, ...update })).rejects.toMatchObject({
      code: 'MCM_FORBIDDEN',
      exitCode: 5,
    })
    expect(await ensureStartToken(stage.store, stage.world)).toBeUndefined()
    expect(await stage.store.readStartTokenHash()).toBeUndefined()
  })

  it('refuses a wrong token and that of an earlier start', async () => {
    const api = await stage.api(stage.alice)
    const update = await stage.foundingStatements()
    const none = { token: randomBytes(16).toString('base64url'), ...update }
    await expect(api.foundFleet(none)).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
    const first = (await ensureStartToken(stage.store, stage.world))!.reveal()
    await ensureStartToken(stage.store, stage.world)
    await expect(api.foundFleet({ token: first, ...update })).rejects.toMatchObject({
      code: 'MCM_FORBIDDEN',
    })
    expect((await api.info()).fleet).toBeUndefined()
  })

  it('keeps only a hash of the token', async () => {
    const token = (await ensureStartToken(stage.store, stage.world))!.reveal()
    expect(await stage.store.readStartTokenHash()).not.toContain(token)
  })

  it('wants the hub’s own certificate among the statements', async () => {
    const api = await stage.api(stage.alice)
    const token = (await ensureStartToken(stage.store, stage.world))!.reveal()
    const other = await hubIdentity()
    await expect(
      api.foundFleet({ token, ...(await stage.foundingStatements(other.der)) }),
    ).rejects.toMatchObject({
      code: 'MCM_BAD_REQUEST',
      message: expect.stringContaining('no statement names the certificate of this hub'),
    })
  })

  it('by two at once has one founder', async () => {
    const token = (await ensureStartToken(stage.store, stage.world))!.reveal()
    const api = await stage.api(stage.alice)
    const update = await stage.foundingStatements()
    const answers = await Promise.allSettled([
      api.foundFleet({ token, ...update }),
      api.foundFleet({ token, ...update }),
    ])
    expect(answers.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  })

  it('comes before any append', async () => {
    const api = await stage.api(stage.alice)
    await expect(api.append(await stage.foundingStatements())).rejects.toMatchObject({
      code: 'MCM_NOT_FOUND',
    })
  })
})

describe('appending to the directory', () => {
  let api: HubApi

  beforeEach(async () => {
    api = await stage.api(stage.alice)
  })

  async function invite(signer: SigningKey = stage.alice) {
    const key = generateSigningKey()
    const { statement, detail } = await stage.sign(
      { type: 'invite', inviteKey: inviteKey().id, detail: inviteDetail },
      [signer],
    )
    return { key, update: { statements: [statement.text], details: [detail] } }
  }

  function inviteKey() {
    return inviteSigningKey(randomBytes(16).toString('base64url'), stage.directory.fleet!)
  }

  it('of two at once accepts one and tells the other to sign again', async () => {
    const [one, other] = await Promise.all([invite(), invite()])
    const answers = await Promise.allSettled([api.append(one.update), api.append(other.update)])
    const refused = answers.filter((answer) => answer.status === 'rejected')
    expect(refused).toHaveLength(1)
    expect(refused[0]!.reason).toMatchObject({
      code: 'MCM_CONFLICT',
      cause: { code: 409, details: { head: { seq: 2 } } },
    })
    expect((await api.directory({ after: 1, details: 'new' })).statements).toHaveLength(1)
  })

  it('again with the same statements, because the answer was lost, is no error', async () => {
    const { update } = await invite()
    const head = await api.append(update)
    expect(await api.append(update)).toEqual(head)
    expect((await api.directory({ after: -1, details: 'all' })).head).toEqual(head)
  })

  it('needs no known key: the signatures decide', async () => {
    const stranger = await stage.api(generateSigningKey())
    const { update } = await invite()
    expect((await stranger.append(update)).seq).toBe(2)
  })

  it.each([
    ['signed by nobody of the fleet', async () => (await invite(generateSigningKey())).update],
    [
      'with one byte changed',
      async () => {
        const { update } = await invite()
        const text = update.statements[0]!
        const at = text.length - 20
        const other = text[at] === 'A' ? 'B' : 'A'
        return { ...update, statements: [text.slice(0, at) + other + text.slice(at + 1)] }
      },
    ],
    ['that are no statements', async () => ({ statements: ['{}'], details: [] })],
  ])('refuses statements %s', async (_what, make) => {
    await expect(api.append(await make())).rejects.toMatchObject({ code: 'MCM_DIRECTORY_INVALID' })
    expect((await api.directory({ after: -1, details: 'all' })).head!.seq).toBe(1)
  })

  it('refuses a statement without its detail, or with a detail of another', async () => {
    const { update } = await invite()
    await expect(api.append({ ...update, details: [] })).rejects.toMatchObject({
      code: 'MCM_BAD_REQUEST',
    })
    const stray = { seq: 0, salt: 'AAAA', text: '{}' }
    await expect(
      api.append({ ...update, details: [...update.details, stray] }),
    ).rejects.toMatchObject({ code: 'MCM_BAD_REQUEST' })
    await expect(api.append({ statements: [], details: [] })).rejects.toMatchObject({
      code: 'MCM_BAD_REQUEST',
    })
  })

  it('refuses a statement that would change nothing', async () => {
    const bob = await stage.admit('bob')
    await stage.append({ type: 'revoke', detail: { device: bob.id, reason: '' } })
    const detail = { action: 'add', user: 'bob', key: bob.id } as const
    const { statement, detail: envelope } = await stage.sign({ type: 'admin', detail }, [
      stage.alice,
    ])
    await expect(
      api.append({ statements: [statement.text], details: [envelope] }),
    ).rejects.toMatchObject({
      code: 'MCM_BAD_REQUEST',
      message: expect.stringContaining('would change nothing: this device has been revoked'),
    })
  })

  it('refuses to revoke an administrator who has not been removed from the admins', async () => {
    const bob = await stage.admit('bob')
    const change = (action: 'add' | 'remove') =>
      ({ type: 'admin', detail: { action, user: 'bob', key: bob.id } }) as const
    const revokes = [{ user: 'bob' }, { device: bob.id }].map(
      (who) => ({ type: 'revoke', detail: { ...who, reason: '' } }) as const,
    )
    const refused = {
      code: 'MCM_BAD_REQUEST',
      message: expect.stringContaining('remove it from the admins first'),
    }
    for (const revoke of revokes)
      await expect(api.append(await signed(change('add'), revoke))).rejects.toMatchObject(refused)
    await stage.append(change('add'))
    for (const revoke of revokes)
      await expect(api.append(await signed(revoke))).rejects.toMatchObject(refused)
    await api.append(await signed(change('remove'), revokes[0]!))
    const page = await api.directory({ after: -1, details: 'all' })
    expect((await Directory.restore(stage.directory.fleet!, page)).strandedAdmins.size).toBe(0)
  })

  /** Several statements of alice's, one after the other. */
  async function signed(...drafts: Draft[]): Promise<DirectoryAppend> {
    const update: DirectoryAppend = { statements: [], details: [] }
    let after = stage.directory.head
    for (const draft of drafts) {
      const { statement, detail } = await stage.sign(draft, [stage.alice], after)
      update.statements.push(statement.text)
      update.details.push(detail)
      after = { seq: statement.seq, hash: statement.hash }
    }
    return update
  }

  it.each([-11, 11])('refuses a statement whose clock is %i minutes off', async (minutes) => {
    stage.world.forward(minutes * 60_000)
    const { update } = await invite()
    stage.world.forward(-minutes * 60_000)
    await expect(api.append(update)).rejects.toMatchObject({
      code: 'MCM_CLOCK_SKEW',
      exitCode: 7,
      hint: expect.stringContaining('clock'),
    })
  })

  it('accepts a clock that is nine minutes off', async () => {
    stage.world.forward(-9 * 60_000)
    const { update } = await invite()
    stage.world.forward(9 * 60_000)
    expect((await api.append(update)).seq).toBe(2)
  })

  it('refuses a body that is no JSON, or longer than it may be, and goes on', async () => {
    const text = 'x'.repeat(60_000)
    const long = Array.from({ length: 100 }, (_, seq) => ({ seq, salt: '', text }))
    await expect(api.append({ statements: [], details: long })).rejects.toMatchObject({
      code: 'MCM_BAD_REQUEST',
    })
    expect((await api.info()).version).toBe('1.2.3')
  })
})

describe('reading the directory', () => {
  it('gives everybody in it the whole chain, and only the details that concern them', async () => {
    const bob = await stage.admit('bob')
    const carol = await stage.admit('carol')
    const cluster = await stage.cluster('carol')
    const [ofAlice, ofBob, ofCarol, ofAgent] = await Promise.all(
      [stage.alice, bob, carol, cluster.agentKey].map(async (key) =>
        (await stage.api(key)).directory({ after: -1, details: 'all' }),
      ),
    )
    const texts = stage.directory.statements.map(({ text }) => text)
    for (const page of [ofAlice, ofBob, ofCarol, ofAgent]) expect(page!.statements).toEqual(texts)
    expect(ofAlice!.details).toHaveLength(texts.length)
    const named = (page: typeof ofBob) => JSON.stringify(page!.details)
    expect(named(ofBob)).not.toContain('carol')
    expect(named(ofBob)).not.toContain(cluster.id)
    expect(named(ofCarol)).toContain(cluster.id)
    expect(named(ofCarol)).not.toContain('bob')
    expect(named(ofAgent)).toContain('carol')
    expect(named(ofAgent)).not.toContain('bob')
  })

  it('gives new statements with their details, or all details, as asked', async () => {
    await stage.admit('bob')
    const api = await stage.api(stage.alice)
    const fresh = await api.directory({ after: 2, details: 'new' })
    expect(fresh.statements).toHaveLength(1)
    expect(fresh.details.map(({ seq }) => seq)).toEqual([3])
    const all = await api.directory({ after: 3, details: 'all' })
    expect(all.statements).toEqual([])
    expect(all.details.map(({ seq }) => seq)).toEqual([0, 1, 2, 3])
  })

  it('tells a stranger nothing', async () => {
    for (const api of [await stage.api(generateSigningKey()), await stage.api()])
      await expect(api.directory({ after: -1, details: 'all' })).rejects.toMatchObject({
        code: 'MCM_DEVICE_UNKNOWN',
        exitCode: 4,
      })
  })

  it('tells a revoked device that it is revoked, and nothing else', async () => {
    const bob = await stage.admit('bob')
    await stage.append({ type: 'revoke', detail: { device: bob.id, reason: 'lost' } })
    const page = await (await stage.api(bob)).directory({ after: -1, details: 'all' })
    expect(JSON.stringify(page.details)).toContain('lost')
    expect(JSON.stringify(page.details)).not.toContain('"expires"')
  })

  it('refuses a number that is none', async () => {
    const api = await stage.api(stage.alice)
    await expect(api.directory({ after: -2, details: 'new' })).rejects.toMatchObject({
      code: 'MCM_BAD_REQUEST',
    })
    await expect(api.directory({ after: Number.NaN, details: 'new' })).rejects.toMatchObject({
      code: 'MCM_BAD_REQUEST',
    })
  })
})

describe('registering a cluster', () => {
  async function published(cluster: string, agentKey: SigningKey): Promise<string> {
    return signPublication(new Secret(randomBytes(32).toString('base64url')), {
      cluster,
      serverCa: 'c2VydmVy',
      userCa: 'dXNlcg==',
      agentKey: p256(agentKey),
    })
  }

  it('gives an id and a token to an admin, and to nobody else', async () => {
    const api = await stage.api(stage.alice)
    const { id, joinToken, expires } = await api.newCluster('idc-k8s')
    expect(id).toMatch(/^c-[a-z2-7]{10}$/)
    expect(expires).toBe('2026-03-02T12:00:00Z')
    expect((await stage.store.readRegistration(id))!.tokenHash).not.toContain(joinToken)
    const bob = await stage.api(await stage.admit('bob'))
    await expect(bob.newCluster('mine')).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
    await expect(bob.publication(id, 0)).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
    const stranger = await stage.api(generateSigningKey())
    await expect(stranger.newCluster('mine')).rejects.toMatchObject({ code: 'MCM_DEVICE_UNKNOWN' })
    await expect(api.newCluster('Not A Name')).rejects.toMatchObject({ code: 'MCM_BAD_NAME' })
  })

  it('hands the agent’s publication to the waiting owner, unread', async () => {
    const owner = await stage.api(stage.alice)
    const { id, joinToken } = await owner.newCluster('idc-k8s')
    expect(await owner.publication(id, 0)).toBeUndefined()
    const waiting = owner.publication(id, 60)
    const agentKey = generateSigningKey()
    const agent = await stage.api(agentKey)
    const publication = await published(id, agentKey)
    await agent.join(id, { joinToken, publication })
    expect(await waiting).toBe(publication)
    expect(await owner.publication(id, 0)).toBe(publication)
    await agent.join(id, { joinToken, publication })
  })

  it('opens for one agent key, for a day, with that token', async () => {
    const owner = await stage.api(stage.alice)
    const { id, joinToken } = await owner.newCluster('idc-k8s')
    const [firstKey, secondKey] = [generateSigningKey(), generateSigningKey()]
    const [first, second] = [await stage.api(firstKey), await stage.api(secondKey)]
    const ofFirst = { joinToken, publication: await published(id, firstKey) }
    const ofSecond = { joinToken, publication: await published(id, secondKey) }
    const refused = { code: 'MCM_FORBIDDEN' }
    await expect(first.join(id, { ...ofFirst, joinToken: 'x' })).rejects.toMatchObject(refused)
    await expect(first.join('c-zzzzzzzzzz', ofFirst)).rejects.toMatchObject(refused)
    await expect(second.join(id, ofFirst)).rejects.toMatchObject({ code: 'MCM_BAD_REQUEST' })
    await first.join(id, ofFirst)
    await expect(second.join(id, ofSecond)).rejects.toMatchObject(refused)
    stage.world.forward(25 * 3_600_000)
    await expect(first.join(id, ofFirst)).rejects.toMatchObject(refused)
    const stranger = await stage.api()
    await expect(stranger.join(id, ofFirst)).rejects.toMatchObject({ code: 'MCM_DEVICE_UNKNOWN' })
  })

  it('says when no such registration is open', async () => {
    const owner = await stage.api(stage.alice)
    await expect(owner.publication('c-zzzzzzzzzz', 0)).rejects.toMatchObject({
      code: 'MCM_CLUSTER_UNKNOWN',
    })
  })

  it('forgets a waiting owner who is gone', async () => {
    const owner = await stage.api(stage.alice)
    const { id } = await owner.newCluster('idc-k8s')
    const waiting = owner.publication(id, 60).catch((error) => error)
    await owner.info()
    owner.close()
    const other = await stage.api(stage.alice)
    expect(await other.publication(id, 0)).toBeUndefined()
    await stage.stop()
    expect(await waiting).toMatchObject({ code: 'MCM_HUB_UNREACHABLE' })
    stage = await Stage.founded()
  })
})

describe('presence', () => {
  it('shows members their clusters’ agents, and admins all', async () => {
    const bob = await stage.admit('bob')
    const [first, second] = [await stage.cluster('bob'), await stage.cluster()]
    await stage.agent(first, { replica: 'agent-0' })
    const ofBob = await (await stage.api(bob)).presence()
    expect(ofBob).toEqual([
      {
        id: first.id,
        agents: [
          {
            replica: 'agent-0',
            version: '1.2.3',
            kubernetesVersion: 'v1.36.3',
            since: '2026-03-01T12:00:00Z',
            roundTripMs: expect.anything(),
          },
        ],
      },
    ])
    const ofAlice = await (await stage.api(stage.alice)).presence()
    expect(ofAlice.map(({ id }) => id).sort()).toEqual([first.id, second.id].sort())
    const stranger = await stage.api(generateSigningKey())
    await expect(stranger.presence()).rejects.toMatchObject({ code: 'MCM_DEVICE_UNKNOWN' })
  })
})

describe('everything else', () => {
  it('is not found, and says that versions may differ', async () => {
    const api = await stage.api(stage.alice)
    const odd = api.publication('../../etc', 0)
    await expect(odd).rejects.toMatchObject({ code: 'MCM_NOT_FOUND' })
  })
})
