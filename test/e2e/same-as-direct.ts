/**
 * What kubectl prints, byte for byte, and how it ends: the same through every way of mcm as straight to the API
 * server.
 */
import { randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import type { KubernetesVersion } from '../cluster/kubernetes-version.ts'
import { inEach, type Lane, lanesOf } from './every-way.ts'
import type { NodeStage } from './node-stage.ts'
import type { Ran } from './program.ts'
import { sha256 } from './ways.ts'

/** An upper bound only. */
const TIMEOUT_MS = 200_000
const BYTES = randomBytes(3_000_000)
const CHANGED = `
apiVersion: v1
kind: ConfigMap
metadata: { name: same, namespace: default }
data: { colour: blue }
`
const WATCH_LIST = 'watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan'
const inShell = (script: string) => ['exec', 'same', '--', 'sh', '-c', script]
const afterStdin = (bytes: number) => {
  const script = `sha256sum; yes mcm | head -c ${bytes}`
  return ['exec', '-i', 'same', '--', 'sh', '-c', script]
}

type Command = readonly [title: string, args: readonly string[], input?: string | Uint8Array]

/** Over a connection that switches protocols, which is where kubectls differ. */
const STREAMS: readonly Command[] = [
  ['logs', ['logs', 'same', '--timestamps']],
  ['both outputs and a code of exec', inShell('echo out; echo err >&2; exit 7')],
  ['a success of exec', inShell('true')],
  ['a process that was killed', inShell('kill -9 $$')],
  ['a program through exec', inShell('cat /bin/busybox')],
  ['a program that is not there', ['exec', 'same', '--', 'absent']],
  ['stdin of exec, to its end', ['exec', '-i', 'same', '--', 'cat'], BYTES],
  ['three megabytes after the end of stdin', afterStdin(3_000_000), BYTES],
]

const REQUESTS: readonly Command[] = [
  ['an object as it is', ['get', '--raw', '/api/v1/namespaces/default/configmaps/same']],
  ['an object of a megabyte', ['get', 'configmap', 'big', '-o', 'json']],
  ['a table', ['get', 'configmaps', '-o', 'custom-columns=NAME:.metadata.name,DATA:.data']],
  ['a node', ['get', 'nodes', '-o', 'name']],
  ['discovery', ['api-resources', '-o', 'name']],
  ['the schema of everything', ['get', '--raw', '/openapi/v2']],
  ['an explanation', ['explain', 'pod.spec.containers', '--recursive']],
  ['what is missing', ['get', 'configmap', 'absent']],
  ['what no server has', ['get', 'sillinesses']],
  ['what one may do', ['auth', 'can-i', 'create', 'pods/exec']],
  ['logs of a container that is not there', ['logs', 'same', '-c', 'absent']],
  ['a condition', ['wait', 'pod/same', '--for=condition=Ready', '--timeout=30s']],
  ['a rollout', ['rollout', 'status', 'deployment/same', '--timeout=60s']],
  ['the history of a rollout', ['rollout', 'history', 'deployment/same']],
  ['a difference', ['diff', '-f', '-'], CHANGED],
  ['no difference', ['diff', '-f', '-'], CHANGED.replace('blue', 'red')],
  [
    'a streaming list',
    ['get', '--raw', `/api/v1/namespaces/kept/configmaps?${WATCH_LIST}&timeoutSeconds=2`],
  ],
  ['a streaming list with bookmarks', ['get', '--raw', watchListOf('kept')]],
  ['metrics of nodes', ['top', 'nodes']],
  ['metrics of pods', ['top', 'pods']],
  ['an aggregated API', ['get', '--raw', '/apis/metrics.k8s.io/v1beta1/nodes']],
]

/**
 * @param kubectls the first runs every command, the others what streams: once straight and once in every lane
 */
export function sameAsDirectSuite(
  stage: () => NodeStage,
  kubectls: readonly KubernetesVersion[],
): void {
  describe('what kubectl prints is the same as straight to the API server', () => {
    beforeAll(() => prepare(stage()))

    const direct = async (kubectl: KubernetesVersion, [, args, input]: Command) =>
      said(await stage().ways.kubectl('direct', args, { kubectl, input, timeoutMs: TIMEOUT_MS }))
    const through = async ({ way, kubectl, env }: Lane, [, args, input]: Command) =>
      said(await stage().ways.kubectl(way, args, { kubectl, env, input, timeoutMs: TIMEOUT_MS }))

    for (const [index, kubectl] of kubectls.entries()) {
      for (const command of index === 0 ? [...REQUESTS, ...STREAMS] : STREAMS)
        test(`with kubectl ${kubectl}: ${command[0]}`, async () => {
          const expected = await direct(kubectl, command)
          await inEach(lanesOf(kubectl), async (lane) => {
            expect(await through(lane, command)).toEqual(expected)
          })
        })
    }

    test('a hundred megabytes after the end of stdin, and then the code', async () => {
      for (const lane of lanesOf('1.36.3')) {
        const { stdout, exitCode } = await outputThenCode(stage(), lane)
        expect([stdout.length, sha256(stdout), exitCode], lane.name).toEqual(EXPECTED_OUTPUT)
      }
    })

    test('a path as it stands, by a kubectl that leaves out the path of its server', async () => {
      const path = '/api/v1/namespaces/default/configmaps/same'
      const expected = await direct('1.32.2', ['', ['get', '--raw', path]])
      await inEach(lanesOf('1.32.2'), async (lane) => {
        // `mcm proxy` tells clusters apart by the beginning of the path; kubectl 1.32 does not send it here.
        const cluster = lane.way === 'proxy' ? await stage().ways.serverPath('proxy') : ''
        expect(await through(lane, ['', ['get', '--raw', cluster + path]])).toEqual(expected)
      })
      const [inProxy] = lanesOf('1.32.2').filter(({ way }) => way === 'proxy')
      const without = await through(inProxy!, ['', ['get', '--raw', path]])
      expect(without.exitCode).toBe(1)
      expect(without.stderr).toContain('the path starts with the cluster: kubectl get --raw /c-')
    })
  })
}

const BULK_BYTES = 100_000_000
const DIGEST_LINE = `${sha256(BYTES)}  -\n`
const EXPECTED_OUTPUT = [
  DIGEST_LINE.length + BULK_BYTES,
  sha256(DIGEST_LINE + 'mcm\n'.repeat(BULK_BYTES / 4)),
  7,
]

/**
 * The command ends when all it said is here: where a reader is late, a server of Kubernetes gives the unsent rest five
 * seconds and drops it then, also without mcm.
 */
async function outputThenCode({ ways, mustAsAdmin }: NodeStage, lane: Lane) {
  const flag = `/tmp/heard-${lane.name}`
  const script = `sha256sum; yes mcm | head -c ${BULK_BYTES}; until [ -e ${flag} ]; do sleep 0.1; done; exit 7`
  const args = ['exec', '-i', 'same', '--', 'sh', '-c', script]
  const { child, ended } = await ways.start(lane.way, args, lane)
  const pieces: Buffer[] = []
  let bytes = 0
  child.stdout!.on('data', (text: string) => {
    const piece = Buffer.from(text)
    pieces.push(piece)
    bytes += piece.length
  })
  child.stdin!.end(BYTES)
  await expect.poll(() => bytes, { timeout: TIMEOUT_MS }).toBe(EXPECTED_OUTPUT[0])
  await mustAsAdmin(['exec', 'same', '--', 'touch', flag])
  return { exitCode: await ended, stdout: Buffer.concat(pieces) }
}

function watchListOf(namespace: string): string {
  const query = `${WATCH_LIST}&allowWatchBookmarks=true&timeoutSeconds=2`
  return `/api/v1/namespaces/${namespace}/configmaps?${query}`
}

async function prepare({ mustAsAdmin, node }: NodeStage): Promise<void> {
  await node.runShellPod({ name: 'same', command: ['sh', '-c', 'echo began; exec sleep 100000'] })
  await mustAsAdmin(['create', 'namespace', 'kept'])
  for (const name of ['a', 'b', 'c'])
    await mustAsAdmin(['create', 'configmap', name, '-n', 'kept', '--from-literal=x=1'])
  await mustAsAdmin(['create', '-f', '-'], CHANGED.replace('blue', 'red'))
  const data = { text: randomBytes(450_000).toString('hex') }
  const big = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'big' }, data }
  await mustAsAdmin(['create', '-f', '-'], JSON.stringify(big))
  const image = '--image=mcm.test/shell:1'
  await mustAsAdmin(['create', 'deployment', 'same', image])
  await mustAsAdmin(['rollout', 'status', 'deployment/same', '--timeout=60s'])
}

/** Long output by its digest; and without the names of temporary files and what time has moved on. */
function said({ stdout, stderr, exitCode }: Ran) {
  const isLong = stdout.length > 100_000
  const text = isLong ? `${stdout.length} bytes, ${sha256(stdout)}` : steady(stdout.toString())
  return { exitCode, stdout: text, stderr: steady(stderr) }
}

/**
 * A bookmark tells how far the whole server is, and a difference where it lies on disk. Whether one bookmark more comes
 * just before the end is a matter of the API server's clock, also without mcm.
 */
function steady(text: string): string {
  return text
    .replaceAll(/^\{"type":"BOOKMARK"(?!.*initial-events-end).*\n/gm, '')
    .replaceAll(/\/tmp\/(LIVE|MERGED)-\d+/g, '/tmp/$1')
    .replaceAll(/^((?:---|\+\+\+) \S+)\t.*$/gm, '$1')
    .replaceAll(/(Internal error occurred: )+/g, '$1')
    .replaceAll(/start exec "[0-9a-f]{64}"/g, 'start exec')
    .replaceAll(/("type":"BOOKMARK".*"resourceVersion":")\d+/g, '$1')
}
