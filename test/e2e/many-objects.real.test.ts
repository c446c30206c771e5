import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

const skip = skipLoudly('files of many objects', await apiServerIsPossible('1.36.3'))
/** More than the connections that one person may have open through a hub, and at an agent. */
const OBJECTS = 700

describe.skipIf(skip)('a file of many objects, by stock kubectl through the hub', () => {
  let cluster: ApiServer
  let stage: Stage
  let alice: Person
  let kubeconfig: string

  beforeAll(async () => {
    cluster = await startApiServer({ version: '1.36.3' })
    stage = await Stage.open()
    alice = await stage.found('alice')
    await stage.addCluster(alice, 'idc-k8s', cluster)
    kubeconfig = await alice.kubeconfig('static')
  })
  afterAll(async () => {
    await stage?.close()
    await cluster?.stop()
  })

  // kubectl keeps a connection of its own for each of them until it ends; the agent ends those that are idle.
  test('is created and deleted whole', async () => {
    const names = Array.from({ length: OBJECTS }, (_, index) => `many-${index}`)
    const objects = names.map((name) => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name, namespace: 'default' },
    }))
    const input = objects.map((object) => JSON.stringify(object)).join('\n---\n')
    for (const [args, done] of [
      [['create'], 'created'],
      [['delete', '--wait=false'], 'deleted'],
    ] as const) {
      const env = { ...alice.env, KUBECONFIG: kubeconfig }
      const options = { env, input, timeoutMs: 240_000 }
      const ran = await runProgram(await kubectlPath('1.36.3'), [...args, '-f', '-'], options)
      expect(ran.stderr).toBe('')
      expect(ran.stdout.match(new RegExp(` ${done}`, 'g'))).toHaveLength(OBJECTS)
      expect(ran.exitCode).toBe(0)
    }
  }, 600_000)
})
