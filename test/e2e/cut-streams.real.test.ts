import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kubectlPath } from '../cluster/kubectl.ts'
import { LongRunning, runProgram } from './program.ts'
import { startSandboxCluster } from './sandbox-cluster.ts'
import { type Person, Stage } from './stage.ts'
import { streamPods } from './stream-pods.ts'
import { type Mode, type Transport, transportEnv } from './stream-suite.ts'

/** What real kubectl says to somebody whose stream the agent cuts. */

const NAME = 'idc-k8s'
const WAYS: readonly { readonly mode: Mode; readonly transport: Transport }[] = [
  { mode: 'exec', transport: 'spdy' },
  { mode: 'static', transport: 'websocket' },
  { mode: 'proxy', transport: 'websocket' },
  { mode: 'proxy', transport: 'spdy' },
]

describe('real kubectl whose user is revoked in the middle of an exec', () => {
  let stage: Stage
  let owner: Person
  let close: () => Promise<void>

  beforeAll(async () => {
    const sandbox = await startSandboxCluster()
    stage = await Stage.open()
    close = async () => {
      await stage.close()
      await sandbox.stop()
    }
    owner = await stage.found('alice')
    await stage.addCluster(owner, NAME, sandbox)
    const kubeconfig = await owner.kubeconfig('static')
    const env = { ...owner.env, KUBECONFIG: kubeconfig }
    const pods = streamPods('registry.example/shell:1')
    const kubectl = await kubectlPath('1.36.3')
    const applied = await runProgram(kubectl, ['apply', '-f', '-'], { env, input: pods })
    expect(applied.exitCode, applied.stderr).toBe(0)
    await runProgram(kubectl, ['wait', '--for=condition=Ready', 'pod/shell'], { env })
  })
  afterAll(() => close?.())

  let count = 0
  const script = 'echo begun; while true; do echo line after line after line; done'
  describe.each(['1.36.3', '1.33.13'] as const)('kubectl %s', (version) => {
    test.each(WAYS)(
      'hears why, in $mode mode over $transport, beside output as fast as it goes',
      async ({ mode, transport }) => {
        const name = `user${count++}`
        const person = await stage.join(owner, name, ['--cluster', NAME, '--role', 'admin'])
        const proxy = mode === 'proxy' ? person.start(['proxy']) : undefined
        await proxy?.shows(/https:\/\/127\.0\.0\.1:\d+/)
        const env = {
          ...person.env,
          ...transportEnv(transport),
          KUBECONFIG: await person.kubeconfig(mode),
        }
        const command = ['exec', 'shell', '--', 'sh', '-c', script]
        const exec = new LongRunning(await kubectlPath(version), command, env)
        await exec.shows(/begun/)
        await owner.must(['revoke', name, '--yes'])
        expect(await exec.ended).toBe(1)
        expect(exec.stderr).toMatch(
          new RegExp(`^error: .*mcm: ${name} was revoked at \\S+; ask an admin`, 'm'),
        )
        await proxy?.stop()
      },
    )
  })
})
