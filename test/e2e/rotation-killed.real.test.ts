import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kubectlPath } from '../cluster/kubectl.ts'
import { runProgram } from './program.ts'
import { type SandboxCluster, startSandboxCluster } from './sandbox-cluster.ts'
import { type Person, Stage } from './stage.ts'

const NAME = 'idc-k8s'
const ROTATE = ['clusters', 'rotate-ca', NAME, '--overlap', '1h', '--json']
/** Before, in the middle of and after what the command does, as far as a clock can say. */
const KILLED_AFTER_MS = [300, 500, 700, 900, 1_100, 1_400, 1_800, 2_500]

/** A rotation whose command is killed, wherever that is, and run again. */
describe('mcm clusters rotate-ca', () => {
  let sandbox: SandboxCluster
  let stage: Stage
  let alice: Person

  beforeAll(async () => {
    sandbox = await startSandboxCluster()
    stage = await Stage.open()
    alice = await stage.found('alice')
    await stage.addCluster(alice, NAME, sandbox)
    await stage.startAgent(NAME, sandbox, 'b')
  })
  afterAll(async () => {
    await stage?.close()
    await sandbox?.stop()
  })

  const clusterStatements = async () => {
    const shown = JSON.parse(await alice.must(['directory', 'show', '--json']))
    return JSON.stringify(shown).match(/"type":"cluster"/g)?.length ?? 0
  }
  const shown = async () => JSON.parse(await alice.must(['clusters', 'show', NAME, '--json']))

  test('that is killed again and again, and run by two at once at last, is one rotation', async () => {
    expect(await clusterStatements()).toBe(1)
    for (const after of KILLED_AFTER_MS) {
      const program = alice.start(ROTATE)
      await Promise.race([pause(after), program.ended])
      await program.stop('SIGKILL')
    }
    const ends = await Promise.all([alice.mcm(ROTATE), alice.mcm(ROTATE)])
    // Done now, or found to be under way.
    for (const { exitCode, stdout, stderr } of ends)
      expect([0, 2], `${stdout}${stderr}`).toContain(exitCode)
    expect(await clusterStatements()).toBe(2)
    expect((await shown()).previousCasUntil).toBeDefined()
    const KUBECONFIG = await alice.kubeconfig('exec')
    const env = { ...alice.env, KUBECONFIG }
    const kubectl = await kubectlPath('1.36.3')
    for (let run = 0; run < 4; run += 1) {
      const got = await runProgram(kubectl, ['get', 'namespaces'], { env })
      expect(got.exitCode, got.stderr).toBe(0)
      expect(got.stderr).toBe('')
    }
  }, 180_000)
})
