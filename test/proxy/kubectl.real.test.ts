import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { IdentityError } from '../../src/errors.ts'
import { findKubernetesBinaries } from '../cluster/binaries.ts'
import { runKubectl } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { CLUSTER_ID, localTls, type Stage, startStage, TestWorld } from './stage.ts'

const VERSION = { major: '1', minor: '36', gitVersion: 'v1.36.3' }
const RAW = ['get', '--raw', `/${CLUSTER_ID}/version`]
/** Nothing listens there. */
const NOWHERE = 'http://127.0.0.1:9'

async function isPossible(version: '1.36.3' | '1.33.13') {
  const found = await findKubernetesBinaries(version, ['kubectl'], console.warn)
  if (found) return { possible: true } as const
  return {
    possible: false,
    reason: `no kubectl ${version}: run node test/cluster/prepare.ts`,
  } as const
}

describe.each(['1.36.3', '1.33.13'] as const)('kubectl %s and the local proxy', async (version) => {
  const skip = skipLoudly(`kubectl ${version} and the local proxy`, await isPossible(version))

  describe.skipIf(skip)('on this machine', () => {
    let stage: Stage
    let directory: string
    let kubeconfig: string

    beforeAll(async () => {
      stage = await startStage()
      stage.agent.answer = (_request, response) => {
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify(VERSION))
      }
      directory = await mkdtemp(join(tmpdir(), 'mcm-test-kubectl-proxy-'))
      kubeconfig = await writeKubeconfig('config', stage.proxy.address.port)
    })
    afterAll(async () => {
      await stage?.stop()
      if (directory) await rm(directory, { recursive: true, force: true })
    })

    async function writeKubeconfig(name: string, port: number, more = {}): Promise<string> {
      const { local } = stage
      const data = (pem: string) => Buffer.from(pem).toString('base64')
      const cluster = {
        server: `https://127.0.0.1:${port}/${CLUSTER_ID}`,
        'certificate-authority-data': data(local.tls.caPem),
        ...more,
      }
      const user = {
        'client-certificate-data': data(local.certPem),
        'client-key-data': data(local.keyPem),
      }
      const config = {
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'c', cluster }],
        users: [{ name: 'u', user }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
        'current-context': 'x',
      }
      const path = join(directory, name)
      await writeFile(path, JSON.stringify(config), { mode: 0o600 })
      return path
    }

    it('get on as ever, over HTTP/2', async () => {
      const { stdout, exitCode } = await runKubectl(version, RAW, { kubeconfig })
      expect({ ...JSON.parse(stdout), exitCode }).toEqual({ ...VERSION, exitCode: 0 })
    })

    it('pass --as on as it is', async () => {
      const as = ['--as', 'alice', '--as-group', 'a', '--as-group', 'b']
      await runKubectl(version, [...RAW, ...as], { kubeconfig })
      const headers = stage.agent.seen.at(-1)!.headers.filter(([name]) => name.startsWith('imp'))
      // Go writes a header map in any order, but the lines of one name in theirs.
      expect(headers.sort(([left], [right]) => left.localeCompare(right))).toEqual([
        ['impersonate-group', 'a'],
        ['impersonate-group', 'b'],
        ['impersonate-user', 'alice'],
      ])
    })

    it.each([
      ['HTTPS_PROXY', { HTTPS_PROXY: NOWHERE, https_proxy: NOWHERE }],
      ['HTTPS_PROXY and NO_PROXY', { HTTPS_PROXY: NOWHERE, NO_PROXY: 'example.org' }],
      ['ALL_PROXY', { ALL_PROXY: NOWHERE, HTTP_PROXY: NOWHERE }],
    ])('do not care about %s in the environment', async (_, env) => {
      const { exitCode, stderr } = await runKubectl(version, RAW, { kubeconfig, env })
      expect(stderr).toBe('')
      expect(exitCode).toBe(0)
    })

    it.each(['http://127.0.0.1:9', 'socks5://127.0.0.1:9'])(
      'fail with a clear error when somebody put proxy-url %s into the kubeconfig',
      async (url) => {
        const other = await writeKubeconfig('proxied', stage.proxy.address.port, {
          'proxy-url': url,
        })
        const { exitCode, stderr } = await runKubectl(version, RAW, { kubeconfig: other })
        expect(exitCode).not.toBe(0)
        expect(stderr).toMatch(
          /127\.0\.0\.1.* (was refused|connection refused)|connect: connection refused/,
        )
      },
    )

    it('work where credential plugins are forbidden: this way has none', async () => {
      const kuberc = join(directory, 'kuberc')
      const preference = [
        'apiVersion: kubectl.config.k8s.io/v1beta1',
        'kind: Preference',
        'credentialPluginPolicy: DenyAll',
      ]
      await writeFile(kuberc, preference.join('\n'))
      const flag = version === '1.36.3' ? [`--kuberc=${kuberc}`] : []
      const { exitCode, stderr } = await runKubectl(version, [...RAW, ...flag], { kubeconfig })
      expect([exitCode, stderr]).toEqual([0, ''])
    })

    it.each([
      ['cold', []],
      ['get --raw', ['--raw', `/${CLUSTER_ID}/version`]],
    ])('print our sentence when a login is needed (%s)', async (_, raw) => {
      const { ways } = stage
      stage.world.forward(13 * 3_600_000)
      ways.credentialFailure = new IdentityError('MCM_NOT_LOGGED_IN', 'not logged in', {
        hint: 'mcm login',
      })
      const args = ['get', ...(raw.length > 0 ? raw : ['pods'])]
      const { stderr, exitCode } = await runKubectl(version, args, { kubeconfig })
      ways.credentialFailure = undefined
      expect(stderr).toContain('mcm: not logged in; mcm login')
      expect(exitCode).toBe(1)
    })

    it('are told what get --raw leaves out, where it does: until 1.33, the path of the server', async () => {
      const raw = ['get', '--raw', '/version']
      const { stderr, exitCode } = await runKubectl(version, raw, { kubeconfig })
      const told = stderr.includes('kubectl get --raw /c-…/version')
      expect({ exitCode, told }).toEqual(
        version === '1.33.13' ? { exitCode: 1, told: true } : { exitCode: 0, told: false },
      )
    })

    it('tell nothing to another program that sits on the port', async () => {
      const squatter = await localTls(new TestWorld())
      const server = createServer({
        cert: squatter.tls.certPem,
        key: squatter.tls.keyPem.reveal(),
        requestCert: true,
        rejectUnauthorized: false,
      })
      let requests = 0
      server.on('secureConnection', () => {
        requests += 1
      })
      server.on('tlsClientError', () => {})
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      const other = await writeKubeconfig('squatted', port)
      const { stderr } = await runKubectl(version, RAW, { kubeconfig: other })
      server.close()
      expect(stderr).toContain('certificate signed by unknown authority')
      expect(requests).toBe(0)
    })
  })
})
