import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { agentManifest } from '../../src/access/manifest.ts'
import { Secret } from '../../src/secret.ts'
import { runKubectl } from '../cluster/kubectl.ts'
import type { WholeNode } from '../cluster/node.ts'
import { startNode, wholeNodeIsPossible } from '../cluster/node.ts'
import { skipLoudly } from '../cluster/possibility.ts'

const IMAGE = 'docker.io/library/mcm-agent:pod-test'

/** In the agent's place: says what it finds around itself, and is healthy. */
const PROGRAM = `
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
const tries = (work) => { try { return work() } catch (error) { return error.code } }
const read = (path) => tries(() => readFileSync(path, 'utf8'))
const token = read('/var/run/secrets/kubernetes.io/serviceaccount/token')
const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? 'e30', 'base64url'))
console.log(JSON.stringify({
  uid: process.getuid(),
  groups: process.getgroups(),
  cluster: read('/etc/mcm/agent/cluster'),
  hub: read('/etc/mcm/agent/hub.json'),
  writesRoot: tries(() => writeFileSync('/app/x', '')),
  writesTmp: tries(() => writeFileSync('/tmp/x', '')),
  hasCa: read('/var/run/secrets/kubernetes.io/serviceaccount/ca.crt').includes('CERTIFICATE'),
  namespace: read('/var/run/secrets/kubernetes.io/serviceaccount/namespace'),
  subject: claims.sub,
  boundTo: claims['kubernetes.io']?.pod?.name,
  pod: [process.env.POD_NAME, process.env.POD_NAMESPACE, process.env.POD_UID ? 'uid' : ''],
  services: Object.keys(process.env).filter((name) => name.includes('SERVICE')).length,
  capabilities: /CapEff:\\s*(\\w+)/.exec(read('/proc/self/status'))?.[1],
  privileges: /NoNewPrivs:\\s*(\\w+)/.exec(read('/proc/self/status'))?.[1],
  seccomp: /Seccomp:\\s*(\\w+)/.exec(read('/proc/self/status'))?.[1],
}))
createServer((request, response) => response.end('ok')).listen(8081)
`

const skip = skipLoudly('the agent’s pod on a whole node', await wholeNodeIsPossible())

describe.skipIf(skip)('the agent’s image and manifest on a whole node', () => {
  let node: WholeNode
  let directory: string

  const kubectl = (args: string[], input?: string) =>
    runKubectl('1.36.3', args, { kubeconfig: node.adminKubeconfig, ...(input ? { input } : {}) })

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'mcm-test-agent-pod-'))
    const entry = join(directory, 'program.ts')
    const image = join(directory, 'image.tar')
    await writeFile(entry, PROGRAM)
    const flags = ['--name', IMAGE, '--entry', entry, '--out', image]
    await promisify(execFile)(process.execPath, ['scripts/image.ts', ...flags])
    node = await startNode({ version: '1.36.3' })
    await node.importImage(image)
    const applied = await kubectl(['apply', '-f', '-'], manifest())
    expect(applied.stderr).toBe('')
    expect(applied.exitCode).toBe(0)
  })
  afterAll(async () => {
    await node?.stop()
    if (directory) await rm(directory, { recursive: true, force: true })
  })

  function manifest(): string {
    const items = agentManifest({
      cluster: 'c-aaaaaaaaaa',
      hub: { endpoints: ['hub.example.org:8443'], pin: 'p'.repeat(43) },
      fleet: 'f'.repeat(43),
      joinToken: new Secret('join-token'),
      pairingSecret: new Secret('pairing-secret'),
      prefix: 'mcm:',
      owner: 'owner',
      workload: { image: IMAGE },
    })
    return JSON.stringify({ apiVersion: 'v1', kind: 'List', items })
  }

  it('both replicas become ready', async () => {
    const flags = ['rollout', 'status', 'deployment/mcm-agent', '-n', 'mcm-system', '--timeout=90s']
    const { stdout, stderr } = await kubectl(flags)
    expect(stderr).toBe('')
    expect(stdout).toContain('successfully rolled out')
  })

  it('the pod finds its configuration and a token of its own, and can do nothing else', async () => {
    const selector = ['-l', 'app.kubernetes.io/name=mcm-agent', '-n', 'mcm-system']
    const { stdout } = await kubectl(['logs', ...selector, '--tail=1'])
    const [first] = stdout.trim().split('\n')
    const found = JSON.parse(first!)
    expect(found).toEqual({
      uid: 65_532,
      groups: [65_532],
      cluster: 'c-aaaaaaaaaa',
      hub: JSON.stringify({ endpoints: ['hub.example.org:8443'], pin: 'p'.repeat(43) }),
      writesRoot: 'EROFS',
      writesTmp: expect.stringMatching(/EROFS|ENOENT/),
      hasCa: true,
      namespace: 'mcm-system',
      subject: 'system:serviceaccount:mcm-system:mcm-agent',
      boundTo: expect.stringMatching(/^mcm-agent-/),
      pod: [found.boundTo, 'mcm-system', 'uid'],
      services: expect.any(Number),
      capabilities: '0000000000000000',
      privileges: '1',
      seccomp: '2',
    })
  })

  it('has no shell to get into', async () => {
    const target = ['-n', 'mcm-system', 'deployment/mcm-agent', '--', 'sh']
    const { exitCode, stderr } = await kubectl(['exec', ...target])
    expect(exitCode).not.toBe(0)
    expect(stderr).toContain('"sh": executable file not found')
  })

  it('a pod that is not restricted does not come into the agent’s namespace', async () => {
    const run = ['run', 'other', '--image=mcm.test/shell:1', '-n', 'mcm-system']
    const { exitCode, stderr } = await kubectl(run)
    expect(exitCode).not.toBe(0)
    expect(stderr).toContain('violates PodSecurity "restricted:latest"')
  })

  it('applying it again replaces no pod', async () => {
    const { stdout } = await kubectl(['apply', '-f', '-'], manifest())
    const changed = stdout.split('\n').filter((line) => line && !line.endsWith(' unchanged'))
    // kubectl always sends a budget's selector anew: its patch strategy is "replace".
    expect(changed).toEqual(['poddisruptionbudget.policy/mcm-agent configured'])
  })
})
