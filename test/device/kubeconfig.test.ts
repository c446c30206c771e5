import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { withFleet } from '../../src/device/fleet-session.ts'
import { kubeconfigFor } from '../../src/device/kubeconfig.ts'
import { localProxy } from '../../src/device/local-proxy.ts'
import { mergeEntries } from '../../src/kubeconfig/merge.ts'
import type { FakeAgent } from './fake-agent.ts'
import { DAY, joinedDevice, registeredCluster, type TestFleet } from './fleet.ts'
import { eachWithCluster } from './scene.ts'

let fleet: TestFleet
let agent: FakeAgent

eachWithCluster((founded, registered) => {
  fleet = founded
  agent = registered
})

const options = {
  clusters: [] as string[],
  self: { command: '/usr/bin/node', args: ['/opt/mcm/bin/run.js'] },
  env: { MCM_HOME: '/home/ada/.mcm' },
}
const entries = (mode: 'exec' | 'proxy' | 'static', more: { namespace?: string } = {}) =>
  withFleet(fleet.ada, (session) => kubeconfigFor(session, { ...options, mode, ...more }))
const certificatesIn = (data: unknown) =>
  Buffer.from(String(data), 'base64')
    .toString()
    .match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)!
    .map((pem) => new X509Certificate(pem))

test('the bundle holds exactly the hub’s leaf and the server CA that the directory proves', async () => {
  const [entry] = await entries('exec')
  const bundle = certificatesIn(entry?.cluster['certificate-authority-data'])
  expect(bundle.map(({ raw }) => raw.toString('hex'))).toEqual([
    fleet.hub.certificateDer.toString('hex'),
    agent.serverCa.certificateDer.toString('hex'),
  ])
  expect(bundle[0]?.ca).toBe(false)
})

test('exec mode calls this very mcm, by absolute paths and with its home', async () => {
  const [entry] = await entries('exec', { namespace: 'test' })
  expect(entry?.user['exec']).toMatchObject({
    command: '/usr/bin/node',
    args: ['/opt/mcm/bin/run.js', 'credential', '--cluster', agent.id],
    env: [{ name: 'MCM_HOME', value: '/home/ada/.mcm' }],
  })
  expect(entry?.context['namespace']).toBe('test')
})

test('static mode holds the certificate and its key', async () => {
  const [entry] = await entries('static')
  const [certificate] = certificatesIn(entry?.user['client-certificate-data'])
  expect(certificate?.subject).toContain('CN=ada')
  expect(Buffer.from(String(entry?.user['client-key-data']), 'base64').toString()).toContain(
    'BEGIN EC PRIVATE KEY',
  )
})

test('proxy mode names the local endpoint, its CA and a key that opens nothing else', async () => {
  const [entry] = await entries('proxy')
  const { port, caPem } = await localProxy(fleet.ada)
  expect(entry?.cluster['server']).toBe(`https://127.0.0.1:${port}/${agent.id}`)
  const [ca] = certificatesIn(entry?.cluster['certificate-authority-data'])
  expect(ca?.raw.equals(new X509Certificate(caPem).raw)).toBe(true)
  const [client] = certificatesIn(entry?.user['client-certificate-data'])
  expect(client?.verify(ca!.publicKey)).toBe(true)
  expect(client?.verify(new X509Certificate(agent.userCa.certificatePem).publicKey)).toBe(false)
})

test('the local proxy keeps port, CA and keys, and nowhere the key of its CA', async () => {
  const first = await localProxy(fleet.ada)
  const second = await localProxy(fleet.ada)
  expect(second.port).toBe(first.port)
  expect(second.caPem).toBe(first.caPem)
  expect((await stat(fleet.ada.home.localProxy)).mode & 0o777).toBe(0o600)
  const caKey = new X509Certificate(first.caPem).publicKey
  for (const pem of [first.server, first.client])
    expect(new X509Certificate(pem.certPem).publicKey.equals(caKey)).toBe(false)
  expect(await readFile(fleet.ada.home.localProxy, 'utf8')).not.toContain('PRIVATE KEY')
})

test('near its end the local proxy is made anew, and the person is told what to do', async () => {
  const first = await localProxy(fleet.ada)
  fleet.world.advance(380 * DAY)
  const second = await localProxy(fleet.ada)
  expect(second.caPem).not.toBe(first.caPem)
  expect(second.port).toBe(first.port)
  expect(fleet.ada.said.join()).toContain('mcm kubeconfig --all --mode proxy --merge')
})

test('without a name there is an entry for each cluster one may reach, and for no other', async () => {
  await registeredCluster(fleet, 'edge')
  expect((await entries('exec')).map(({ name }) => name)).toEqual(['mcm-edge', 'mcm-idc-k8s'])
  const bob = await joinedDevice(fleet, 'bob')
  expect(
    await withFleet(bob, (session) => kubeconfigFor(session, { ...options, mode: 'exec' })),
  ).toEqual([])
})

test('kubectl reads what is made of it', async () => {
  const kubectl = ['/usr/bin/kubectl', '/usr/local/bin/kubectl'].find(existsSync)
  if (!kubectl) return
  const path = join(fleet.ada.home.directory, 'kubeconfig')
  await writeFile(path, mergeEntries(undefined, await entries('static'), { file: path }))
  const args = ['--kubeconfig', path, 'config', 'view', '--minify', '--raw', '-o', 'json']
  const view = JSON.parse(execFileSync(kubectl, args, { encoding: 'utf8' }))
  expect(view.clusters[0].cluster['proxy-url']).toBe(`https://${fleet.hub.endpoint}`)
})
