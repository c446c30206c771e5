import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { goClientIsPossible, goClientPath } from '../clients/go-programs.ts'
import { kubeRsIsPossible, kubeRsPath } from '../clients/kube-rs.ts'
import { skipUnlessRequired } from '../clients/required.ts'
import { wholeNodeIsPossible } from '../cluster/node.ts'
import { SHELL_IMAGE } from '../cluster/pod-images.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { clientStreams } from './client-streams.ts'
import { CLUSTER_NAME, type NodeStage, openNodeStage } from './node-stage.ts'
import { runProgram } from './program.ts'
import { startPods } from './stream-suite.ts'

const CONTEXT = `mcm-${CLUSTER_NAME}`
const CHART = join(import.meta.dirname, 'fixtures', 'helm-chart')
const HELM_TIMEOUT_MS = 150_000

const noNode = skipLoudly('other people’s clients and real pods', await wholeNodeIsPossible())
const PROGRAMS = [
  {
    name: 'client-go',
    path: () => goClientPath('client-go'),
    isPossible: () => goClientIsPossible('client-go'),
    transports: ['websocket', 'spdy'],
  },
  {
    name: 'kube-rs',
    path: kubeRsPath,
    isPossible: kubeRsIsPossible,
    transports: ['websocket'],
  },
]

describe.skipIf(noNode)('clients that nobody here wrote, and pods that run', () => {
  let stage: NodeStage

  beforeAll(async () => {
    stage = await openNodeStage()
    await startPods({ adminKubeconfig: stage.node.adminKubeconfig, image: SHELL_IMAGE })
  })
  afterAll(() => stage?.close())

  describe.each(PROGRAMS)('$name', async ({ name, isPossible, ...program }) => {
    const skip = noNode || skipUnlessRequired(`${name} and real pods`, await isPossible())
    describe.skipIf(skip).each(['static', 'proxy'] as const)('in %s mode', (way) => {
      clientStreams({
        ...program,
        way,
        ways: () => stage.ways,
        context: CONTEXT,
        auditEvents: () => stage.node.auditEvents(),
      })
    })
  })

  describe.each(['helm-4', 'helm-3'] as const)('%s', async (client) => {
    const skip =
      noNode || skipUnlessRequired(`${client} and pods`, await goClientIsPossible(client))

    test.skipIf(skip)(
      'waits until the pods of a release are ready, and until they are gone',
      async () => {
        const helm = async (...words: string[]) =>
          runProgram(await goClientPath(client), ['--kube-context', CONTEXT, ...words], {
            env: stage.ways.env('static'),
            timeoutMs: HELM_TIMEOUT_MS,
          })
        const pods = [
          'get',
          'pods',
          '-l',
          `release=${client}`,
          '-o',
          'jsonpath={.items[*].status.phase}',
        ]
        const waits = ['--wait', '--timeout', '120s']
        const installed = await helm(
          'install',
          client,
          CHART,
          '--set',
          `image=${SHELL_IMAGE}`,
          ...waits,
        )
        expect(installed).toMatchObject({ exitCode: 0 })
        expect(await stage.mustAsAdmin(pods)).toBe('Running Running')
        expect(await helm('uninstall', client, ...waits)).toMatchObject({ exitCode: 0 })
        const gone = ['get', 'deployment', client, '--ignore-not-found']
        expect(await stage.mustAsAdmin(gone)).toBe('')
      },
    )
  })
})
