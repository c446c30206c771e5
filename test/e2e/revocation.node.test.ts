import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CertificateList } from '../../src/device/certificate-list.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { startNode, type WholeNode, wholeNodeIsPossible } from '../cluster/node.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { AGENT_IMAGE } from './node-stage.ts'
import { LongRunning } from './program.ts'
import { type Person, Stage } from './stage.ts'

const skip = skipLoudly('revocations in real pods', await wholeNodeIsPossible())
const CLUSTER = 'idc-k8s'
const PORTS = { sessions: 30_443, enrolment: 30_444 }
/** So many of a person, which the hub, or kube-proxy, divides between two replicas. */
const EXECS = 8

/** A line of an agent's log, with the pod that wrote it. */
interface Line {
  readonly pod: string
  readonly time: string
  readonly msg: string
  readonly user?: string
  readonly path?: string
  readonly code?: number
  readonly ended?: string
  readonly stage?: string
  readonly durationMs?: number
}

/** Commands that run in real containers, carried by both replicas of an agent in real pods, when their user is ended. */
describe.skipIf(skip)('kubectl exec into a real container, whose user is revoked', () => {
  let node: WholeNode
  let stage: Stage
  let alice: Person
  let scratch: string
  const programs: LongRunning[] = []
  const latencies: number[] = []
  const pods = new Set<string>()

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'mcm-test-revocation-'))
    node = await startNode({ version: '1.36.3' })
    await node.importImage(AGENT_IMAGE)
    await node.runShellPod({ name: 'shell' })
    stage = await Stage.open(node.hostAddress)
    alice = await stage.found('alice')
    const admin = join(scratch, 'admin')
    await writeFile(admin, await readFile(node.adminKubeconfig), { mode: 0o600 })
    const path = 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}'
    const address = (await asAdmin('get', 'nodes', '-o', path)).stdout
    const direct = ['--direct', `${address}:${PORTS.sessions},${PORTS.enrolment}`]
    const flags = ['--apply', '--kubeconfig', admin, '--timeout', '120', ...direct]
    const register = ['register', CLUSTER, ...flags, '--direct-service', 'NodePort']
    await alice.must(register, { timeoutMs: 180_000 })
    const rollout = ['rollout', 'status', 'deployment/mcm-agent', '--timeout=120s']
    expect((await asAdmin('-n', 'mcm-system', ...rollout)).stdout).toContain('rolled out')
  })
  afterAll(async () => {
    await Promise.all(programs.map((program) => program.stop('SIGKILL')))
    await stage?.close()
    await node?.stop()
    await rm(scratch, { recursive: true, force: true })
  })

  const asAdmin = (...args: string[]) =>
    runKubectl('1.36.3', args, { kubeconfig: node.adminKubeconfig, timeoutMs: 150_000 })

  async function log(user: string): Promise<Line[]> {
    const selector = ['-l', 'app.kubernetes.io/name=mcm-agent', '--tail=-1', '--prefix']
    const { stdout } = await asAdmin('-n', 'mcm-system', 'logs', ...selector)
    const lines = stdout.split('\n').flatMap((text) => {
      const [, pod, json] = /^\[pod\/([^/]+)\/[^\]]+\] (\{.*\})$/.exec(text) ?? []
      if (!pod || !json) return []
      const line = { pod, ...JSON.parse(json) } as Line
      return line.msg === 'audit' && line.user === user ? [line] : []
    })
    // They come pod by pod.
    return lines.sort((a, b) => Date.parse(a.time) - Date.parse(b.time))
  }

  const isExec = ({ path = '' }: Line) => path.endsWith('/exec')

  async function startExecs(person: Person, kubeconfig: string): Promise<LongRunning[]> {
    const env = { ...person.env, KUBECONFIG: kubeconfig }
    const args = ['exec', 'shell', '--', 'sh', '-c', 'echo begun; exec sleep 100000']
    const kubectl = await kubectlPath('1.36.3')
    const execs = Array.from({ length: EXECS }, () => new LongRunning(kubectl, args, env))
    programs.push(...execs)
    await Promise.all(execs.map((exec) => exec.shows(/begun/, 60_000)))
    return execs
  }

  /** By the clock of the node, which all pods share: from the order’s arrival to the end of each command. */
  async function measure(user: string, order: () => Promise<Line>): Promise<void> {
    const cut = async () =>
      (await log(user)).filter((line) => isExec(line) && line.stage === 'ended')
    await expect.poll(async () => (await cut()).length, { timeout: 60_000 }).toBe(EXECS)
    const ends = await cut()
    const { time, durationMs = 0 } = await order()
    const begun = Date.parse(time) - durationMs
    expect(new Set(ends.map(({ ended }) => ended))).toEqual(new Set(['revoked']))
    for (const { pod } of ends) pods.add(pod)
    latencies.push(...ends.map((line) => Date.parse(line.time) - begun))
  }

  const orderOfAlice = async () =>
    (await log('alice')).findLast(({ path }) => path === '/.mcm/v1/revocations')!

  async function certificateOf(user: string) {
    const list = JSON.parse(await alice.must(['certs', '--user', user, '--json']))
    return (list as CertificateList).certificates.find(({ state }) => state === 'stands')!
  }

  test.each(['user', 'device', 'serial'] as const)(
    'by %s ends whichever replica carries it, told why',
    async (how) => {
      const name = `by-${how}`
      const person = await stage.join(alice, name, ['--cluster', CLUSTER, '--role', 'admin'])
      const execs = await startExecs(person, await person.kubeconfig('static'))
      const { device, serial } = await certificateOf(name)
      const what = { user: ['--user', name], device: ['--device', device.id], serial: [serial] }[
        how
      ]
      await alice.must(['certs', 'revoke', ...what, '--yes'])
      await Promise.all(execs.map((exec) => exec.ended))
      for (const { stderr } of execs) expect(stderr).toContain('was revoked at')
      await measure(name, orderOfAlice)
    },
  )

  test('with the hub down ends as well', async () => {
    const name = 'by-direct'
    const person = await stage.join(alice, name, ['--cluster', CLUSTER, '--role', 'admin'])
    const proxy = person.start(['proxy', '--port', '0'])
    await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
    const kubeconfig = await person.kubeconfig('proxy')
    await stage.hub.stop('SIGKILL')
    // Each on a session of its own, so that kube-proxy has something to divide.
    const execs = await startExecs(person, kubeconfig)
    await alice.must(['certs', 'revoke', '--user', name, '--yes'], { timeoutMs: 60_000 })
    await Promise.all(execs.map((exec) => exec.ended))
    await measure(name, orderOfAlice)
  })

  test('takes less than a second', () => {
    const sorted = latencies.toSorted((a, b) => a - b)
    const at = (share: number) => sorted[Math.ceil(sorted.length * share) - 1]!
    console.log(
      `order to the end of kubectl exec in real pods, two replicas, ${sorted.length} times: p50 ${at(0.5).toFixed(0)} ms, p99 ${at(0.99).toFixed(0)} ms, longest ${at(1).toFixed(0)} ms`,
    )
    expect([sorted.length, pods.size]).toEqual([4 * EXECS, 2])
    expect(at(1)).toBeLessThan(1_000)
  })
})
