import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { directorySecretName } from '../../src/agent/state-secret.ts'
import { type Detail, parseDetail } from '../../src/directory/details.ts'
import type { Directory } from '../../src/directory/directory.ts'
import {
  generateSigningKey,
  inviteSigningKey,
  type SigningKey,
} from '../../src/directory/signing-key.ts'
import { signStatement } from '../../src/directory/statement.ts'
import type { Head } from '../../src/protocol/messages.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { HostileHub } from './hostile-hub.ts'
import { shown, without } from './hostile-hub-shown.ts'
import { hubHasAgent } from './hostile-hub-stage.ts'
import { runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

/**
 * A hub that was taken over and lies to the agent about people, devices, grants and requests, while real people
 * go on working. bob may read (`ro`) and asks for `ops`, whose sign is that Secrets can be read.
 */
describe.each(['1.36.3', '1.33.13'] as const)('a lying hub on Kubernetes %s', async (version) => {
  const skip = skipLoudly(`a lying hub on ${version}`, await apiServerIsPossible(version))

  describe.skipIf(skip)('shows the agent of a cluster', () => {
    let server: ApiServer
    let stage: Stage
    let owner: Person
    let second: Person
    let bob: Person
    let hub: HostileHub
    let id: string

    beforeAll(async () => {
      server = await startApiServer({ version })
      stage = await Stage.open()
      owner = await stage.found('owner')
      await stage.addCluster(owner, 'prod', server)
      second = await stage.join(owner, 'second', ['--cluster', 'prod', '--role', 'admin'])
      await owner.must(['admins', 'add', 'second'])
      bob = await stage.join(owner, 'bob', ['--cluster', 'prod', '--role', 'ro'])
      await bob.must(['kubeconfig', '--all', '--output', join(bob.home, 'kubeconfig')])
      const { adminKubeconfig: kubeconfig } = server
      await runKubectl('1.36.3', ['create', 'secret', 'generic', 'seen'], { kubeconfig })
      id = JSON.parse(await owner.must(['clusters', 'show', 'prod', '--json'])).id
      await stage.hub.stop('SIGKILL')
      hub = await HostileHub.takeOver(stage.hubData, { host: '127.0.0.1', port: stage.hubPort })
      await hubHasAgent(hub, id)
    }, 600_000)

    afterAll(async () => {
      await hub?.stop()
      await stage?.close()
      await server?.stop()
    })

    const kubectl = async (...args: string[]) =>
      runProgram(await kubectlPath('1.36.3'), ['--context', 'mcm-prod', ...args], { env: bob.env })
    const readsSecrets = async () => (await kubectl('get', 'secrets')).exitCode === 0
    const ask = async () => {
      const wish = ['--role', 'ops', '--cluster', 'prod', '--for', '1h', '--reason', 'disk full']
      return String(JSON.parse(await bob.must(['request', ...wish, '--json'])).id)
    }
    const approve = async (person: Person, request: string) =>
      JSON.parse(await person.must(['requests', 'approve', request, '--yes', '--json'])).request
    /** As the agent remembers it. No client is asked: it would tell the agent what the hub does not. */
    const agentHead = async (): Promise<Head> => {
      const { adminKubeconfig: kubeconfig } = server
      const name = ['-n', 'mcm-system', 'get', 'secret', directorySecretName(id)]
      const { stdout } = await runKubectl('1.36.3', [...name, '-o', 'json'], { kubeconfig })
      return JSON.parse(Buffer.from(JSON.parse(stdout).data['head.json'], 'base64').toString())
    }
    const agentHasAll = () =>
      expect.poll(agentHead, { timeout: 30_000 }).toEqual(hub.directory.head)
    const tellTheTruth = async () => {
      hub.show = (directory) => directory
      await hub.tellAgents()
      await agentHasAll()
    }

    test('everything, and bob asks and gets it: so what fails below is the lie', async () => {
      const request = await ask()
      expect(await readsSecrets()).toBe(false)
      expect(await approve(owner, request)).toMatchObject({ status: 'running' })
      await expect.poll(readsSecrets, { timeout: 20_000 }).toBe(true)
      await bob.must(['requests', 'end', request])
      await expect.poll(readsSecrets, { timeout: 20_000 }).toBe(false)
    }, 120_000)

    test.each(Object.keys(FORGERIES))(
      '%s that the hub signed itself: refused whole',
      async (what) => {
        const before = await agentHead()
        hub.refusals.length = 0
        const forged = await signed(hub.directory, FORGERIES[what]!(id))
        hub.show = () => forged
        await hub.tellAgents()
        await expect
          .poll(() => hub.refusals.join(), { timeout: 20_000 })
          .toMatch(/MCM_|statement \d+/)
        expect(await agentHead()).toEqual(before)
        expect([(await kubectl('get', 'pods')).exitCode, await readsSecrets()]).toEqual([0, false])
        await tellTheTruth()
      },
    )

    test.each<[string, (detail: Detail) => object]>([
      ['for more', ({ detail }) => ({ ...detail, role: 'mcm:admin' })],
      ['for longer', ({ detail }) => ({ ...detail, seconds: 43_200 })],
      ['for somebody else', ({ detail }) => ({ ...detail, user: 'second' })],
    ])(
      'a request %s than was asked: bob gets what was approved, by the true words, or nothing',
      async (_, edit) => {
        const honest = hub.directory.head!.seq
        hub.refusals.length = 0
        hub.show = (directory) =>
          withDetails(directory, (seq, known) =>
            seq > honest && known.type === 'request' ? edit(known) : undefined,
          )
        const request = await ask()
        await expect.poll(() => hub.refusals.join(), { timeout: 20_000 }).toContain('detail')
        expect(await readsSecrets()).toBe(false)
        await owner.must(['requests', 'deny', request])
        await tellTheTruth()
        expect(await readsSecrets()).toBe(false)
      },
      120_000,
    )

    test('a denial as an approval: nothing is given', async () => {
      const request = await ask()
      await agentHasAll()
      hub.refusals.length = 0
      hub.show = (directory) =>
        withDetails(directory, (_, { type, detail }) =>
          type === 'approval' && detail.action === 'deny'
            ? { ...detail, action: 'approve' }
            : undefined,
        )
      await owner.must(['requests', 'deny', request])
      await expect.poll(() => hub.refusals.join(), { timeout: 20_000 }).toContain('detail')
      expect(await readsSecrets()).toBe(false)
      await tellTheTruth()
    })

    test('an approval without its detail: nothing is given, and everything once it is shown', async () => {
      const request = await ask()
      const honest = hub.directory.head!.seq
      hub.show = (directory) => without(directory, (seq) => seq > honest)
      await approve(owner, request)
      await agentHasAll()
      expect(await readsSecrets()).toBe(false)
      await tellTheTruth()
      await expect.poll(readsSecrets, { timeout: 20_000 }).toBe(true)
      await bob.must(['requests', 'end', request])
      await expect.poll(readsSecrets, { timeout: 20_000 }).toBe(false)
    }, 120_000)

    test('no word of it that the cluster wants two approvals: one is not enough all the same', async () => {
      const honest = hub.directory.head!.seq
      hub.show = (directory) =>
        without(directory, (seq, { type }) => seq > honest && type === 'cluster')
      await owner.must(['clusters', 'approvals', 'prod', '--needed', '2'])
      const request = await ask()
      expect(await approve(owner, request)).toMatchObject({ status: 'waiting', needed: 2 })
      await agentHasAll()
      expect(await readsSecrets()).toBe(false)
      expect(await approve(second, request)).toMatchObject({ status: 'running' })
      await expect.poll(readsSecrets, { timeout: 20_000 }).toBe(true)
      await owner.must(['requests', 'end', request])
      await tellTheTruth()
      expect(await readsSecrets()).toBe(false)
    }, 120_000)

    test('an older directory, or none at all: it stays with what it has seen', async () => {
      const before = await agentHead()
      hub.refusals.length = 0
      hub.show = (directory) => shown(directory, { statements: directory.statements.slice(0, -3) })
      await hub.tellAgents()
      expect(hub.refusals.join()).toContain('another statement')
      expect(await agentHead()).toEqual(before)
      expect([(await kubectl('get', 'pods')).exitCode, await readsSecrets()]).toEqual([0, false])
      await tellTheTruth()
    })
  })
})

/** What whoever owns a hub would like an agent to believe, by the keys that they have. */
const FORGERIES: Readonly<Record<string, (cluster: string) => Forgery>> = {
  'an administrator': () => ({
    type: 'admin',
    detail: { action: 'add', user: 'bob', key: generateSigningKey().id },
  }),
  'a member': (cluster) => ({
    type: 'member',
    detail: { action: 'add', subject: { kind: 'user', name: 'mallory' }, cluster },
  }),
  'groups for bob': () => ({ type: 'groups', detail: { user: 'bob', groups: ['admins'] } }),
  'a grant for a time': (cluster) => ({
    type: 'grant',
    detail: {
      subject: { kind: 'user', name: 'bob' },
      cluster,
      group: 'grant:0123456789abcdef',
      expires: '2099-01-01T00:00:00Z',
    },
  }),
  'an invite': () => ({
    type: 'invite',
    inviteKey: inviteSigningKey(randomBytes(16).toString('base64url'), 'f'.repeat(43)).id,
    detail: { user: 'mallory', groups: [], expires: '2099-01-01T00:00:00Z', bot: false },
  }),
  'a request in bob’s name': (cluster) => ({
    type: 'request',
    detail: { cluster, user: 'bob', role: 'mcm:admin', seconds: 43_200, reason: 'none' },
  }),
  'an approval': () => ({ type: 'approval', detail: { action: 'approve', request: 7 } }),
  'the end of somebody’s access': () => ({
    type: 'revoke',
    detail: { user: 'second', reason: '' },
  }),
}

type Forgery = Detail & { readonly inviteKey?: string }

/** The directory with one statement more, by a key of the hub's own. */
async function signed(directory: Directory, draft: Forgery): Promise<Directory> {
  const key: SigningKey = generateSigningKey()
  const { head: after } = directory
  const common = { after, time: new Date(), salt: randomBytes(16) }
  const { statement, detail } = await signStatement({ ...draft, ...common }, [key])
  const { seq, hash } = statement
  return shown(directory, {
    head: { seq, hash },
    statements: [...directory.statements, statement],
    details: new Map([...directory.details, [seq, detail]]),
    known: new Map([...directory.known, [seq, draft]]),
  })
}

/** The directory with some details in other words. */
function withDetails(
  directory: Directory,
  edit: (seq: number, known: Detail) => object | undefined,
): Directory {
  const details = new Map(directory.details)
  for (const [seq, known] of directory.known) {
    const other = known && edit(seq, known)
    if (!other) continue
    const text = JSON.stringify(other)
    if (!parseDetail(known.type, text)) throw new Error(`no detail of ${known.type}: ${text}`)
    details.set(seq, { ...details.get(seq)!, text })
  }
  return shown(directory, { details })
}
