/**
 * What kubectl prints, byte for byte, and how it ends: the same through every way of mcm as straight to the API
 * server.
 */
import { randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import type { KubernetesVersion } from '../cluster/kubernetes-version.ts'
import { inEach, lanesOf } from './every-way.ts'
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

type Command = readonly [title: string, args: readonly string[], input?: string | Uint8Array]

const COMMANDS: readonly Command[] = [
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
  ['logs', ['logs', 'same', '--timestamps']],
  ['logs of a container that is not there', ['logs', 'same', '-c', 'absent']],
  ['both outputs and a code of exec', inShell('echo out; echo err >&2; exit 7')],
  ['a success of exec', inShell('true')],
  ['a process that was killed', inShell('kill -9 $$')],
  ['a program through exec', inShell('cat /bin/busybox')],
  ['a program that is not there', ['exec', 'same', '--', 'absent']],
  ['stdin of exec, to its end', ['exec', '-i', 'same', '--', 'cat'], BYTES],
  [
    'a hundred megabytes after the end of stdin',
    ['exec', '-i', 'same', '--', 'sh', '-c', 'sha256sum; yes mcm | head -c 100000000'],
    BYTES,
  ],
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

/** @param kubectls every command runs with each of them, once straight and once in every lane */
export function sameAsDirectSuite(
  stage: () => NodeStage,
  kubectls: readonly KubernetesVersion[],
): void {
  describe('what kubectl prints is the same as straight to the API server', () => {
    beforeAll(() => prepare(stage()))

    for (const kubectl of kubectls) {
      for (const [title, args, input] of COMMANDS)
        test(`with kubectl ${kubectl}: ${title}`, async () => {
          const { ways } = stage()
          const direct = said(
            await ways.kubectl('direct', args, { kubectl, input, timeoutMs: TIMEOUT_MS }),
          )
          await inEach(lanesOf(kubectl), async ({ way, env }) => {
            const through = await ways.kubectl(way, args, {
              kubectl,
              env,
              input,
              timeoutMs: TIMEOUT_MS,
            })
            expect(said(through)).toEqual(direct)
          })
        })
    }
  })
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
  const text = stdout.length > 100_000 ? sha256(stdout) : steady(stdout.toString())
  return { exitCode, stdout: text, stderr: steady(stderr), bytes: bytesOf(stdout) }
}

/** A bookmark tells how far the whole server is, and a difference where it lies on disk. */
function steady(text: string): string {
  return text
    .replaceAll(/\/tmp\/(LIVE|MERGED)-\d+/g, '/tmp/$1')
    .replaceAll(/^((?:---|\+\+\+) \S+)\t.*$/gm, '$1')
    .replaceAll(/(Internal error occurred: )+/g, '$1')
    .replaceAll(/start exec "[0-9a-f]{64}"/g, 'start exec')
    .replaceAll(/("type":"BOOKMARK".*"resourceVersion":")\d+/g, '$1')
}

function bytesOf(stdout: Buffer): number | undefined {
  return /LIVE-|BOOKMARK/.test(stdout.subarray(0, 1000).toString()) ? undefined : stdout.length
}
