import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ApiServer, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { type Possibility, skipLoudly } from '../cluster/possibility.ts'
import type { SuiteCluster } from './kubectl-suite.ts'
import { LongRunning, MCM, runProgram } from './program.ts'
import { startSandboxCluster } from './sandbox-cluster.ts'
import { type Person, Stage } from './stage.ts'
import { Terminal } from './terminal.ts'

/** A terminal is held by `script` of util-linux. */
function terminalPossibility(): Possibility {
  const found = (process.env['PATH'] ?? '')
    .split(':')
    .some((path) => existsSync(join(path, 'script')))
  return found ? { possible: true } : { possible: false, reason: 'there is no program script here' }
}

/** Two sandboxes and a real API server, and one person who uses all of them with real kubectl. */
describe('other programs on many clusters', () => {
  let sandboxes: SuiteCluster[] = []
  let apiServer: ApiServer
  let stage: Stage
  let alice: Person
  let path: string
  let env: Record<string, string | undefined>
  const started: LongRunning[] = []

  beforeAll(async () => {
    ;[apiServer, ...sandboxes] = await Promise.all([
      startApiServer({ version: '1.36.3' }),
      startSandboxCluster(),
      startSandboxCluster(),
    ])
    stage = await Stage.open()
    alice = await stage.found('alice')
    await stage.addCluster(alice, 'ack', apiServer, ['--label', 'env=prod'])
    await stage.addCluster(alice, 'edge-1', sandboxes[0]!, ['--label', 'env=prod'])
    await stage.addCluster(alice, 'edge-2', sandboxes[1]!, ['--label', 'env=test'])
    path = `${dirname(await kubectlPath('1.36.3'))}:${process.env['PATH']}`
  })

  beforeEach(async () => {
    env = { PATH: path, XDG_RUNTIME_DIR: await mkdtemp(join(stage.directory, 'runtime-')) }
  })

  afterEach(async () => {
    await Promise.all(started.splice(0).map((program) => program.stop('SIGKILL')))
  })

  afterAll(async () => {
    await stage?.close()
    await Promise.all([apiServer, ...sandboxes].map((cluster) => cluster?.stop()))
  })

  const mcm = (args: readonly string[], more: Record<string, string> = {}, input?: string) =>
    alice.mcm(args, { env: { ...env, ...more }, ...(input === undefined ? {} : { input }) })
  const leftovers = () => readdir(env['XDG_RUNTIME_DIR']!)
  const json = (text: string) => JSON.parse(text)

  function start(args: readonly string[]): LongRunning {
    const program = new LongRunning(process.execPath, [MCM, ...args], { ...alice.env, ...env })
    started.push(program)
    return program
  }

  /** On a busy machine more takes longer than a second. */
  const withoutProgress = (stderr: string) => stderr.replace(/^.+ …\n|^.+: done\n/gm, '')

  /** One that has ended and waits for its parent to look is not running. */
  async function isRunning(pid: number): Promise<boolean> {
    const { stdout } = await runProgram('ps', ['-o', 'stat=', '-p', String(pid)])
    return /^[^Z]/.test(stdout.trim())
  }

  describe('mcm kubectl', () => {
    test('passes everything behind the cluster on as it stands, and gives back all that comes', async () => {
      const args = ['get', 'pods', '-o', 'json', '-n', 'kube-system', '--v=9']
      const { stdout, stderr, exitCode } = await mcm(['kubectl', '-c', 'ack', ...args])
      expect(exitCode).toBe(0)
      expect(json(stdout)).toMatchObject({ kind: 'List', items: [] })
      expect(stderr).toMatch(
        /verb="GET" url="https:\/\/c-\S+:443\/api\/v1\/namespaces\/kube-system\/pods/,
      )
      expect(await leftovers()).toEqual([])
    })

    test('--help and --json behind the cluster are words for kubectl', async () => {
      const help = await mcm(['kubectl', '-c', 'ack', 'get', '--help'])
      expect(help.stdout).toContain('kubectl get')
      const wrong = await mcm(['kubectl', '--cluster=ack', 'get', 'pods', '--json'])
      expect(wrong.stderr).toContain('unknown flag: --json')
      expect(wrong.exitCode).toBe(1)
    })

    test('stdin reaches it to the last byte, and the exit code is that of kubectl', async () => {
      const big = 'x'.repeat(300_000)
      const object = {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'big' },
        data: { big },
      }
      const created = await mcm(
        ['kubectl', '-c', 'ack', 'create', '-f', '-'],
        {},
        JSON.stringify(object),
      )
      expect(created).toMatchObject({ stdout: 'configmap/big created\n', exitCode: 0 })
      const read = await mcm([
        'kubectl',
        '-c',
        'ack',
        'get',
        'cm',
        'big',
        '-o',
        'jsonpath={.data.big}',
      ])
      expect(read.stdout).toBe(big)
      const missing = await mcm(['kubectl', '-c', 'ack', 'get', 'cm', 'nowhere'])
      expect(missing).toMatchObject({
        stderr: 'Error from server (NotFound): configmaps "nowhere" not found\n',
        exitCode: 1,
      })
    })

    test('through a running mcm proxy no plugin is started, and the answer is the same', async () => {
      const proxy = alice.start(['proxy', '--port', '0'])
      await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
      try {
        const args = ['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}', '--v=6']
        const { stdout, stderr } = await mcm(['kubectl', '-c', 'ack', ...args])
        expect(stdout).toBe('mcm:alice')
        expect(stderr).toMatch(/https:\/\/127\.0\.0\.1:\d+\/c-/)
        const direct = await mcm(['exec', '-c', 'ack', '--mode', 'exec', '--', 'kubectl', ...args])
        expect(direct.stdout).toBe('mcm:alice')
        expect(direct.stderr).not.toContain('127.0.0.1')
      } finally {
        await proxy.stop()
      }
      const gone = await mcm(['exec', '-c', 'ack', '--mode', 'proxy', '--', 'true'])
      expect(gone).toMatchObject({ exitCode: 6 })
      expect(gone.stderr).toContain('mcm: no mcm proxy runs on this machine')
    })
  })

  describe('mcm exec', () => {
    test('gives the program a private kubeconfig with the clusters chosen and nothing else', async () => {
      const script =
        'stat -c %a $KUBECONFIG $(dirname $KUBECONFIG); echo $KUBECONFIG; cat $KUBECONFIG'
      const { stdout } = await mcm(['exec', '-c', 'edge-2', '-c', 'ack', '--', 'sh', '-c', script])
      const [file, directory, path, ...kubeconfig] = stdout.split('\n')
      expect([file, directory]).toEqual(['600', '700'])
      expect(dirname(dirname(path!))).toBe(env['XDG_RUNTIME_DIR'])
      const text = kubeconfig.join('\n')
      expect(text).toContain('name: mcm-ack')
      expect(text).not.toContain('edge-1')
      expect(text).toContain('current-context: mcm-edge-2')
      expect(text).not.toMatch(/PRIVATE KEY|client-key/)
      expect(await leftovers()).toEqual([])
    })

    test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
      '%s goes to the program, which may take its time; then its exit code and no file are left',
      async (signal) => {
        const script = `trap 'echo caught; exit 7' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`
        const program = start(['exec', '-c', 'ack', '--', 'sh', '-c', script])
        await program.shows(/ready/)
        expect(await leftovers()).toHaveLength(1)
        expect(await program.stop(signal)).toBe(7)
        expect(program.stdout).toBe('ready\ncaught\n')
        expect(await leftovers()).toEqual([])
      },
    )

    test('a program that a signal ends takes mcm with it by the same signal', async () => {
      const program = start(['exec', '-c', 'ack', '--', 'sh', '-c', 'kill -TERM $$'])
      await program.ended
      expect(program.child.signalCode).toBe('SIGTERM')
      expect(await leftovers()).toEqual([])
    })

    test.skipIf(skipLoudly('Ctrl-C on a terminal', terminalPossibility()))(
      'Ctrl-C on a terminal reaches the program once, and mcm waits for what it makes of it',
      async () => {
        const script =
          'caught() { count=x$count; echo caught $count; }; trap caught INT; echo ready; until [ "$count" = xx ]; do sleep 0.05; done; echo over; exit 3'
        const args = [MCM, 'exec', '-c', 'ack', '--', 'sh', '-c', script]
        const options = { env: { ...alice.env, ...env }, scratch: stage.directory }
        const terminal = new Terminal(process.execPath, args, options)
        await terminal.shows(/ready/)
        terminal.type('\u0003')
        await terminal.shows(/caught x\r/)
        terminal.type('\u0003')
        await terminal.shows(/caught xx\r\nover/)
        expect(await terminal.ended).toBe(3)
        expect(terminal.text.match(/caught/g)).toHaveLength(2)
        expect(await leftovers()).toEqual([])
      },
    )

    test('a shell has every cluster and none of them is current', async () => {
      const shell = join(stage.directory, 'my-shell')
      await writeFile(
        shell,
        '#!/bin/sh\necho "$MCM_CLUSTERS/$MCM_CLUSTER"; kubectl config get-contexts -o name; exit 5\n',
      )
      await chmod(shell, 0o700)
      const { stdout, stderr, exitCode } = await mcm(['shell'], { SHELL: shell })
      expect(stdout).toBe('ack,edge-1,edge-2/\nmcm-ack\nmcm-edge-1\nmcm-edge-2\n')
      expect(stderr).toContain('none is current')
      expect(exitCode).toBe(5)
    })
  })

  describe('mcm each', () => {
    test('the tables of kubectl get become one', async () => {
      const { stdout, stderr, exitCode } = await mcm([
        'each',
        '--all',
        '--',
        'kubectl',
        'get',
        'ns',
      ])
      expect({ stderr: withoutProgress(stderr), exitCode }).toEqual({ stderr: '', exitCode: 0 })
      const [head, ...rows] = stdout.trimEnd().split('\n')
      expect(head).toMatch(/^CLUSTER +NAME +STATUS +AGE$/)
      for (const cluster of ['ack', 'edge-1', 'edge-2'])
        expect(
          rows.filter((row) => new RegExp(`^${cluster} +default +Active`).test(row)),
        ).toHaveLength(1)
    })

    test('other output stands behind the name of its cluster, line by line', async () => {
      const script = 'echo one; echo "two $MCM_CLUSTER"; echo three >&2'
      const { stdout, stderr } = await mcm(['each', 'edge-*', '--', 'sh', '-c', script])
      expect(stdout.split('\n').sort().join('\n').trim()).toBe(
        'edge-1 | one\nedge-1 | two edge-1\nedge-2 | one\nedge-2 | two edge-2',
      )
      expect(withoutProgress(stderr).split('\n').sort().join('\n').trim()).toBe(
        'edge-1 | three\nedge-2 | three',
      )
    })

    test('with --json it is one document, answers of -o json as objects', async () => {
      const command = ['kubectl', 'get', 'namespace', 'default', '-o', 'json']
      const { stdout, exitCode } = await mcm(['each', 'env=prod', '--json', '--', ...command])
      expect(exitCode).toBe(0)
      expect(json(stdout)).toEqual({
        clusters: ['ack', 'edge-1'].map((name) => ({
          name,
          id: expect.stringMatching(/^c-/),
          outcome: 'succeeded',
          exitCode: 0,
          object: expect.objectContaining({ kind: 'Namespace' }),
          stderr: '',
          durationMs: expect.any(Number),
        })),
      })
    })

    test('some failed is 9, all failed is 10, and each is named with its reason', async () => {
      const script = 'test $MCM_CLUSTER = ack || { echo broken >&2; exit 3; }'
      const some = await mcm(['each', '--all', '--', 'sh', '-c', script])
      expect(some.exitCode).toBe(9)
      expect(some.stderr).toMatch(/^edge-1 \| broken$/m)
      expect(some.stderr).toContain(
        'mcm: 2 of 3 clusters failed\n  edge-1   exit code 3\n  edge-2   exit code 3\n',
      )
      const all = await mcm(['each', 'edge-1,edge-2', '--', 'sh', '-c', script])
      expect(all.exitCode).toBe(10)
      const missing = await mcm(['each', '--all', '--', 'no-such-program'])
      expect(missing.exitCode).toBe(3)
      expect(withoutProgress(missing.stderr)).toMatch(
        /^mcm: there is no program no-such-program in PATH\ntry: /,
      )
      expect(await leftovers()).toEqual([])
    })

    test('a cluster whose agent is gone fails alone', async () => {
      await stage.agents.get('edge-2/a')!.stop('SIGTERM')
      const { stdout, stderr, exitCode } = await mcm([
        'each',
        '--all',
        '--',
        'kubectl',
        'get',
        'ns',
        'default',
      ])
      expect(exitCode).toBe(9)
      expect(stdout).toMatch(/^ack +default/m)
      expect(stdout).toMatch(/^edge-1 +default/m)
      expect(stderr).toMatch(/^edge-2 \| .*no agent of this cluster is connected/m)
      await stage.startAgent('edge-2', sandboxes[1]!)
    })

    test('Ctrl-C ends every program with all it started, and says which did not finish', async () => {
      const script = 'echo $$; sleep 600 & echo $!; wait'
      const program = start(['each', 'edge-*', '--', 'sh', '-c', script])
      await program.shows(/edge-1 \| \d+\n(.*\n)*edge-1 \| \d+/)
      await program.shows(/edge-2 \| \d+\n(.*\n)*edge-2 \| \d+/)
      const found = program.stdout.matchAll(/edge-\d \| (\d+)/g)
      const processes = [...found].map((match) => Number(match[1]))
      expect(processes).toHaveLength(4)
      expect(await program.stop('SIGINT')).toBe(130)
      expect(program.stderr).toContain(
        'mcm: interrupted: 2 of 2 clusters did not finish\n  edge-1   it did not finish\n  edge-2   it did not finish\n',
      )
      for (const pid of processes) await expect.poll(() => isRunning(pid)).toBe(false)
      expect(await leftovers()).toEqual([])
    })

    test('a time limit ends what takes longer', async () => {
      const args = ['each', 'edge-*', '--timeout', '1s', '--', 'sleep', '600']
      const { stderr, exitCode } = await mcm(args)
      expect(exitCode).toBe(10)
      expect(stderr).toContain('  edge-1   no end within 1 s\n  edge-2   no end within 1 s\n')
    })

    test('an output that nobody reads any more ends it, quietly', async () => {
      const command = `${process.execPath} ${MCM} each --all -- sh -c 'while :; do echo line; done' | head -n 3`
      const { stdout, stderr } = await runProgram('bash', ['-c', command], {
        env: { ...alice.env, ...env },
      })
      expect(stdout.trimEnd().split('\n')).toHaveLength(3)
      expect(withoutProgress(stderr)).toBe('')
      await expect.poll(leftovers).toEqual([])
    })
  })
})
