import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { goClientIsPossible, goClientPath } from '../clients/go-programs.ts'
import { skipUnlessRequired } from '../clients/required.ts'
import { apiServerIsPossible } from '../cluster/api-server.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { type ClientsStage, openClientsStage, REAL } from './clients-stage.ts'
import { runProgram } from './program.ts'
import { MCM_WAYS } from './ways.ts'

const skip = skipLoudly('kubectl plugins through mcm', await apiServerIsPossible('1.36.3'))
const skipGo =
  skip || skipUnlessRequired('a plugin made with client-go', await goClientIsPossible('client-go'))

/** As most plugins are: a script around kubectl, which passes its words on. */
const COLOURS = `#!/bin/sh
exec kubectl get configmap paint -o 'jsonpath={.data.colour}' "$@"
`

describe.skipIf(skip)('a plugin of kubectl', () => {
  let clients: ClientsStage
  let path: string

  beforeAll(async () => {
    clients = await openClientsStage()
    await clients.asAdmin(['create', 'configmap', 'paint', '--from-literal=colour=red'])
    const plugins = join(clients.scratch, 'plugins')
    await mkdir(plugins)
    await writeFile(join(plugins, 'kubectl-colours'), COLOURS)
    await chmod(join(plugins, 'kubectl-colours'), 0o755)
    if (!skipGo) await symlink(await goClientPath('client-go'), join(plugins, 'kubectl-go_client'))
    path = `${plugins}:${dirname(await kubectlPath('1.36.3'))}:${process.env['PATH']}`
  })
  afterAll(() => clients?.close())

  const kubectl = async (way: (typeof MCM_WAYS)[number], args: readonly string[]) =>
    runProgram(await kubectlPath('1.36.3'), args, { env: clients.ways.env(way, { PATH: path }) })
  const mcmKubectl = (args: readonly string[]) =>
    clients.alice.mcm(['kubectl', '-c', 'idc-k8s', ...args], { env: { PATH: path } })

  test.each(MCM_WAYS)('that is a script around kubectl works, in %s mode', async (way) => {
    const ran = await kubectl(way, ['colours', '--context', REAL])
    expect(ran).toEqual({ stdout: 'red', stderr: '', exitCode: 0 })
  })

  test('that is a script around kubectl needs no context with mcm kubectl', async () => {
    const ran = await mcmKubectl(['colours'])
    expect(ran).toMatchObject({ stdout: 'red', exitCode: 0 })
    const missing = await mcmKubectl(['colours', '--namespace', 'kube-system'])
    expect(missing.exitCode).toBe(1)
    expect(missing.stderr).toContain('configmaps "paint" not found')
  })

  describe.skipIf(skipGo)('made with client-go', () => {
    test.each(MCM_WAYS)('works, in %s mode', async (way) => {
      const ran = await kubectl(way, ['go-client', '-context', REAL, 'whoami'])
      expect(ran).toEqual({ stdout: 'mcm:alice\n', stderr: '', exitCode: 0 })
    })

    test('needs no context with mcm kubectl', async () => {
      expect(await mcmKubectl(['go-client', 'whoami'])).toMatchObject({
        stdout: 'mcm:alice\n',
        exitCode: 0,
      })
      const wrong = await mcmKubectl(['go-client', 'no-such-word'])
      expect(wrong).toMatchObject({ exitCode: 1 })
    })
  })
})
