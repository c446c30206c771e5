import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ApiServer } from './api-server.ts'
import { apiServerIsPossible, startApiServer } from './api-server.ts'
import { killAfterFirstLine } from './killed-run.ts'
import { runKubectl } from './kubectl.ts'
import { skipLoudly } from './possibility.ts'
import { runCommand } from './run-command.ts'
import { waitUntil } from './running-process.ts'

for (const version of ['1.36.3', '1.33.13'] as const) {
  const what = `a real API server ${version}`
  const skip = skipLoudly(what, await apiServerIsPossible(version))

  describe.skipIf(skip)(what, () => {
    let server: ApiServer
    beforeAll(async () => {
      server = await startApiServer({ version })
    })
    afterAll(() => server?.stop())

    const kubectl = (...args: string[]) =>
      runKubectl(version, args, { kubeconfig: server.adminKubeconfig })

    const whoIs = async (...credentials: string[]) => {
      const trust = [`--server=${server.url}`, `--certificate-authority=${server.directory}/ca.crt`]
      const args = ['auth', 'whoami', '--output=json', ...trust, ...credentials]
      const said = await runKubectl(version, args, { kubeconfig: '/dev/null' })
      expect(said.stderr).toBe('')
      return JSON.parse(said.stdout).status.userInfo
    }

    test('tells kubectl of the same version its version', async () => {
      const { stdout } = await kubectl('version', '--output=json')
      const said = JSON.parse(stdout)
      expect(said.clientVersion.gitVersion).toBe(`v${version}`)
      expect(said.serverVersion.gitVersion).toBe(`v${version}`)
    })

    test('issues service account tokens that it accepts', async () => {
      await kubectl('create', 'serviceaccount', 'robot')
      const token = await kubectl('create', 'token', 'robot')
      expect(token.stderr).toBe('')
      const user = await whoIs(`--token=${token.stdout.trim()}`)
      expect(user.username).toBe('system:serviceaccount:default:robot')
    })

    test('names in its audit log who asked and as whom', async () => {
      const denied = await kubectl('get', 'secrets', '--as=mcm:alice', '--as-group=mcm:dev')
      expect(denied.exitCode).toBe(1)
      expect(denied.stderr).toContain('User "mcm:alice" cannot list resource "secrets"')
      const events = await server.auditEvents()
      const event = events.find(({ impersonatedUser, objectRef }) => impersonatedUser && objectRef)
      expect(event).toMatchObject({
        verb: 'list',
        user: { username: 'test-admin' },
        impersonatedUser: { username: 'mcm:alice', groups: ['mcm:dev', 'system:authenticated'] },
        responseStatus: { code: 403 },
      })
    })

    test('knows a client certificate it signed by its name and groups', async () => {
      const { certPem, keyPem } = await server.clientCertificate('bob', ['dev'])
      await writeFile(join(server.directory, 'bob.crt'), certPem)
      await writeFile(join(server.directory, 'bob.key'), keyPem)
      const [cert, key] = ['crt', 'key'].map((kind) => join(server.directory, `bob.${kind}`))
      const user = await whoIs(`--client-certificate=${cert}`, `--client-key=${key}`)
      expect(user).toMatchObject({ username: 'bob', groups: ['dev', 'system:authenticated'] })
    })

    test('keeps its address and its data over a restart', async () => {
      await kubectl('create', 'configmap', 'kept')
      await server.restart()
      const found = await kubectl('get', 'configmap', 'kept', '--output=name')
      expect(found).toEqual({ stdout: 'configmap/kept\n', stderr: '', exitCode: 0 })
    })

    test('leaves no process and no folder when stopped, and stopping twice is safe', async () => {
      const other = await startApiServer({ version })
      await other.stop()
      await other.stop()
      expect(await processesOf(other.directory)).toBe('')
      expect((await runCommand('ls', [other.directory])).exitCode).not.toBe(0)
    })
  })
}

describe.skipIf(process.platform !== 'linux' || !(await apiServerIsPossible('1.36.3')).possible)(
  'a run that was killed',
  () => {
    test('takes its API server with it', async () => {
      const directory = await killAfterFirstLine('start-api-server.ts')
      expect(directory).toContain('mcm-test-api-server-')
      const isGone = async () => (await processesOf(directory)) === ''
      await waitUntil('its processes have ended', isGone, { timeoutMs: 5_000 })
      const next = await startApiServer({ version: '1.36.3' })
      await next.stop()
      expect((await runCommand('ls', [directory])).exitCode).not.toBe(0)
    })
  },
)

async function processesOf(directory: string): Promise<string> {
  return (await runCommand('pgrep', ['--full', '--list-full', directory])).stdout
}
