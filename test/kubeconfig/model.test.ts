import { expect, test } from 'vitest'
import { contextName, kubeconfigEntries } from '../../src/kubeconfig/model.ts'
import { Secret } from '../../src/secret.ts'
import { CA_PEM, entriesOf, HUB_PEM, staticMode } from './fixture.ts'

const decode = (value: unknown) => Buffer.from(String(value), 'base64').toString()

test('the bundle is the hub leaf and the server CA of that cluster, and nothing else', () => {
  const { cluster } = entriesOf()
  expect(decode(cluster['certificate-authority-data'])).toBe(`${HUB_PEM}${CA_PEM}\n`)
  expect(Object.keys(cluster).sort()).toEqual([
    'certificate-authority-data',
    'extensions',
    'proxy-url',
    'server',
  ])
})

test('the server is the cluster host on 443 and the way is the hub', () => {
  expect(entriesOf().cluster).toMatchObject({
    server: 'https://c-aaaaaaaaaa.clusters.mcm.internal:443',
    'proxy-url': 'https://hub.example.com:8443',
  })
})

test('in exec mode no key stands in the file and the plugin never asks a terminal', () => {
  const entries = entriesOf()
  expect(entries.holdsKey).toBe(false)
  expect(entries.user['exec']).toEqual({
    apiVersion: 'client.authentication.k8s.io/v1',
    command: '/usr/bin/node',
    args: ['/opt/mcm/bin/run.js', 'credential', '--cluster', 'c-aaaaaaaaaa'],
    env: [{ name: 'MCM_HOME', value: '/home/a/.mcm' }],
    interactiveMode: 'Never',
    provideClusterInfo: true,
  })
})

test('in static mode certificate and key stand in the file, and it is known to hold a key', () => {
  const entries = entriesOf('idc-k8s', staticMode)
  expect(entries.holdsKey).toBe(true)
  expect(decode(entries.user['client-certificate-data'])).toBe('CERT')
  expect(decode(entries.user['client-key-data'])).toBe('THE-KEY')
})

test('in proxy mode only the local endpoint and its CA are named, never the hub', () => {
  const entries = kubeconfigEntries(
    {
      name: 'edge',
      clusterId: 'c-bbbbbbbbbb',
      serverCaPem: CA_PEM,
      hub: { endpoint: 'hub.example.com:8443', certificatePem: HUB_PEM },
      namespace: 'test',
      mode: {
        kind: 'proxy',
        server: 'https://127.0.0.1:7443/c-bbbbbbbbbb',
        caPem: 'LOCAL-CA',
        certificatePem: 'CERT',
        key: new Secret('KEY'),
      },
    },
    'c-bbbbbbbbbb.clusters.mcm.internal',
  )
  expect(decode(entries.cluster['certificate-authority-data'])).toBe('LOCAL-CA')
  expect(JSON.stringify(entries.cluster)).not.toContain('hub.example.com')
  expect(entries.context).toMatchObject({
    cluster: 'mcm-edge',
    user: 'mcm-edge',
    namespace: 'test',
  })
})

test('entries are named after the cluster', () => {
  expect(contextName('idc-k8s')).toBe('mcm-idc-k8s')
})
