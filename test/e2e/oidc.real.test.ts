import { X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ForgedProvider } from '../client/forged-provider.ts'
import { RealProvider } from '../client/real-provider.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { confirmCode, endLogin, setProvider, withBrowser } from './oidc-stage.ts'
import { runProgram } from './program.ts'
import { type SandboxCluster, startSandboxCluster } from './sandbox-cluster.ts'
import { type Person, Stage } from './stage.ts'

/** People and programs who come by a token, with real processes, a real provider, real kubectl. */

const LONG_MS = 120_000
const ANN = 'ann@example.com'

let stage: Stage
let cluster: SandboxCluster
let provider: RealProvider
let ci: ForgedProvider
let alice: Person
let link: string
let kubectl: string

beforeAll(async () => {
  kubectl = await kubectlPath('1.36.3')
  ;[stage, cluster, provider, ci] = await Promise.all([
    Stage.open(),
    startSandboxCluster(),
    RealProvider.start(),
    ForgedProvider.start(),
  ])
  provider.account = { email: ANN, email_verified: true, groups: ['developers'] }
  alice = await stage.found()
  await stage.addCluster(alice, 'prod', cluster)
  link = await setProvider(stage, alice, provider)
  await alice.must(['grant', ANN, '--role', 'ro', '--cluster', 'prod'])
}, LONG_MS)

afterAll(async () => {
  await Promise.all([stage?.close(), cluster?.stop(), provider?.stop(), ci?.stop()])
})

const kubeconfigs = new Map<string, string>()

/** What plain kubectl says, by a kubeconfig that was written once. */
async function namespaces(person: Person, mode: 'exec' | 'static' = 'exec') {
  const kubeconfig = kubeconfigs.get(person.name) ?? (await person.kubeconfig(mode))
  kubeconfigs.set(person.name, kubeconfig)
  const args = ['--kubeconfig', kubeconfig, 'get', 'namespaces', '-o', 'name']
  return runProgram(kubectl, args, { env: person.env })
}

describe('a person of the provider', () => {
  it('logs in in the browser and reaches the cluster with plain kubectl, as themselves', async () => {
    const { person, windows, env } = await withBrowser(stage, 'ann')
    await person.must(['login', '--oidc', link], { env })
    expect(await windows()).toBe(1)
    const who = JSON.parse(await person.must(['whoami', '--json']))
    expect(who).toMatchObject({ user: ANN, groups: ['dev'], isAdmin: false })
    expect(who.clusters).toMatchObject([{ name: 'prod', isAccepted: true }])
    const result = await namespaces(person)
    expect(result.stderr).toBe('')
    expect(result.stdout).toContain('namespace/default')
    const events = await cluster.auditEvents()
    expect(events.map(({ impersonatedUser }) => impersonatedUser?.username)).toContain(`mcm:${ANN}`)
  }, 120_000)

  it('is still in after the hub was killed and came back', async () => {
    await stage.hub.stop('SIGKILL')
    await stage.startHub()
    await expect
      .poll(async () => (await namespaces(stage.person('ann'))).stdout, { timeout: 60_000 })
      .toContain('namespace/default')
  }, 120_000)

  it('whose login ends gets the next one silently, where the provider refreshes', async () => {
    const { person, windows, env } = await withBrowser(stage, 'ann')
    await endLogin(person)
    const result = await namespaces(person)
    expect(result.stdout, result.stderr).toContain('namespace/default')
    expect(await windows()).toBe(0)
    expect(env.BROWSER).toBeDefined()
  }, 120_000)

  it('has a second device by a code, sees both, and ends one that is lost', async () => {
    const ann = stage.person('ann')
    const headless = stage.person('ann-server')
    const login = headless.start([
      'login',
      '--oidc',
      link,
      '--device-code',
      '--device-name',
      'server',
    ])
    const [, uri = ''] = await login.shows(/to log in open (\S+) on any device/)
    await confirmCode(new URL(uri))
    expect(await login.ended).toBe(0)
    const devices = JSON.parse(await ann.must(['devices', '--json'])) as { name: string }[]
    expect(devices.map(({ name }) => name)).toContain('server')
    expect((await namespaces(headless)).stdout).toContain('namespace/default')
    await ann.must(['devices', 'remove', 'server', '--yes'])
    const refused = await namespaces(headless)
    expect(refused.exitCode).not.toBe(0)
    expect((await namespaces(ann)).stdout).toContain('namespace/default')
  }, 180_000)

  it('whom an administrator revokes is out, and no new login brings them back', async () => {
    const { person, env } = await withBrowser(stage, 'ann')
    await alice.must(['revoke', ANN, '--yes'])
    expect((await namespaces(person)).exitCode).not.toBe(0)
    const again = await person.mcm(['login', '--oidc', link], { env })
    expect(again.exitCode).not.toBe(0)
    expect(again.stderr).toContain('revoked')
    const { person: fresh, env: freshEnv } = await withBrowser(stage, 'ann-new-laptop')
    const elsewhere = await fresh.mcm(['login', '--oidc', link], { env: freshEnv })
    expect(elsewhere.exitCode).not.toBe(0)
  }, 180_000)
})

