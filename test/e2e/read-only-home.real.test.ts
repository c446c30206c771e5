import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findKubernetesBinaries } from '../cluster/binaries.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { type Possibility, skipLoudly } from '../cluster/possibility.ts'
import { MCM, runProgram } from './program.ts'
import { type SandboxCluster, startSandboxCluster } from './sandbox-cluster.ts'
import { type Person, Stage } from './stage.ts'

/** A home that cannot be written, as in a container with a read-only root: what goes on, and what says so. */

async function possibility(): Promise<Possibility> {
  const tried = await runProgram('unshare', ['--mount', 'mount', '--bind', '/tmp', '/tmp']).catch(
    (error: Error) => ({ exitCode: 1, stderr: error.message }),
  )
  if (tried.exitCode !== 0)
    return { possible: false, reason: `a folder cannot be mounted: ${tried.stderr.trim()}` }
  if (await findKubernetesBinaries('1.36.3', ['kubectl'], console.warn)) return { possible: true }
  return { possible: false, reason: 'no kubectl 1.36.3: run node test/cluster/prepare.ts' }
}

const skip = skipLoudly('a read-only home', await possibility())
/** Long over. */
const PAST = '2026-01-01T00:00:00.000Z'

describe.skipIf(skip)('with a home that cannot be written', () => {
  let cluster: SandboxCluster
  let stage: Stage
  let alice: Person
  let kubeconfig: string

  beforeAll(async () => {
    cluster = await startSandboxCluster()
    stage = await Stage.open()
    alice = await stage.found('alice')
    await stage.addCluster(alice, 'demo', cluster)
    kubeconfig = await alice.kubeconfig('exec')
  })
  afterAll(async () => {
    await stage?.close()
    await cluster?.stop()
  })

  /** As if time had passed for the certificate that is kept. */
  async function age(changes: { renewAfter?: string; notAfter?: string }): Promise<void> {
    const [name] = await readdir(join(alice.home, 'certificates'))
    const path = join(alice.home, 'certificates', name!)
    const file = JSON.parse(await readFile(path, 'utf8'))
    await writeFile(path, JSON.stringify({ ...file, ...changes }))
  }

  /** Runs something that finds alice's home mounted read-only. */
  function readOnly(command: string, ...args: string[]) {
    const script = 'mount --bind "$HOME" "$HOME" && mount -o remount,ro,bind "$HOME" && exec "$@"'
    const words = ['--mount', 'sh', '-c', script, 'sh', command, ...args]
    return runProgram('unshare', words, { env: { ...alice.env, KUBECONFIG: kubeconfig } })
  }
  const mcm = (...args: string[]) => readOnly(process.execPath, MCM, ...args)
  const getPods = async () => readOnly(await kubectlPath('1.36.3'), 'get', 'pods')

  test('kubectl works without a word while its certificate is fresh', async () => {
    expect(await getPods()).toMatchObject({ exitCode: 0, stderr: '' })
  })

  test('what only looks works', async () => {
    expect(await mcm('clusters')).toMatchObject({ exitCode: 0 })
    expect(await mcm('whoami')).toMatchObject({ exitCode: 0 })
    expect(await mcm('kubeconfig', 'demo')).toMatchObject({ exitCode: 0, stderr: '' })
  })

  test('what has to be kept says where it cannot be', async () => {
    const { exitCode, stderr } = await mcm('kubeconfig', 'demo', '--merge')
    expect(exitCode).toBe(8)
    expect(stderr).toMatch(/^mcm: .* cannot be written: EROFS/)
    expect(stderr).toContain('try: check the directory, its owner and the free space')
  })

  test('a certificate that is due serves to its end, and why is said', async () => {
    await age({ renewAfter: PAST })
    const { exitCode, stdout, stderr } = await getPods()
    expect({ exitCode, stdout }).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('web-'),
    })
    expect(stderr).toMatch(/^mcm: the certificate in use ends at .* cannot be written/)
  })

  test('after its end it is an error with a next step', async () => {
    await age({ renewAfter: PAST, notAfter: PAST })
    const { exitCode, stderr } = await getPods()
    expect(exitCode).toBe(1)
    expect(stderr).toContain('cannot be written: EROFS')
    expect(stderr).toContain('try: check the directory')
  })
})
