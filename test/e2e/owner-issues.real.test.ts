import { X509Certificate } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openEnrolment, openSession } from '../../src/device/agent-connection.ts'
import { formatCertificateRequest } from '../../src/device/certificate-request.ts'
import { type FleetSession, withFleet } from '../../src/device/fleet-session.ts'
import { type Kept, keptCredential } from '../../src/device/kept-credential.ts'
import { signConsent } from '../../src/directory/consent.ts'
import { signingKeyFromPem } from '../../src/directory/signing-key.ts'
import { loadAuthority } from '../../src/pki/authority.ts'
import { createCsr, readCsr } from '../../src/pki/csr.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { issueUserCertificate } from '../../src/pki/profiles.ts'
import { Secret } from '../../src/secret.ts'
import { type ApiServer, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { deviceAt, MovableWorld } from '../device/fleet.ts'
import { type LongRunning, runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

/**
 * A cluster whose owner issues (`mcm register --issuer local`) beside one whose agent does: real programs, a real API
 * server, and everything that goes between people is text.
 */
describe('a cluster whose owner issues', () => {
  let edge: ApiServer
  let other: ApiServer
  let stage: Stage
  let ada: Person
  let bob: Person
  let id: string
  let otherId: string
  const proxies: LongRunning[] = []

  beforeAll(async () => {
    ;[edge, other] = await Promise.all([
      startApiServer({ version: '1.36.3' }),
      startApiServer({ version: '1.36.3' }),
    ])
    stage = await Stage.open()
    ada = await stage.found('ada')
    await stage.addCluster(ada, 'edge', edge, ['--issuer', 'local'])
    await stage.addCluster(ada, 'other', other)
    bob = await stage.join(ada, 'bob', ['--cluster', 'edge', '--role', 'ro'])
    await ada.must(['grant', 'bob', '--role', 'ro', '--cluster', 'other'])
    id = (await clusterNamed('edge')).id
    otherId = (await clusterNamed('other')).id
  })

  afterAll(async () => {
    await Promise.all(proxies.map((proxy) => proxy.stop('SIGKILL')))
    await stage?.close()
    await Promise.all([edge?.stop(), other?.stop()])
  })

  const agent = () => stage.agents.get('edge/a')!
  const clusterNamed = async (name: string) =>
    JSON.parse(await ada.must(['clusters', 'show', name, '--json']))
  const asAdmin = async (...args: string[]) =>
    (await runKubectl('1.36.3', args, { kubeconfig: edge.adminKubeconfig })).stdout

  const kubectl = async (person: Person, kubeconfig: string, ...args: string[]) =>
    runProgram(await kubectlPath('1.36.3'), ['--context', 'mcm-edge', ...args], {
      env: { ...person.env, KUBECONFIG: kubeconfig },
    })
  const USER = ['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}']

  /** Through stock kubectl with the plugin, with everything in the file, and through `mcm proxy`. */
  async function usersInAllModes(person: Person): Promise<string[]> {
    const proxy = person.start(['proxy', '--port', '0'])
    proxies.push(proxy)
    await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
    const users: string[] = []
    for (const mode of ['exec', 'static', 'proxy'] as const) {
      const { stdout, stderr } = await kubectl(person, await person.kubeconfig(mode), ...USER)
      users.push(`${stdout}${stderr}`)
    }
    return users
  }

  const filePath = (person: Person) => join(person.home, 'certificates', `${id}.json`)
  const kept = async (person: Person) => JSON.parse(await readFile(filePath(person), 'utf8'))
  async function change(person: Person, times: Record<string, string>): Promise<void> {
    await writeFile(filePath(person), JSON.stringify({ ...(await kept(person)), ...times }))
  }
  const LONG_AGO = '2020-01-01T00:00:00Z'

  async function certificateFor(person: Person, ...flags: string[]): Promise<void> {
    const request = await person.must(['certs', 'request', 'edge'])
    const certificate = await ada.must(['certs', 'sign', '-', ...flags], { input: request })
    await person.must(['certs', 'install', '-'], { input: certificate })
  }

  /** A kubeconfig with this certificate and key in it. */
  async function kubeconfigWith(person: Person, certPem: string, keyPem: string): Promise<string> {
    const source = await readFile(await person.kubeconfig('static'), 'utf8')
    const base64 = (text: string) => Buffer.from(text).toString('base64')
    const edited = source
      .replaceAll(/client-certificate-data: \S+/g, `client-certificate-data: ${base64(certPem)}`)
      .replaceAll(/client-key-data: \S+/g, `client-key-data: ${base64(keyPem)}`)
    const path = join(person.home, 'forged-kubeconfig')
    await writeFile(path, edited, { mode: 0o600 })
    return path
  }

  async function inProcess<T>(person: Person, work: (session: FleetSession) => Promise<T>) {
    return withFleet(await deviceAt(person.home, new MovableWorld()), work)
  }
  const deviceKey = async (person: Person) =>
    signingKeyFromPem(await readFile(join(person.home, 'keys', 'device-key'), 'utf8'))
  const caKeyPath = () => join(ada.home, 'keys', `user-ca-key.${id}`)

  test('the agent has the CA’s certificate and no key of it; the owner’s machine has the key', async () => {
    const names = (await asAdmin('-n', 'mcm-system', 'get', 'secrets', '-o', 'name')).split('\n')
    const texts = await Promise.all(
      names.filter(Boolean).map((name) => asAdmin('-n', 'mcm-system', 'get', name, '-o', 'json')),
    )
    const data = texts.flatMap((text) => Object.entries(JSON.parse(text).data ?? {}))
    expect(data.map(([key]) => key)).toContain('userCa')
    expect(data.map(([key]) => key)).not.toContain('userCa.key')
    const key = (await readFile(caKeyPath(), 'utf8')).split('\n')[1]!
    for (const [, value] of data)
      expect(Buffer.from(String(value), 'base64').toString()).not.toContain(key)
  })

  test('its owner uses it at once, in every mode', async () => {
    expect(await usersInAllModes(ada)).toEqual(['mcm:ada', 'mcm:ada', 'mcm:ada'])
    expect(await ada.must(['clusters'])).toMatch(/ISSUER[\s\S]*local/)
  })

  test('another person is told whom to ask, and kubectl says the same', async () => {
    const { clusters } = JSON.parse(await bob.must(['login', '--json']))
    const edgeOutcome = clusters.find(({ name }: { name: string }) => name === 'edge')
    expect(edgeOutcome.problem).toMatch(
      /^signed by ada on .*: send them what mcm certs request edge/,
    )
    const { stderr, exitCode } = await kubectl(bob, await bob.kubeconfig('exec'), 'get', 'pods')
    expect(exitCode).not.toBe(0)
    expect(stderr).toContain('mcm certs request edge')
  })

  test('asks, is answered, installs, and uses it in every mode', async () => {
    const [request, answer] = [join(bob.home, 'edge.request'), join(ada.home, 'bob.crt')]
    await bob.must(['certs', 'request', 'edge', '--output', request])
    const { stderr } = await ada.mcm(['certs', 'sign', request, '--ttl', '7d', '--output', answer])
    expect(stderr).toMatch(/signed for bob on .*, cluster edge, until /)
    expect(await bob.must(['certs', 'install', answer])).toContain('certificate until:')
    expect(await usersInAllModes(bob)).toEqual(['mcm:bob', 'mcm:bob', 'mcm:bob'])
    const days = (Date.parse((await kept(bob)).notAfter) - Date.now()) / 86_400_000
    expect(days).toBeGreaterThan(6.9)
    expect(days).toBeLessThan(7)
  })

  test('RBAC is the API server’s as ever, and the agent has issued nothing', async () => {
    const { stderr } = await kubectl(bob, await bob.kubeconfig('exec'), 'create', 'namespace', 'x')
    expect(stderr).toContain('User "mcm:bob" cannot create resource "namespaces"')
    expect(agent().stderr).not.toContain('certificate_issued')
    expect(agent().stderr).toContain('certificate_admitted')
  })

  test('the owner’s certificate renews by itself when due and long after its end', async () => {
    const before = (await kept(ada)).fingerprint
    await change(ada, { renewAfter: LONG_AGO })
    expect((await kubectl(ada, await ada.kubeconfig('exec'), ...USER)).stdout).toBe('mcm:ada')
    const due = (await kept(ada)).fingerprint
    expect(due).not.toBe(before)
    await change(ada, { renewAfter: LONG_AGO, notAfter: LONG_AGO })
    expect((await kubectl(ada, await ada.kubeconfig('exec'), ...USER)).stdout).toBe('mcm:ada')
    expect((await kept(ada)).fingerprint).not.toBe(due)
  })

  test('with the CA’s key gone the owner is told so, and nothing else', async () => {
    await rename(caKeyPath(), `${caKeyPath()}.gone`)
    await change(ada, { renewAfter: LONG_AGO, notAfter: LONG_AGO })
    const { stderr, exitCode } = await ada.mcm(['credential', '--cluster', id])
    await rename(`${caKeyPath()}.gone`, caKeyPath())
    expect(exitCode).toBe(8)
    expect(stderr).toContain('the user CA of edge cannot sign: its key is gone from')
    expect(stderr).toContain('try: restore it from a backup')
    expect((await ada.mcm(['credential', '--cluster', id])).exitCode).toBe(0)
  })

  test('the agent refuses to issue, with what to do', async () => {
    const csr = await createCsr(generateKeyPair().privateKeyPem)
    const message = expect.stringContaining('send the owner what mcm certs request')
    const refusal = { code: 'MCM_FORBIDDEN', message }
    await inProcess(bob, async (session) => {
      const cluster = session.directory.state.clusters.get(id)!
      const enrolment = await openEnrolment(session, cluster)
      await expect(enrolment.agent.enrol({ csr, proof: 'a.b.c' })).rejects.toMatchObject(refusal)
      enrolment.agent.close()
    })
  })

  test('a request that asks for another name gets its own', async () => {
    const key = await deviceKey(bob)
    const pair = generateKeyPair()
    const csr = await createCsr(pair.privateKeyPem, 'system:masters')
    const { publicKeyDer } = await readCsr(csr)
    const consent = signConsent(key, { cluster: id, publicKeyDer })
    const input = formatCertificateRequest({ cluster: id, device: key.id, csr, consent })
    const certificate = await ada.must(['certs', 'sign', '-'], { input })
    expect(new X509Certificate(certificate).subject).toBe('CN=bob')
    const path = await kubeconfigWith(bob, certificate, pair.privateKeyPem.reveal())
    expect((await kubectl(bob, path, ...USER)).stdout).toBe('mcm:bob')
  })

  test('whoever steals the CA’s key alone speaks for nobody', async () => {
    const key = new Secret(await readFile(caKeyPath(), 'utf8'))
    const pem = await readFile(join(ada.home, 'user-cas', `${id}.pem`), 'utf8')
    const stolen = loadAuthority(pem, key)
    const pair = generateKeyPair()
    const { publicKeyDer } = pair
    const thief = await deviceKey(bob)
    const names = { user: 'ada', groups: [], device: (await deviceKey(ada)).id, publicKeyDer }
    const consent = signConsent(thief, { cluster: id, publicKeyDer })
    for (const subject of [names, { ...names, consent }]) {
      const { pem: forged } = await issueUserCertificate(new MovableWorld(), stolen, subject, 3600)
      const path = await kubeconfigWith(bob, forged, pair.privateKeyPem.reveal())
      const { stderr, exitCode } = await kubectl(bob, path, 'get', 'namespaces')
      expect(exitCode).toBe(1)
      expect(stderr).toContain('the device of ada has not asked for this certificate')
    }
  })

  test('a certificate of another cluster’s CA is refused by the agent, and not installed', async () => {
    await bob.must(['login'])
    const foreign = await inProcess(bob, async (session) => {
      const { credential } = (await keptCredential(session.device, otherId)) as Kept
      const cluster = session.directory.state.clusters.get(id)!
      const outcome = await openSession(session, cluster, credential).then(
        async (opened) => opened.whoami().catch((error) => error),
        (error) => error,
      )
      // Its alert or the end of the connection, whichever is seen first.
      expect(outcome.code).toMatch(/^MCM_(CERTIFICATE_UNKNOWN|AGENT_UNREACHABLE)$/)
      await expect.poll(() => agent().stderr).toContain('another CA is its issuer')
      return credential.certificatePem
    })
    const { exitCode, stderr } = await bob.mcm(['certs', 'install', '-'], { input: foreign })
    expect(exitCode).toBe(2)
    expect(stderr).toContain('the agent of other issues its certificates itself')
  })

  test('a serial that was revoked is out at once; another certificate of the same device is not', async () => {
    const path = await bob.kubeconfig('static')
    const pem = (await kept(bob)).certificate
    expect((await kubectl(bob, path, ...USER)).stdout).toBe('mcm:bob')
    await expect.poll(() => agent().stderr).toContain((await kept(bob)).fingerprint)
    await inProcess(bob, async (session) => {
      const { credential } = (await keptCredential(session.device, id)) as Kept
      const cluster = session.directory.state.clusters.get(id)!
      const own = await openSession(session, cluster, credential)
      const listed = await own.certificates()
      expect(listed.map(({ fingerprint }) => fingerprint)).toContain(credential.fingerprint)
      const serial = new X509Certificate(pem).serialNumber.toLowerCase()
      await own.revoke({ serial })
      own.close()
    })
    await expect
      .poll(async () => (await kubectl(bob, path, 'get', 'pods')).stderr)
      .toMatch(/bob was revoked at/)
    await certificateFor(bob)
    expect((await kubectl(bob, await bob.kubeconfig('exec'), ...USER)).stdout).toBe('mcm:bob')
  })

  test('revoking a person ends their watch, their access, and what the owner signs for them', async () => {
    const { LongRunning } = await import('./program.ts')
    const KUBECONFIG = await bob.kubeconfig('exec')
    const watch = new LongRunning(
      await kubectlPath('1.36.3'),
      ['--context', 'mcm-edge', 'get', 'namespaces', '-w', '-o', 'name'],
      { ...bob.env, KUBECONFIG },
    )
    await watch.shows(/namespace\/default/)
    const request = await bob.must(['certs', 'request', 'edge'])
    await ada.must(['revoke', 'bob', '--yes'])
    await watch.ended
    expect((await kubectl(bob, KUBECONFIG, 'get', 'namespaces')).exitCode).not.toBe(0)
    const refused = await ada.mcm(['certs', 'sign', '-'], { input: request })
    expect(refused.exitCode).toBe(5)
    expect(refused.stderr).toContain('bob was revoked at')
    expect((await kubectl(ada, await ada.kubeconfig('exec'), ...USER)).stdout).toBe('mcm:ada')
  })
})
