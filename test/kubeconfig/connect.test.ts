import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { connectionFromKubeconfig } from '../../src/kubeconfig/connect.ts'
import { files } from './fixture.ts'

let home: string

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'mcm-connect-'))
})

const base64 = (text: string) => Buffer.from(text).toString('base64')

async function kubeconfig(user: object, cluster: object = {}, name = 'config'): Promise<string> {
  const path = join(home, name)
  const text = stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': name,
    clusters: [{ name: 'k', cluster: { server: 'https://10.0.0.1:6443', ...cluster } }],
    users: [{ name: 'u', user }],
    contexts: [{ name, context: { cluster: 'k', user: 'u', namespace: 'team' } }],
  })
  await writeFile(path, text)
  return path
}

const connect = (path: string, context?: string) =>
  connectionFromKubeconfig(
    { path, homeDirectory: home, proxyFor: () => undefined, ...(context ? { context } : {}) },
    files,
  )

test('certificates inside the file and beside it are read, relative to the file', async () => {
  await writeFile(join(home, 'key.pem'), 'KEY')
  const path = await kubeconfig(
    { 'client-certificate-data': base64('CERT'), 'client-key': 'key.pem' },
    { 'certificate-authority-data': base64('CA'), 'tls-server-name': 'kubernetes' },
  )
  const connection = await connect(path)
  expect(connection).toMatchObject({
    scheme: 'https',
    host: '10.0.0.1',
    port: 6443,
    basePath: '',
    caPem: 'CA',
    clientCertPem: 'CERT',
    tlsServerName: 'kubernetes',
    insecureSkipTlsVerify: false,
    namespace: 'team',
  })
  expect(connection.clientKeyPem?.reveal()).toBe('KEY')
  expect(JSON.stringify(connection)).not.toContain('KEY"')
})

test.each([
  ['https://[fd00::1]:6443/', 'fd00::1', 6443, ''],
  [
    'https://rancher.example.com/k8s/clusters/c-1/',
    'rancher.example.com',
    443,
    '/k8s/clusters/c-1',
  ],
  ['http://127.0.0.1:8001', '127.0.0.1', 8001, ''],
  ['10.1.2.3:6443', '10.1.2.3', 6443, ''],
])('the server %s is taken apart', async (server, host, port, basePath) => {
  expect(await connect(await kubeconfig({}, { server }))).toMatchObject({ host, port, basePath })
})

test('a token file is read again each time, a token is taken as it is', async () => {
  await writeFile(join(home, 'token'), 'one\n')
  const rotating = await connect(await kubeconfig({ tokenFile: 'token', token: 'older' }))
  expect((await rotating.authorization())?.reveal()).toBe('Bearer one')
  await writeFile(join(home, 'token'), 'two\n')
  expect((await rotating.authorization())?.reveal()).toBe('Bearer two')
  const fixed = await connect(await kubeconfig({ token: 'abc' }))
  expect((await fixed.authorization())?.reveal()).toBe('Bearer abc')
})

test('a user with nothing sends no Authorization header', async () => {
  expect(await (await connect(await kubeconfig({}))).authorization()).toBeUndefined()
})

test('an exec plugin gives a token, or a certificate and key', async () => {
  const plugin = (status: object) => ({
    exec: {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: process.execPath,
      args: ['--print', JSON.stringify(JSON.stringify({ status }))],
      interactiveMode: 'Never',
    },
  })
  const byToken = await connect(await kubeconfig(plugin({ token: 'from-plugin' })))
  expect((await byToken.authorization())?.reveal()).toBe('Bearer from-plugin')
  const pair = { clientCertificateData: 'CERT', clientKeyData: 'KEY' }
  const byCertificate = await connect(await kubeconfig(plugin(pair)))
  expect(byCertificate.clientCertPem).toBe('CERT')
  expect(byCertificate.clientKeyPem?.reveal()).toBe('KEY')
})

test('a plugin that fails is an identity error with its own words', async () => {
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: process.execPath,
    args: ['--eval', 'console.error("session expired"); process.exit(3)'],
    interactiveMode: 'Never',
  }
  const error = await connect(await kubeconfig({ exec })).catch((e) => e)
  expect(error).toMatchObject({ exitCode: 4 })
  expect(error.message).toContain('session expired')
})

test('of several files the first to define a name wins, and the context may be in any', async () => {
  const first = await kubeconfig({ token: 'first' }, {}, 'one')
  const second = await kubeconfig({ token: 'second' }, { server: 'https://other' }, 'two')
  const connection = await connectionFromKubeconfig(
    {
      kubeconfig: [first, second].join(delimiter),
      homeDirectory: home,
      context: 'two',
      proxyFor: () => undefined,
    },
    files,
  )
  expect(connection.host).toBe('10.0.0.1')
  expect((await connection.authorization())?.reveal()).toBe('Bearer first')
})

test('an unknown context is not found, and the known ones are named', async () => {
  const error = await connect(await kubeconfig({}), 'nope').catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_CONTEXT_UNKNOWN', exitCode: 3 })
  expect(error.hint).toContain('config')
})

test('no file at all is said', async () => {
  await expect(connect(join(home, 'none'))).rejects.toMatchObject({
    code: 'MCM_BAD_FILE',
    exitCode: 2,
    message: `${join(home, 'none')}: no such file`,
  })
})

test('a context that impersonates is refused, never followed with more power', async () => {
  const error = await connect(await kubeconfig({ token: 'x', as: 'viewer' })).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_BAD_FILE' })
  expect(error.message).toContain('as')
})

test('a missing certificate file is named', async () => {
  const path = await kubeconfig({}, { 'certificate-authority': 'gone.pem' })
  const error = await connect(path).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_BAD_FILE' })
  expect(error.message).toContain(join(home, 'gone.pem'))
})

test('the proxy of the file wins over that of the environment', async () => {
  const options = { homeDirectory: home, proxyFor: () => 'http://env:3128' }
  const plain = await kubeconfig({})
  expect((await connectionFromKubeconfig({ path: plain, ...options }, files)).proxyUrl).toBe(
    'http://env:3128',
  )
  const own = await kubeconfig({}, { 'proxy-url': 'http://own:3128' })
  expect((await connectionFromKubeconfig({ path: own, ...options }, files)).proxyUrl).toBe(
    'http://own:3128',
  )
})
