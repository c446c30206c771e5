import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EndedCertificates } from '../../src/device/certificate-end.ts'
import type { CertificateList, CertificateRow } from '../../src/device/certificate-list.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { type Finished, LongRunning, runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

/**
 * `mcm certs` over two clusters of two Kubernetes versions, real programs throughout: what is listed, replaced,
 * revoked, thrown away and brought back, who may do it, and what bad input gets. In this order.
 */

const CLUSTERS = { ack: '1.36.3', 'idc-k8s': '1.33.13' } as const
type ClusterName = keyof typeof CLUSTERS
const NAMES = Object.keys(CLUSTERS) as ClusterName[]
const EXIT = { usage: 2, notFound: 3, someFailed: 9 }

const possible = await Promise.all(
  NAMES.map(async (name) =>
    skipLoudly(`certificates on ${CLUSTERS[name]}`, await apiServerIsPossible(CLUSTERS[name])),
  ),
)

describe.skipIf(possible.includes(true))('certificates over two clusters', () => {
  const servers = new Map<ClusterName, ApiServer>()
  let stage: Stage
  let alice: Person
  let bob: Person
  let carol: Person
  const watches: LongRunning[] = []

  beforeAll(async () => {
    for (const name of NAMES) servers.set(name, await startApiServer({ version: CLUSTERS[name] }))
    stage = await Stage.open()
    alice = await stage.found('alice')
    for (const name of NAMES) await stage.addCluster(alice, name, servers.get(name)!)
    const everywhere = NAMES.flatMap((name) => ['--cluster', name])
    bob = await stage.join(alice, 'bob', [...everywhere, '--role', 'ro'])
    carol = await stage.join(alice, 'carol', ['--cluster', 'ack', '--role', 'ro'])
  }, 300_000)
  afterAll(async () => {
    await Promise.all(watches.map((watch) => watch.stop('SIGKILL')))
    await stage?.close()
    await Promise.all([...servers.values()].map((server) => server.stop()))
  })

  async function certs(person: Person, ...flags: string[]): Promise<readonly CertificateRow[]> {
    const list = JSON.parse(await person.must(['certs', ...flags, '--json'])) as CertificateList
    expect(list.problems).toEqual([])
    return list.certificates
  }

  const own = async (person: Person, cluster: ClusterName) =>
    (await certs(person)).find((row) => row.cluster === cluster && row.isThis)!

  async function ended(person: Person, ...args: string[]): Promise<EndedCertificates> {
    return JSON.parse(await person.must(['certs', ...args, '--json'])) as EndedCertificates
  }

  /** The error that `--json` prints beside the exit code. */
  async function failure(person: Person, ...args: string[]) {
    const { exitCode, stdout, stderr } = await person.mcm(['certs', ...args, '--json'])
    expect(stderr).toBe('')
    return { exitCode, ...(JSON.parse(stdout).error as { code: string; message: string }) }
  }

  async function kubectl(person: Person, file: string, cluster: ClusterName, ...args: string[]) {
    const env = { ...person.env, KUBECONFIG: file }
    const all = ['--context', `mcm-${cluster}`, ...args]
    return runProgram(await kubectlPath(CLUSTERS[cluster]), all, { env })
  }
  const get = (person: Person, file: string, cluster: ClusterName): Promise<Finished> =>
    kubectl(person, file, cluster, 'get', 'configmaps')

  /** A kubeconfig that holds the certificates of now, under a name of its own. */
  let copies = 0
  async function frozen(person: Person): Promise<string> {
    const path = join(person.home, `frozen-${copies++}`)
    await person.must(['kubeconfig', '--all', '--mode', 'static', '--output', path])
    return path
  }

  async function watch(person: Person, file: string, cluster: ClusterName): Promise<LongRunning> {
    const args = ['--context', `mcm-${cluster}`, 'get', 'configmaps', '--watch', '-o', 'name']
    const program = new LongRunning(await kubectlPath(CLUSTERS[cluster]), args, {
      ...person.env,
      KUBECONFIG: file,
    })
    watches.push(program)
    await program.shows(/configmap\/kube-root-ca.crt|configmap\/seen/)
    return program
  }

  test('are listed with owner, device, times and last use, in every cluster a person may reach', async () => {
    for (const server of servers.values()) {
      const made = ['create', 'configmap', 'seen']
      const { adminKubeconfig: kubeconfig } = server
      expect(await runKubectl('1.36.3', made, { kubeconfig })).toMatchObject({ exitCode: 0 })
    }
    const file = await frozen(bob)
    for (const name of NAMES) expect(await get(bob, file, name)).toMatchObject({ exitCode: 0 })
    const rows = await certs(bob)
    expect(rows.map(({ cluster, user, state }) => ({ cluster, user, state }))).toEqual(
      NAMES.map((cluster) => ({ cluster, user: 'bob', state: 'stands' })),
    )
    for (const row of rows) {
      expect(row.device).toEqual({
        id: expect.stringMatching(/^[\w-]{43}$/),
        name: expect.any(String),
      })
      expect(row.lastUsed).toEqual({ time: expect.stringMatching(/Z$/), addressByHub: '127.0.0.1' })
      const hours = (Date.parse(row.expires) - Date.parse(row.issued)) / 3_600_000
      expect(hours).toBeGreaterThan(12)
      expect(hours).toBeLessThan(12.2)
    }
    const text = await bob.must(['certs'])
    expect(text).toMatch(/CLUSTER +USER +DEVICE +SERIAL +ISSUED +EXPIRES +STATE +LAST USED/)
    expect(text).toContain('127.0.0.1*')
  })

  test('of everybody are for whoever may list the Secrets of the agent, and a cluster that says no is named', async () => {
    const all = await certs(alice, '--all')
    const owners = new Set(all.map(({ cluster, user }) => `${cluster} ${user}`))
    for (const owner of ['ack alice', 'ack bob', 'ack carol', 'idc-k8s bob'])
      expect(owners).toContain(owner)
    expect(owners).not.toContain('idc-k8s carol')
    expect(
      (await certs(alice, '--all', '--cluster', 'ack')).every((row) => row.cluster === 'ack'),
    ).toBe(true)
    const refused = await bob.mcm(['certs', '--user', 'carol', '--json'])
    expect(refused.exitCode).toBe(EXIT.someFailed)
    expect(JSON.parse(refused.stdout)).toEqual({
      certificates: [],
      problems: NAMES.map((cluster) => ({
        cluster,
        problem: expect.stringContaining('you may see your own certificates only'),
      })),
    })
  })

  test('that are renewed replace the ones before in every cluster, and what runs goes on', async () => {
    const file = await frozen(bob)
    const before = await certs(bob)
    const running = await Promise.all(NAMES.map((name) => watch(bob, file, name)))
    const renewed = JSON.parse(await bob.must(['certs', 'renew', '--json']))
    expect(renewed).toMatchObject(
      NAMES.map((name) => ({ name, certificateUntil: expect.any(String) })),
    )
    const replaced = async () =>
      (await certs(bob)).filter(({ state }) => state === 'replaced').length
    await expect.poll(replaced, { timeout: 60_000 }).toBeGreaterThanOrEqual(before.length)
    const after = await certs(bob)
    for (const { serial, cluster } of before) {
      expect(after.find((row) => row.serial === serial)).toMatchObject({
        cluster,
        state: 'replaced',
        since: expect.any(String),
        isThis: false,
      })
    }
    expect(after.filter(({ state }) => state === 'stands').map((row) => row.cluster)).toEqual(NAMES)
    for (const [index, name] of NAMES.entries()) {
      const { adminKubeconfig: kubeconfig } = servers.get(name)!
      await runKubectl('1.36.3', ['create', 'configmap', 'later'], { kubeconfig })
      await running[index]!.shows(/configmap\/later/)
    }
  })

  test('by a serial that nobody has, by one too short, or by nothing at all are not ended', async () => {
    for (const action of ['revoke', 'purge', 'restore']) {
      const yes = action === 'restore' ? [] : ['--yes']
      expect(await failure(alice, action, 'ffffffffffff', ...yes)).toMatchObject({
        exitCode: EXIT.notFound,
        code: 'MCM_NOT_FOUND',
        message: 'no certificate fits ffffffffffff',
      })
      expect(await failure(alice, action, 'ff', ...yes)).toMatchObject({ exitCode: EXIT.usage })
      expect(
        await failure(alice, action, 'ffffffffffff', '--cluster', 'nowhere', ...yes),
      ).toMatchObject({
        exitCode: EXIT.notFound,
        code: 'MCM_CLUSTER_UNKNOWN',
      })
    }
    for (const action of ['revoke', 'restore'])
      expect(await failure(alice, action)).toMatchObject({
        exitCode: EXIT.usage,
        code: 'MCM_USAGE',
      })
  })

  test('of somebody else are neither seen nor ended without the right, and nothing happens to them', async () => {
    const file = await frozen(carol)
    const { serial } = await own(carol, 'ack')
    for (const action of ['revoke', 'purge']) {
      const refused = await failure(bob, action, serial, '--yes')
      expect(refused).toMatchObject({
        exitCode: EXIT.notFound,
        message: `no certificate fits ${serial}`,
      })
    }
    // The agent itself, told of a user outright.
    const user = await bob.mcm(['certs', 'revoke', '--user', 'carol', '--yes', '--json'])
    expect(user.exitCode).toBe(EXIT.someFailed)
    expect(user.stdout).toContain('you may revoke your own devices only')
    const device = await bob.mcm([
      'certs',
      'revoke',
      '--device',
      (await own(carol, 'ack')).device.id,
      '--yes',
    ])
    expect(device.exitCode).not.toBe(0)
    expect(await get(carol, file, 'ack')).toMatchObject({ exitCode: 0 })
    expect(await own(carol, 'ack')).toMatchObject({ serial, state: 'stands' })
  })

  test('that stand ask before they go, say what is lost, and a whole user wants the name', async () => {
    const { serial } = await own(bob, 'ack')
    for (const action of ['revoke', 'purge']) {
      const { exitCode, stderr } = await bob.mcm(['certs', action, serial])
      expect(exitCode).toBe(EXIT.usage)
      expect(stderr).toContain(`${serial.slice(0, 8)} of bob on `)
      expect(stderr).toContain('nobody is there to confirm it')
    }
    const { exitCode, stderr } = await bob.mcm(['certs', 'revoke', '--user', 'bob'])
    expect(exitCode).toBe(EXIT.usage)
    expect(stderr).toContain(
      'bob gets no certificate at ack, idc-k8s with any device there is today',
    )
    expect(await own(bob, 'ack')).toMatchObject({ serial, state: 'stands' })
  })

  test('that stand are cut by a purge, open nothing in the bin, and serve again when they come out of it', async () => {
    const file = await frozen(bob)
    const { serial } = await own(bob, 'idc-k8s')
    const running = await watch(bob, file, 'idc-k8s')
    expect(await ended(bob, 'purge', serial, '--yes')).toMatchObject({
      action: 'purged',
      certificates: [{ cluster: 'idc-k8s', serial, state: 'stands' }],
      problems: [],
    })
    await running.ended
    const refused = await get(bob, file, 'idc-k8s')
    expect(refused.exitCode).toBe(1)
    expect(refused.stderr).toContain('the certificate of bob was purged')
    // The other cluster has another certificate.
    expect(await get(bob, file, 'ack')).toMatchObject({ exitCode: 0 })
    expect((await certs(bob)).map((row) => row.serial)).not.toContain(serial)
    expect(await certs(bob, '--bin')).toMatchObject([
      { cluster: 'idc-k8s', serial, state: 'purged', since: expect.any(String) },
    ])
    // Twice is once, and what is in no bin cannot come out of it.
    expect(await failure(bob, 'purge', serial, '--yes')).toMatchObject({ code: 'MCM_NOT_FOUND' })
    expect(await ended(bob, 'restore', serial)).toMatchObject({ action: 'restored', problems: [] })
    expect(await get(bob, file, 'idc-k8s')).toMatchObject({ exitCode: 0 })
    expect(await failure(bob, 'restore', serial)).toMatchObject({ code: 'MCM_NOT_FOUND' })
  })

  test('that an administrator purged are not for their owner to restore', async () => {
    const file = await frozen(carol)
    const { serial } = await own(carol, 'ack')
    await ended(alice, 'purge', serial, '--yes')
    const refused = await carol.mcm(['certs', 'restore', serial, '--json'])
    expect(refused.exitCode).toBe(EXIT.someFailed)
    expect(refused.stdout).toContain('you may revoke your own devices only')
    expect((await get(carol, file, 'ack')).stderr).toContain('was purged')
    await ended(alice, 'restore', '--user', 'carol')
    expect(await get(carol, file, 'ack')).toMatchObject({ exitCode: 0 })
  })

  test('that are revoked are cut, stay revoked through the bin and a new start of the agent, and others go on', async () => {
    const file = await frozen(bob)
    const { serial } = await own(bob, 'ack')
    const running = await watch(bob, file, 'ack')
    await ended(bob, 'revoke', serial, '--yes')
    await running.ended
    const told = await bob.mcm(['certs', '--json'])
    expect(told.exitCode).toBe(EXIT.someFailed)
    expect(told.stdout).toContain('run mcm certs renew')
    await bob.must(['certs', 'renew', '--cluster', 'ack'])
    const isRefused = async () => {
      const { exitCode, stderr } = await get(bob, file, 'ack')
      expect({ exitCode, stderr }).toEqual({
        exitCode: 1,
        stderr: expect.stringContaining('the certificate of bob was revoked at'),
      })
    }
    await isRefused()
    expect((await certs(bob)).find((row) => row.serial === serial)).toMatchObject({
      state: 'revoked',
    })
    await ended(bob, 'purge', serial, '--yes')
    await isRefused()
    await stage.agents.get('ack/a')!.stop('SIGKILL')
    await stage.startAgent('ack', servers.get('ack')!)
    await expect
      .poll(async () => (await get(bob, file, 'ack')).stderr, { timeout: 60_000 })
      .toContain('bob was revoked at')
    await ended(bob, 'restore', serial)
    await isRefused()
    expect((await certs(bob)).find((row) => row.serial === serial)).toMatchObject({
      state: 'revoked',
    })
    // Once more into it, now by all that no longer stand.
    const swept = await ended(bob, 'purge', '--yes')
    expect(swept.certificates.map((row) => row.serial)).toContain(serial)
    expect(
      swept.certificates.every(({ state }) => state === 'revoked' || state === 'replaced'),
    ).toBe(true)
    await isRefused()
    expect(await failure(bob, 'purge', '--yes')).toMatchObject({
      message: 'all your certificates stand',
    })
    expect(await get(bob, file, 'idc-k8s')).toMatchObject({ exitCode: 0 })
    expect(await get(bob, await frozen(bob), 'ack')).toMatchObject({ exitCode: 0 })
    await isRefused()
  })

  test('of a device that is ended in one cluster come there no more, and elsewhere as before', async () => {
    const file = await frozen(carol)
    const { device } = await own(carol, 'ack')
    await ended(alice, 'revoke', '--device', device.id, '--yes', '--cluster', 'ack')
    expect((await get(carol, file, 'ack')).stderr).toContain('carol was revoked at')
    const renewed = await carol.mcm(['certs', 'renew', '--json'])
    expect(renewed.stdout).toContain('carol was revoked at')
    expect(renewed.exitCode).toBe(EXIT.someFailed)
  })

  test('of a user who is ended everywhere open nothing in either cluster', async () => {
    const file = await frozen(bob)
    const running = await Promise.all(NAMES.map((name) => watch(bob, file, name)))
    await ended(alice, 'revoke', '--user', 'bob', '--yes')
    await Promise.all(running.map(({ ended: end }) => end))
    for (const name of NAMES)
      expect((await get(bob, file, name)).stderr).toContain('bob was revoked at')
    const all = await certs(alice, '--user', 'bob')
    expect(new Set(all.map(({ state }) => state))).toEqual(new Set(['revoked']))
  })
})
