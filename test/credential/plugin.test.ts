import { X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { execCredential, plainClusterArgument } from '../../src/credential/exec-credential.ts'
import { trustOf } from '../../src/credential/given-cluster.ts'
import { runCredential } from '../../src/credential/plugin.ts'
import { readCertificateFile } from '../../src/device/certificate-file.ts'
import { credentialFor } from '../../src/device/credentials.ts'
import { certificatePath } from '../../src/device/home.ts'
import { kubeconfigFor } from '../../src/device/kubeconfig.ts'
import { rotateAuthorities } from '../../src/device/rotate-authorities.ts'
import { Secret } from '../../src/secret.ts'
import type { FakeAgent } from '../device/fake-agent.ts'
import {
  asAda,
  foundedFleet,
  HOUR,
  registeredCluster,
  removeDevices,
  type TestFleet,
} from '../device/fleet.ts'

let fleet: TestFleet
let agent: FakeAgent
let said: string
let printed: string

beforeEach(async () => {
  fleet = await foundedFleet()
  agent = await registeredCluster(fleet, 'idc-k8s')
  await credentialFor(fleet.ada, agent.id)
  fleet.hub.requests.length = 0
  said = ''
  printed = ''
})

afterEach(async () => {
  await fleet.hub.stop()
  await removeDevices()
})

const streams = {
  stdout: { write: (text: string) => (printed += text) },
  stderr: { write: (text: string) => (said += text) },
}
const environment = () => ({ MCM_HOME: fleet.ada.home.directory, MCM_KEYCHAIN: 'never' })
const run = (...argv: string[]) => runCredential(argv, environment(), streams)

test('a fresh certificate is printed as client.authentication.k8s.io/v1 without any connection', async () => {
  expect(await run('--cluster', agent.id)).toBe(0)
  const credential = JSON.parse(printed)
  expect(credential).toMatchObject({
    apiVersion: 'client.authentication.k8s.io/v1',
    kind: 'ExecCredential',
  })
  const { clientCertificateData, clientKeyData, expirationTimestamp } = credential.status
  const certificate = new X509Certificate(clientCertificateData)
  expect(certificate.subject).toContain('CN=ada')
  expect(clientKeyData).toContain('BEGIN EC PRIVATE KEY')
  expect(new Date(expirationTimestamp) < certificate.validToDate).toBe(true)
  expect(fleet.hub.requests).toEqual([])
  expect(said).toBe('')
})

test('kubectl is told to ask again when renewing is due, and not before the end once that has failed', () => {
  const file = {
    certificate: 'PEM',
    renewAfter: '2026-01-01T08:00:00Z',
    notAfter: '2026-01-01T12:00:00Z',
  }
  const until = (now: string) =>
    JSON.parse(execCredential(file, new Secret('KEY'), new Date(now))).status.expirationTimestamp
  expect(until('2026-01-01T07:00:00Z')).toBe(file.renewAfter)
  expect(until('2026-01-01T09:00:00Z')).toBe(file.notAfter)
})

test('only the exact call of a kubeconfig takes the short way', () => {
  expect(plainClusterArgument(['--cluster', 'c-abcdefghij'])).toBe('c-abcdefghij')
  for (const argv of [
    [],
    ['--cluster'],
    ['--cluster', 'idc-k8s'],
    ['--cluster', 'c-../../etc'],
    ['--cluster=c-abcdefghij'],
    ['--cluster', 'c-abcdefghij', '--help'],
  ])
    expect(plainClusterArgument(argv)).toBeUndefined()
})

test('the short way loads no command framework, no schema library, no certificate library', async () => {
  const graph = await importGraph('src/credential/plugin.ts')
  expect(graph.packages).toEqual([])
  expect(graph.files.length).toBeLessThan(10)
})

/** What is imported statically from a file, packages and our own files, all the way down. */
async function importGraph(entry: string): Promise<{ packages: string[]; files: string[] }> {
  const { build } = await import('esbuild')
  const { metafile } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    metafile: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    outdir: 'unused',
    packages: 'external',
    external: ['./renewal.ts'],
  })
  const inputs = Object.values(metafile.inputs)
  const packages = inputs
    .flatMap(({ imports }) => imports)
    .filter(({ kind, path }) => kind === 'import-statement' && !/^(node:|src\/)/.test(path))
    .map(({ path }) => path)
    .filter((path) => !path.startsWith('.'))
  return { packages: [...new Set(packages)], files: Object.keys(metafile.inputs) }
}

test('a damaged certificate file takes the long way instead of failing', async () => {
  const path = certificatePath(fleet.ada.home, agent.id)
  await writeFile(path, (await readFile(path, 'utf8')).slice(0, 40))
  expect(await run('--cluster', agent.id)).toBe(0)
  expect(JSON.parse(printed).status.clientKeyData).toContain('PRIVATE KEY')
  expect(fleet.hub.requests).toContain(`CONNECT enrol.${agent.id}.clusters.mcm.internal:443`)
})

test('a cluster nobody knows is one sentence on stderr, nothing on stdout, and exit code 3', async () => {
  expect(await run('--cluster', 'c-aaaaaaaaaa')).toBe(3)
  expect(printed).toBe('')
  expect(said).toMatch(/^mcm: no cluster c-aaaaaaaaaa is known to you\ntry: .*\n$/)
})

/** As kubectl calls it for an entry. */
async function runFor(cluster: Readonly<Record<string, unknown>>): Promise<string> {
  said = ''
  const KUBERNETES_EXEC_INFO = JSON.stringify({ spec: { cluster } })
  const env = { ...environment(), KUBERNETES_EXEC_INFO }
  expect(await runCredential(['--cluster', agent.id], env, streams)).toBe(0)
  return said
}

const checked = async () =>
  (await readCertificateFile(certificatePath(fleet.ada.home, agent.id)))!.checked

async function entryOfNow() {
  const self = { command: 'mcm', args: [] }
  const options = { clusters: [], mode: 'exec', self, env: {} } as const
  const [entries] = await asAda(fleet, (session) => kubeconfigFor(session, options))
  return entries!.cluster
}

test('an entry that is good is looked at once, and again when the directory says something else', async () => {
  const entry = await entryOfNow()
  expect(await runFor(entry)).toBe('')
  expect(await checked()).toMatchObject({ trust: trustOf(entry) })
  await asAda(fleet, (session) => rotateAuthorities(session, 'idc-k8s', HOUR))
  expect(await runFor(entry)).toContain('mcm kubeconfig idc-k8s --merge')
  expect(await runFor(entry)).toContain('mcm kubeconfig idc-k8s --merge')
  expect(await runFor(await entryOfNow())).toBe('')
  expect((await checked())!.until).toBeDefined()
})

test('an entry of another cluster or of nobody changes nothing of what is printed', async () => {
  await runFor({ server: 'https://elsewhere' })
  expect(JSON.parse(printed).kind).toBe('ExecCredential')
})