it('a program comes by the token of its CI system, as a bot in no group', async () => {
  const ca = join(stage.directory, 'ci-ca.pem')
  await writeFile(ca, ci.caPem)
  const where = ['--issuer', ci.issuer, '--domain', 'ci.example.com', '--ca', ca]
  const rule = ['--workload', `deploy=sub=${ci.job}`, '--json']
  const [set] = JSON.parse(await alice.must(['oidc', 'set', 'ci', ...where, ...rule])) as [
    { link: string },
  ]
  await alice.must(['grant', 'deploy@ci.example.com', '--role', 'ro', '--cluster', 'prod'])
  const job = stage.person('job')
  const fetchToken = `fetch('${ci.issuer}/mint?aud='+process.env.MCM_AUDIENCE).then(async r=>console.log(await r.text()))`
  const command = `NODE_NO_WARNINGS=1 NODE_EXTRA_CA_CERTS=${ca} "${process.execPath}" -e "${fetchToken}"`
  await job.must(['login', '--oidc', set.link, '--token-command', command])
  expect(JSON.parse(await job.must(['whoami', '--json']))).toMatchObject({
    user: 'deploy@ci.example.com',
    groups: [],
  })
  const result = await namespaces(job, 'static')
  expect(result.stdout, result.stderr).toContain('namespace/default')

  ci.job = 'repo:evil/app:ref:refs/heads/main'
  const stranger = await stage
    .person('stranger')
    .mcm(['login', '--oidc', set.link, '--token-command', command])
  expect(stranger.exitCode).toBe(5)
  expect(stranger.stderr).toContain('no rule fits')
}, 180_000)

it('a program whose token lies in a file has one that names its key, and no other', async () => {
  const ca = join(stage.directory, 'pods-ca.pem')
  await writeFile(ca, ci.caPem)
  ci.job = 'system:serviceaccount:ci:deployer'
  const where = ['--issuer', ci.issuer, '--domain', 'ci.example.com', '--ca', ca]
  const rule = ['--workload', `deployer=sub=${ci.job}`, '--json']
  const [set] = JSON.parse(await alice.must(['oidc', 'set', 'ci', ...where, ...rule])) as [
    { link: string },
  ]
  await alice.must(['grant', 'deployer@ci.example.com', '--role', 'ro', '--cluster', 'prod'])
  const pod = stage.person('pod')
  const file = join(stage.directory, 'projected-token')
  const login = ['login', '--oidc', set.link, '--token-file', file]
  await writeFile(file, await ci.mint('mcm'))
  const first = await pod.mcm(login)
  expect(first.exitCode).not.toBe(0)
  const [audience = ''] = /mcm:[\w-]+:[\w-]+/.exec(first.stderr) ?? []
  await writeFile(file, await ci.mint(audience))
  await pod.must(login)
  const result = await namespaces(pod)
  expect(result.stdout, result.stderr).toContain('namespace/default')

  const thief = await stage.person('pod-thief').mcm(login)
  expect(thief.exitCode).not.toBe(0)
  await endLogin(pod)
  expect((await namespaces(pod)).stdout).toContain('namespace/default')
  await endLogin(pod)
  const inVariable = ['login', '--oidc', set.link, '--token-env', 'POD_TOKEN']
  await pod.must(inVariable, { env: { POD_TOKEN: await ci.mint(audience) } })
}, 180_000)

it('a bot’s static kubeconfig lives as long as it was made for, and no longer than the owner allows', async () => {
  const where = ['--cluster', 'prod', '--role', 'ro']
  const tooLong = await alice.mcm(['bots', 'create', 'nightly', '--for', '30d', ...where])
  expect(tooLong.exitCode).not.toBe(0)
  expect(tooLong.stderr).toContain('the owner of prod allows bots 1d at most')
  const link = (await alice.must(['bots', 'create', 'nightly', '--for', '2h', ...where])).trim()
  const runner = stage.person('runner')
  await runner.must(['login', link])
  const who = JSON.parse(await runner.must(['whoami', '--json']))
  expect(who).toMatchObject({ user: 'nightly', groups: [] })
  const result = await namespaces(runner, 'static')
  expect(result.stdout, result.stderr).toContain('namespace/default')
  const text = await readFile(kubeconfigs.get('runner')!, 'utf8')
  const pem = Buffer.from(/client-certificate-data: (\S+)/.exec(text)![1]!, 'base64')
  const { validFromDate, validToDate } = new X509Certificate(pem)
  // Valid from five minutes before it was made.
  expect(validToDate.getTime() - validFromDate.getTime()).toBe((2 * 60 + 5) * 60_000)

  const elsewhere = (await alice.must(['bots', 'create', 'yearly', '--for', '90d'])).trim()
  await alice.must(['grant', 'yearly', '--role', 'ro', '--cluster', 'prod'])
  const refused = await stage.person('yearly').mcm(['login', elsewhere])
  expect(`${refused.stdout}${refused.stderr}`).toContain('allows bots 1d')
  const group = await alice.mcm(['invite', 'weekly', '--bot', '--group', 'dev'])
  expect(group.exitCode).not.toBe(0)
}, 180_000)

it('the secret of a desktop client becomes public only after somebody has said so, and lets people log in', async () => {
  const ca = join(stage.directory, 'provider-ca.pem')
  const secret = join(stage.directory, 'client-secret')
  await writeFile(secret, 'not a secret\n')
  const where = ['--issuer', provider.issuer, '--domain', 'desktop.example.com', '--ca', ca]
  const people = ['--client-id', 'mcm-desktop', '--client-secret-file', secret, '--json']
  const set = ['oidc', 'set', 'desktop', ...where, ...people]
  const unasked = await alice.mcm(set)
  expect(unasked.exitCode).not.toBe(0)
  expect(`${unasked.stdout}${unasked.stderr}`).toContain('can read this secret')
  const text = await alice.must([...set, '--public-client-secret'])
  expect(text).not.toContain('not a secret')
  const [{ link: desktop }] = JSON.parse(text) as [{ link: string }]
  provider.account = { email: 'dot@desktop.example.com', email_verified: true, groups: [] }
  const { person, env } = await withBrowser(stage, 'dot')
  await person.must(['login', '--oidc', desktop], { env })
  expect(JSON.parse(await person.must(['whoami', '--json'])).user).toBe('dot@desktop.example.com')
}, 120_000)
