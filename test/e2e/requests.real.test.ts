import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AuditEvent } from '../../src/agent/audit-event.ts'
import type { DirectoryView } from '../../src/device/directory-view.ts'
import { type ApiServer, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

/** Access requests on a real API server: who asks, who approves, what RBAC says, and that it is over by itself. */

describe.each(['1.36.3', '1.33.13'] as const)('access requests on Kubernetes %s', (version) => {
  let server: ApiServer
  let stage: Stage
  let owner: Person
  let second: Person
  let limited: Person
  let bob: Person

  const kubectl = async (args: readonly string[]) =>
    runProgram(await kubectlPath('1.36.3'), ['--context', 'mcm-prod', ...args], { env: bob.env })
  const asAdmin = async (args: readonly string[]) => {
    const { adminKubeconfig: kubeconfig } = server
    const { exitCode, stdout, stderr } = await runKubectl('1.36.3', args, { kubeconfig })
    if (exitCode !== 0) throw new Error(stderr)
    return stdout
  }
  const ask = async (role: string, time: string) => {
    const where = ['--cluster', 'prod', '--for', time, '--reason', 'disk full']
    const asked = JSON.parse(await bob.must(['request', '--role', role, ...where, '--json']))
    expect(asked).toMatchObject({ status: 'waiting', user: 'bob' })
    return String(asked.id)
  }
  const approve = (person: Person, id: string) =>
    person.mcm(['requests', 'approve', id, '--yes', '--json'], { timeoutMs: 60_000 })
  const reads = ['-n', 'kube-system', 'get', 'secrets']
  const isIn = async () => (await kubectl(reads)).exitCode === 0
  const requestBindings = async () => {
    const list = JSON.parse(await asAdmin(['get', 'clusterrolebindings', '-o', 'json']))
    return (list.items as { metadata: { annotations?: Record<string, string> } }[]).filter(
      ({ metadata }) => metadata.annotations?.['mcm.dev/grant']?.includes('"request"'),
    )
  }
  /** What the agent wrote down of what bob did with what a request gave. */
  const agentAudit = (id: string) => {
    const { stdout, stderr } = stage.agents.get('prod/a')!
    return `${stdout}\n${stderr}`
      .split('\n')
      .filter((line) => line.includes(`"requests":[${id}]`))
      .map((line) => JSON.parse(line) as AuditEvent)
  }
  /** It is used until it is over by itself, with what runs then; and all of that is in audit. */
  const runsOut = async (id: string, approvers: readonly string[]) => {
    await expect.poll(isIn, { timeout: 20_000 }).toBe(true)
    const watch = bob.start(['kubectl', '-c', 'prod', ...reads, '--watch'])
    await watch.shows(/NAME/)
    await expect.poll(isIn, { timeout: 120_000, interval: 500 }).toBe(false)
    await watch.ended
    const ofWatch = () =>
      agentAudit(id).find(({ verb, stage }) => verb === 'watch' && stage === 'ended')
    await expect.poll(ofWatch, { timeout: 20_000 }).toMatchObject({ user: 'bob', ended: 'denied' })
    const { auditId } = ofWatch()!
    const event = (await server.auditEvents()).find(({ auditID }) => auditID === auditId)
    expect(event?.impersonatedUser).toMatchObject({ username: 'mcm:bob' })
    expect(event!.impersonatedUser!.groups!.join()).toMatch(/mcm:grant:[0-9a-f]{16}/)
    const chain = JSON.parse(await owner.must(['directory', 'show', '--json'])) as DirectoryView
    const said = chain.statements.filter(
      ({ type, about }) => type === 'approval' && about === `approve request ${id}`,
    )
    expect(said.map(({ signedBy }) => signedBy[0]!.split(' ')[0])).toEqual(approvers)
  }

  beforeAll(async () => {
    server = await startApiServer({ version })
    stage = await Stage.open()
    owner = await stage.found('owner')
    await stage.addCluster(owner, 'prod', server)
    await asAdmin(['-n', 'kube-system', 'create', 'secret', 'generic', 'seen'])
    const rbac = 'rolebindings,clusterrolebindings,clusterroles'
    const verbs = 'get,list,create,update,patch,delete'
    await asAdmin(['create', 'clusterrole', 'rbac-writer', `--verb=${verbs}`, `--resource=${rbac}`])
    second = await stage.join(owner, 'second', ['--cluster', 'prod', '--role', 'admin'])
    limited = await stage.join(owner, 'limited', ['--cluster', 'prod', '--role', 'rbac-writer'])
    for (const name of ['second', 'limited']) await owner.must(['admins', 'add', name])
    bob = await stage.join(owner, 'bob', ['--cluster', 'prod', '--role', 'ro'])
    await bob.must(['kubeconfig', '--all', '--output', join(bob.home, 'kubeconfig')])
  }, 600_000)

  afterAll(async () => {
    await stage?.close()
    await server?.stop()
  })

  test('nothing is given before the approval; then it works at once, is audited by number, and ends by itself', async () => {
    expect(await isIn()).toBe(false)
    const id = await ask('ops', '60s')
    expect(await isIn()).toBe(false)
    const approved = await approve(owner, id)
    expect(approved, approved.stderr).toMatchObject({ exitCode: 0 })
    expect(JSON.parse(approved.stdout).request).toMatchObject({ status: 'running' })
    await runsOut(id, ['owner'])
    const all = JSON.parse(await owner.must(['requests', '--all', '--json']))
    expect(all).toMatchObject([{ id: Number(id), status: 'over', approvals: [{ user: 'owner' }] }])
  }, 300_000)

  test('who asked ends it early, at once; the binding goes with the next approval', async () => {
    const id = await ask('ops', '1h')
    expect(await approve(owner, id)).toMatchObject({ exitCode: 0 })
    await expect.poll(isIn, { timeout: 20_000 }).toBe(true)
    await bob.must(['requests', 'end', id])
    await expect.poll(isIn, { timeout: 20_000 }).toBe(false)
    const next = await ask('dev', '1m')
    expect(await approve(owner, next)).toMatchObject({ exitCode: 0 })
    expect(await requestBindings()).toHaveLength(1)
    await owner.must(['requests', 'end', next])
    expect(await requestBindings()).toEqual([])
  }, 300_000)

  test('an administrator whom RBAC does not let give the role cannot approve it', async () => {
    const id = await ask('ops', '1h')
    const refused = await approve(limited, id)
    expect(refused.exitCode).toBe(5)
    expect(refused.stdout).toContain('attempting to grant RBAC permissions not currently held')
    expect(await isIn()).toBe(false)
    await owner.must(['requests', 'deny', id])
    expect((await approve(owner, id)).exitCode).not.toBe(0)
  }, 300_000)

  test('where two are needed one gives nothing, nobody counts twice, and the second makes it, for its time', async () => {
    await owner.must(['clusters', 'approvals', 'prod', '--needed', '2'])
    const id = await ask('ops', '60s')
    expect(await approve(owner, id)).toMatchObject({ exitCode: 0 })
    expect((await approve(owner, id)).exitCode).not.toBe(0)
    expect((await approve(bob, id)).exitCode).toBe(5)
    expect(await requestBindings()).toEqual([])
    // The API server judges the second as it did the first.
    const refused = await approve(limited, id)
    expect(refused.exitCode, refused.stdout).toBe(5)
    expect(await isIn()).toBe(false)
    expect(await approve(second, id)).toMatchObject({ exitCode: 0 })
    await runsOut(id, ['owner', 'second'])
  }, 300_000)

  test('what two have approved ends at once with whoever asked', async () => {
    const id = await ask('ops', '1h')
    for (const person of [owner, second])
      expect(await approve(person, id)).toMatchObject({ exitCode: 0 })
    await expect.poll(isIn, { timeout: 20_000 }).toBe(true)
    await owner.must(['revoke', 'bob', '--yes'])
    await expect.poll(isIn, { timeout: 20_000 }).toBe(false)
    expect(await requestBindings()).toEqual([])
  }, 300_000)
})
