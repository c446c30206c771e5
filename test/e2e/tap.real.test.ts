import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { clusterHost } from '../../src/protocol/names.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { type Possibility, skipLoudly } from '../cluster/possibility.ts'
import { identityOf } from './hostile-hub-stage.ts'
import { type LongRunning, runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'
import { bytesNeedle, keyNeedle, type Needle, textNeedle } from './tap-needles.ts'
import { fileOf, filesOf, findCredentials, findNeedles, memoryOf, textOf } from './tap-search.ts'

const isRoot: Possibility =
  process.platform === 'linux' && process.getuid?.() === 0
    ? { possible: true }
    : { possible: false, reason: 'another process’s memory is read on Linux, as root' }
const possibility = isRoot.possible ? await apiServerIsPossible('1.36.3') : isRoot
const skip = skipLoudly('what a hub holds', possibility)

const TAP = pathToFileURL(join(import.meta.dirname, 'fixtures', 'tap.mjs')).href
const MODES = ['exec', 'static', 'proxy'] as const
const VERSIONS = ['1.36.3', '1.33.13'] as const
/** Said nowhere but inside the inner layer. */
const MARKER = {
  name: 'marker-name-5f1c9b',
  read: 'marker-read-8a2e47',
  written: 'marker-written-c09d3e',
}

describe.skipIf(skip)(
  'after everything people do with it, a hub holds nothing that opens a cluster',
  () => {
    let scratch: string
    let cluster: ApiServer
    let stage: Stage
    let alice: Person
    let clusterId: string
    let ownKey: string
    let needles: readonly Needle[]
    const secretTexts: Record<string, string> = {}
    const programs: LongRunning[] = []

    beforeAll(async () => {
      scratch = await mkdtemp(join(tmpdir(), 'mcm-test-tap-'))
      cluster = await startApiServer({ version: '1.36.3' })
      stage = await openTapped(join(scratch, 'tap'))
      await everythingPeopleDo()
      needles = await everySecret()
      ownKey = await readFile(join(stage.hubData, 'hub-key.pem'), 'utf8')
    })
    afterAll(async () => {
      for (const program of programs) await program.stop('SIGKILL')
      await stage?.close()
      await cluster?.stop()
      await rm(scratch, { recursive: true, force: true })
    })

    /** A stage whose hub, and nobody else, has the tap in it. */
    async function openTapped(path: string): Promise<Stage> {
      const before = { ...process.env }
      Object.assign(process.env, { NODE_OPTIONS: `--import=${TAP}`, MCM_TEST_TAP: path })
      try {
        return await Stage.open()
      } finally {
        process.env = before
      }
    }

    async function everythingPeopleDo(): Promise<void> {
      const admin = { kubeconfig: cluster.adminKubeconfig }
      const read = ['create', 'secret', 'generic', MARKER.name, `--from-literal=it=${MARKER.read}`]
      await runKubectl('1.36.3', read, admin)
      await runKubectl('1.36.3', ['create', 'serviceaccount', 'robot'], admin)
      const everything = ['--clusterrole=cluster-admin', '--user=mcm:alice']
      await runKubectl('1.36.3', ['create', 'clusterrolebinding', 'all', ...everything], admin)
      alice = await stage.found('alice')
      secretTexts['the start token'] = new URL(stage.startLink).hash.split('token=')[1]!
      await stage.addCluster(alice, 'idc-k8s', cluster)
      clusterId = (await identityOf(cluster)).clusterId
      programs.push(alice.start(['proxy']))
      await programs[0]!.shows(/https:\/\/127\.0\.0\.1:\d+/)
      for (const mode of MODES) await useKubectl(alice, mode)
      const grant = ['--cluster', 'idc-k8s', '--role', 'ns-ro', '--namespace', 'default']
      const link = (await alice.must(['invite', 'bob', ...grant])).trim()
      secretTexts['the secret of the invite'] = new URL(link).hash.split('secret=')[1]!
      const bob = stage.person('bob')
      await bob.must(['login', link])
      await bob.must(['kubeconfig', '--all', '--mode', 'static', '--output', join(bob.home, 'k')])
      // Renewal, by enrolment.
      await alice.must(['login'])
      await alice.must(['revoke', 'bob', '--yes'])
    }

    async function useKubectl(person: Person, mode: (typeof MODES)[number]): Promise<void> {
      const env = { ...person.env, KUBECONFIG: await person.kubeconfig(mode) }
      for (const version of VERSIONS) {
        const kubectl = async (...args: string[]) => {
          const result = await runProgram(await kubectlPath(version), args, { env })
          if (result.exitCode !== 0) throw new Error(`kubectl ${args.join(' ')}: ${result.stderr}`)
          return result.stdout
        }
        const shown = await kubectl('get', 'secret', MARKER.name, '-o', 'jsonpath={.data.it}')
        expect(Buffer.from(shown, 'base64').toString()).toBe(MARKER.read)
        const name = `${MARKER.name}-${mode}-${version}`
        await kubectl('create', 'secret', 'generic', name, `--from-literal=it=${MARKER.written}`)
        // Tokens are not made through mcm: it is made beside it, and read through it.
        const admin = { kubeconfig: cluster.adminKubeconfig }
        const made = await runKubectl('1.36.3', ['create', 'token', 'robot'], admin)
        const token = made.stdout.trim()
        const held = `robot-${mode}-${version}`
        const hold = ['create', 'secret', 'generic', held, `--from-literal=it=${token}`]
        await runKubectl('1.36.3', hold, admin)
        const read = await kubectl('get', 'secret', held, '-o', 'jsonpath={.data.it}')
        expect(Buffer.from(read, 'base64').toString()).toBe(token)
        secretTexts[`the token that kubectl ${version} read in ${mode} mode`] = token
      }
    }

    async function everySecret(): Promise<readonly Needle[]> {
      const { secrets } = await identityOf(cluster)
      const identity = `mcm-identity-${clusterId}`
      const keys = ['serverCa.key', 'userCa.key', 'agent.key'].map((key) =>
        keyNeedle(`${key} of the cluster`, secrets[`${identity}/${key}`]!),
      )
      const people = await Promise.all(['alice', 'bob'].map((name) => keysOf(stage.person(name))))
      const texts = { ...secretTexts, 'the pairing secret': secrets['mcm-agent/pairingSecret']! }
      delete (texts as Record<string, string>)['the start token']
      return [
        ...keys,
        ...people.flat(),
        ...Object.entries(texts).map(([name, text]) => textNeedle(name, text)),
        ...['the secret of the invite', 'the pairing secret'].map((name) =>
          bytesNeedle(
            `${name}, decoded`,
            Buffer.from(texts[name as keyof typeof texts]!, 'base64url'),
          ),
        ),
        ...Object.entries(MARKER).map(([name, text]) =>
          textNeedle(`the ${name} of a Secret`, text),
        ),
        textNeedle('what kubectl says of itself inside', 'kubectl/v1.3'),
      ]
    }

    /** Every private key in a person's home. */
    async function keysOf(person: Person): Promise<Needle[]> {
      const directory = join(person.home, 'keys')
      const found: Needle[] = []
      for (const name of await readdir(directory)) {
        const text = await readFile(join(directory, name), 'utf8')
        if (text.includes('PRIVATE KEY')) found.push(keyNeedle(`${person.name}’s ${name}`, text))
      }
      return found
    }

    const hubPid = () => stage.hub.child.pid!
    const own = () => [keyNeedle('its own key', ownKey)]

    test('what is looked for is every key of the cluster and of two people, tokens, secrets and markers', () => {
      const names = needles.map(({ name }) => name).join('\n')
      for (const some of [
        /serverCa/,
        /alice’s fleet-key/,
        /alice’s device-key/,
        /certificate-key/,
        /token/,
      ])
        expect(names).toMatch(some)
      expect(needles.length).toBeGreaterThan(18)
    })

    test('what it relays and hears holds none of it', async () => {
      const tap = fileOf(join(scratch, 'tap'))
      expect((await stat(join(scratch, 'tap'))).size).toBeGreaterThan(100_000)
      // The names of inner handshakes are there, so what was relayed is.
      const seen = [textNeedle('an inner handshake', clusterHost(clusterId))]
      expect(await findNeedles(tap, seen)).toEqual(['an inner handshake'])
      expect(await findNeedles(tap, needles)).toEqual([])
      expect(await findCredentials(tap, ownKey)).toEqual([])
    })

    test('its disk holds none of it, the write-ahead log included, nor a start or join token', async () => {
      const disk = filesOf(stage.hubData)
      expect(await readdir(stage.hubData)).toEqual(expect.arrayContaining(['hub.db', 'hub.db-wal']))
      expect(await findNeedles(disk, [textNeedle('the directory', clusterId)])).toEqual([
        'the directory',
      ])
      expect(await findNeedles(disk, needles)).toEqual([])
      expect(await findCredentials(disk, ownKey)).toEqual([])
      const { secrets } = await identityOf(cluster)
      const tokens = [
        textNeedle('the start token', secretTexts['the start token']!),
        textNeedle('the join token', secrets['mcm-agent/joinToken']!),
      ]
      expect(await findNeedles(disk, tokens)).toEqual([])
    })

    test('its memory holds none of it, and no private key but its own', async () => {
      const memory = memoryOf(hubPid())
      expect(await findNeedles(memory, own())).toEqual(['its own key'])
      expect(await findNeedles(memory, needles)).toEqual([])
      expect(await findCredentials(memory, ownKey)).toEqual([])
    })

    test('its log holds none of it', async () => {
      expect(stage.hub.stderr).toContain('relay_closed')
      expect(await findNeedles(textOf(stage.hub.stderr), needles)).toEqual([])
      expect(await findCredentials(textOf(stage.hub.stderr), ownKey)).toEqual([])
    })

    test('the same search finds these things where they are: in the memory of the agent', async () => {
      const agent = stage.agents.get('idc-k8s/a')!.child.pid!
      const found = await findNeedles(memoryOf(agent), needles)
      expect(found).toEqual(
        expect.arrayContaining([
          'serverCa.key of the cluster',
          'userCa.key of the cluster',
          'the pairing secret',
        ]),
      )
      expect(await findCredentials(memoryOf(agent), ownKey)).toEqual(
        expect.arrayContaining(['a private key of 32 bytes', 'a service account token']),
      )
    })
  },
)
