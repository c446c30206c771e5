import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CertificateList } from '../../src/device/certificate-list.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { runProgram } from './program.ts'
import { startSandboxCluster } from './sandbox-cluster.ts'
import { type Person, Stage } from './stage.ts'

/** Certificates by command: listed across clusters, replaced, revoked, and through the bin; real kubectl hears it. */

const NAME = 'idc-k8s'

describe('certificates of a cluster', () => {
  let stage: Stage
  let alice: Person
  let bob: Person
  let close: () => Promise<void>

  beforeAll(async () => {
    const sandbox = await startSandboxCluster()
    stage = await Stage.open()
    close = async () => {
      await stage.close()
      await sandbox.stop()
    }
    alice = await stage.found('alice')
    await stage.addCluster(alice, NAME, sandbox)
    bob = await stage.join(alice, 'bob', ['--cluster', NAME, '--role', 'ro'])
  })
  afterAll(() => close?.())

  async function certs(person: Person, ...flags: string[]) {
    return JSON.parse(await person.must(['certs', ...flags, '--json'])) as CertificateList
  }

  async function kubectl(person: Person, kubeconfig: string) {
    const env = { ...person.env, KUBECONFIG: kubeconfig }
    return runProgram(await kubectlPath('1.36.3'), ['get', 'pods'], { env })
  }

  test('are listed with their last use; everybody’s for whoever may list the agent’s Secrets', async () => {
    const { exitCode, stderr } = await kubectl(bob, await bob.kubeconfig('exec'))
    expect(exitCode, stderr).toBe(0)
    const own = await certs(bob)
    expect(own.certificates).toMatchObject([
      { cluster: NAME, user: 'bob', state: 'stands', isThis: true },
    ])
    expect(own.certificates[0]!.lastUsed).toMatchObject({ time: expect.any(String) })
    const all = await certs(alice, '--all')
    expect(new Set(all.certificates.map(({ user }) => user))).toEqual(new Set(['alice', 'bob']))
    const refused = await bob.mcm(['certs', '--all'])
    expect(refused.exitCode).toBe(9)
    expect(refused.stdout).toContain('you may see your own certificates only')
  })

  test('the first use of a new one, which renewing by hand is, marks the old one replaced; both serve for what is on its way', async () => {
    const kubeconfig = await bob.kubeconfig('static')
    await bob.must(['certs', 'renew'])
    const states = async () => (await certs(bob)).certificates.map(({ state }) => state).sort()
    await expect.poll(states, { timeout: 30_000 }).toEqual(['replaced', 'stands'])
    expect((await kubectl(bob, kubeconfig)).exitCode).toBe(0)
  })

  test('one in the bin opens nothing, its owner may not take it out, and then it serves again', async () => {
    await bob.must(['certs', 'renew'])
    const kubeconfig = await bob.kubeconfig('static')
    const { certificates } = await certs(bob)
    const { serial } = certificates.find(({ isThis }) => isThis)!
    await alice.must(['certs', 'purge', serial, '--yes'])
    expect((await kubectl(bob, kubeconfig)).stderr).toContain('was purged')
    expect((await certs(alice, '--user', 'bob', '--bin')).certificates).toHaveLength(1)
    const own = await bob.mcm(['certs', 'restore', serial])
    expect(own.exitCode).toBe(9)
    await alice.must(['certs', 'restore', '--user', 'bob'])
    expect((await kubectl(bob, kubeconfig)).exitCode).toBe(0)
  })

  test('a revoked one opens nothing for good, and its device gets the next by renewing', async () => {
    const kubeconfig = await bob.kubeconfig('static')
    const { certificates } = await certs(bob)
    const { serial } = certificates.find(({ isThis }) => isThis)!
    await bob.must(['certs', 'revoke', serial, '--yes'])
    expect((await kubectl(bob, kubeconfig)).stderr).toContain('was revoked')
    await bob.must(['certs', 'renew'])
    expect((await kubectl(bob, await bob.kubeconfig('exec'))).exitCode).toBe(0)
  })

  test('the agent says when an administrator has last confirmed the directory', async () => {
    const shown = JSON.parse(await alice.must(['clusters', 'show', NAME, '--json']))
    expect(shown.protection.directory).toMatchObject({
      head: { seq: expect.any(Number) },
      confirmed: expect.stringMatching(/Z$/),
    })
    expect(shown.protection.directory).not.toHaveProperty('withheld')
  })
})
