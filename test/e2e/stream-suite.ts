/**
 * Streams as people use them: exec, attach, run, port-forward, cp and logs -f with real kubectl through mcm. The
 * same assertions for every cluster in which pods run: a whole node, and the sandbox.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import type { KubernetesVersion } from '../cluster/kubernetes-version.ts'
import { fallsBack } from './every-way.ts'
import { connectLocal, echoThrough, forwardedPorts } from './forwarded-port.ts'
import { type Finished, LongRunning, runProgram } from './program.ts'
import type { Person, Stage } from './stage.ts'
import { streamPods } from './stream-pods.ts'

export type Mode = 'exec' | 'static' | 'proxy'
export type Transport = 'websocket' | 'spdy'

/** A cluster in which pods run, and people who reach it through mcm. */
export interface StreamCluster {
  readonly stage: Stage
  /** May do anything in the cluster. */
  readonly owner: Person
  /** The name it is registered under. */
  readonly name: string
  readonly adminKubeconfig: string
  /** The owner's, of this cluster alone; that of `proxy` has its `mcm proxy` running. */
  readonly kubeconfigs: Readonly<Record<Mode, string>>
  /** Present on every node; its shell is busybox's, or does the same. */
  readonly image: string
  auditEvents(): Promise<
    readonly {
      readonly requestURI: string
      readonly verb: string
      readonly impersonatedUser?: { readonly username: string } | undefined
    }[]
  >
  close(): Promise<void>
}

export interface StreamSuiteOptions {
  readonly title: string
  readonly start: () => Promise<StreamCluster>
  readonly kubectl: readonly KubernetesVersion[]
  /** What is copied and piped in bulk. */
  readonly bulkBytes: number
  /** Skips everything; said loudly by the caller. */
  readonly skip?: boolean
}

/** One mode for each transport through the hub: to kubectl `exec` and `static` differ only in where the key lies. */
const WAYS: readonly { readonly mode: Mode; readonly transport: Transport }[] = [
  { mode: 'static', transport: 'websocket' },
  { mode: 'exec', transport: 'spdy' },
  { mode: 'proxy', transport: 'websocket' },
  { mode: 'proxy', transport: 'spdy' },
]

/** As much as lies on every way between an API server and a client that reads nothing. */
const STALLED_BYTES = 12_000_000

export function transportEnv(transport: Transport): Record<string, string> {
  const wanted = String(transport === 'websocket')
  return { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: wanted, KUBECTL_PORT_FORWARD_WEBSOCKETS: wanted }
}

/** Defines the suite; every combination of kubectl, kubeconfig mode and transport runs all of it. */
export function streamSuite(options: StreamSuiteOptions): void {
  describe.skipIf(options.skip ?? false)(options.title, () => {
    let cluster: StreamCluster
    let scratch: string

    beforeAll(async () => {
      scratch = await mkdtemp(join(tmpdir(), 'mcm-test-streams-'))
      cluster = await options.start()
      await startPods(cluster)
    })

    afterAll(async () => {
      await cluster?.close()
      await rm(scratch, { recursive: true, force: true })
    })

    for (const version of options.kubectl) {
      for (const { mode, transport } of WAYS) {
        describe(`kubectl ${version}, kubeconfig in ${mode} mode, over ${transport}`, () => {
          const env = () => ({
            ...cluster.owner.env,
            ...transportEnv(transport),
            KUBECONFIG: cluster.kubeconfigs[mode],
          })
          const kubectl = async (
            args: readonly string[],
            run: { readonly input?: string; readonly timeoutMs?: number } = {},
          ): Promise<Finished> =>
            runProgram(await kubectlPath(version), args, { ...run, env: env() })
          const inShell = (script: string, input?: string) =>
            input === undefined
              ? kubectl(['exec', 'shell', '--', 'sh', '-c', script])
              : kubectl(['exec', '-i', 'shell', '--', 'sh', '-c', script], { input })
          const start = async (args: readonly string[]) =>
            new LongRunning(await kubectlPath(version), args, env())
          /** A shell of this machine in which `$KUBECTL` is this kubectl, on a terminal of its own. */
          const onTerminal = async (script: string): Promise<Finished> =>
            runProgram('script', ['-qefc', script, '/dev/null'], {
              env: { ...env(), KUBECTL: await kubectlPath(version), SHELL: '/bin/sh' },
              input: '',
            })

          test('exec keeps stdout and stderr apart', async () => {
            expect(await inShell('echo to stdout; echo to stderr >&2')).toEqual({
              stdout: 'to stdout\n',
              stderr: 'to stderr\n',
              exitCode: 0,
            })
          })

          test.each([0, 1, 7, 137, 255])('exec ends with exit code %i', async (code) => {
            const { exitCode, stderr } = await inShell(`exit ${code}`)
            const said = code === 0 ? '' : `command terminated with exit code ${code}\n`
            expect({ exitCode, stderr }).toEqual({ exitCode: code, stderr: said })
          })

          test('a command that is killed ends with 137', async () => {
            expect((await inShell('kill -9 $$')).exitCode).toBe(137)
          })

          test('a command that the shell cannot find ends with 127', async () => {
            const { exitCode, stderr } = await inShell('no-such-command')
            expect(exitCode).toBe(127)
            expect(stderr).toContain('no-such-command: not found')
          })

          test('stdin arrives whole and ends', async () => {
            const input = `${randomBytes(500_000).toString('hex')}\n`
            const { stdout, exitCode } = await inShell('cat', input)
            expect(exitCode).toBe(0)
            expect(stdout === input).toBe(true)
          })

          test('what a command says after its stdin has ended still arrives', async () => {
            const script = 'wc -c; head -c 3000000 /dev/zero | tr "\\000" x'
            const { stdout, exitCode } = await inShell(script, 'x'.repeat(100_000))
            expect(exitCode).toBe(0)
            const [count, ...rest] = stdout.split('\n')
            expect(count!.trim()).toBe('100000')
            expect(rest.join('\n').length).toBe(3_000_000)
          })

          test('a command that does not read its stdin ends when it ends', async () => {
            // With megabytes a kubelet now and then never says that it ended, also without mcm.
            const { exitCode } = await inShell('exit 3', 'x'.repeat(20_000))
            expect(exitCode).toBe(3)
          })

          test('bulk output arrives whole', async () => {
            const script = `yes | head -c ${options.bulkBytes} | tee /dev/stderr | wc -c`
            const sink = join(scratch, `bulk-${version}-${mode}-${transport}`)
            const command = `exec "$KUBECTL" exec shell -- sh -c '${script}' 2> ${sink}`
            const env_ = { ...env(), KUBECTL: await kubectlPath(version) }
            const result = await runProgram('sh', ['-c', command], { env: env_ })
            expect(result.stdout.trim()).toBe(String(options.bulkBytes))
            const { size } = await (await import('node:fs/promises')).stat(sink)
            expect(size).toBe(options.bulkBytes)
          })

          test('a terminal has a size, an echo, and one stream for both outputs', async () => {
            const command =
              'stty rows 33 cols 101; $KUBECTL exec -it shell -- sh -c "sleep 1; stty size; echo err >&2; exit 7"'
            const { stdout, exitCode } = await onTerminal(command)
            expect(exitCode).toBe(7)
            expect(stdout).toContain('33 101\r\n')
            expect(stdout).toContain('err\r\n')
          })

          test('attach shows what the main process says from now on', async () => {
            const attached = await start(['attach', 'ticker'])
            await attached.shows(/tick/)
            await attached.stop()
          })

          test('attach carries what is typed to the main process', async () => {
            const program = await kubectlPath(version)
            const attached = new LongRunning(program, ['attach', '-i', 'talker'], env(), 'pipe')
            attached.child.stdin!.write(`${transport}-${mode}\n`)
            await attached.shows(new RegExp(`heard ${transport}-${mode}`))
            await attached.stop()
          })

          test('run --rm -i gives the input to a new pod, its output back, and its exit code', async () => {
            const name = `once-${mode}-${transport}-${version.replaceAll('.', '-')}`
            const image = [`--image=${cluster.image}`, '--image-pull-policy=Never']
            const script = 'read line; echo "got $line"; exit 3'
            const result = await kubectl(
              ['run', name, '--rm', '-i', '--restart=Never', ...image, '--', 'sh', '-c', script],
              { input: 'this\n' },
            )
            expect(result.stdout).toContain('got this\n')
            expect(result.exitCode).toBe(3)
            expect((await kubectl(['get', 'pod', name])).stderr).toContain('NotFound')
          })

          test('logs -f shows lines as they come', async () => {
            const logs = await start(['logs', '-f', '--tail=1', 'ticker'])
            await logs.shows(/(tick\n[\s\S]*){3}/)
            await logs.stop()
          })

          test('cp carries a file there and back unchanged', async () => {
            const content = randomBytes(options.bulkBytes)
            const [there, back] = ['there', 'back'].map((word) =>
              join(scratch, `${word}-${version}-${mode}-${transport}`),
            )
            await writeFile(there!, content)
            const remote = `shell:/tmp/copied-${mode}-${transport}`
            const up = await kubectl(['cp', there!, remote], { timeoutMs: 120_000 })
            expect(up).toMatchObject({ exitCode: 0 })
            const sum = createHash('sha256').update(content).digest('hex')
            const { stdout } = await inShell(`sha256sum /tmp/copied-${mode}-${transport}`)
            expect(stdout.split(' ')[0]).toBe(sum)
            const down = await kubectl(['cp', remote, back!], { timeoutMs: 120_000 })
            expect(down).toMatchObject({ exitCode: 0 })
            expect(content.equals(await readFile(back!))).toBe(true)
            await inShell(`rm /tmp/copied-${mode}-${transport}`)
          })

          test('port-forward carries two ports and many connections at once', async () => {
            const forward = await start(['port-forward', 'ports', ':7001', ':7002'])
            const [first, second] = await forwardedPorts(forward, [7001, 7002])
            // The `nc` of the pod keeps no queue of those who wait to be accepted.
            const sent = Array.from({ length: 6 }, (_, index) =>
              echoThrough(index % 2 === 0 ? first! : second!, randomBytes(20_000 + index)),
            )
            await Promise.all(sent)
            await forward.stop()
          })

          test('one forwarded connection that is reset does not hurt the others', async () => {
            const forward = await start(['port-forward', 'ports', ':7001'])
            const [port] = await forwardedPorts(forward, [7001])
            const victim = await connectLocal(port!)
            const survivor = await connectLocal(port!)
            await victim.roundTrip(Buffer.from('one'))
            await survivor.roundTrip(Buffer.from('two'))
            victim.reset()
            await survivor.roundTrip(Buffer.from('three'))
            await echoThrough(port!, Buffer.from('four'))
            survivor.reset()
            await forward.stop()
          })

          test('what is wrong is told in the words of the API server', async () => {
            const missing = await kubectl(['exec', 'absent', '--', 'true'])
            expect(missing.stderr).toContain('pods "absent" not found')
            expect(missing.exitCode).toBe(1)
            const container = await kubectl(['exec', 'shell', '-c', 'absent', '--', 'true'])
            expect(container.stderr).toContain('container absent is not valid for pod shell')
            expect(container.exitCode).toBe(1)
          })

          test('the API server audits the person, and the transport that was asked for', async () => {
            const marker = `/${mode}/${transport}/${version}`
            await kubectl(['exec', 'shell', '--', 'echo', marker])
            const events = await cluster.auditEvents()
            const event = events.find(({ requestURI }) =>
              requestURI.includes(encodeURIComponent(marker)),
            )
            const isSocket = transport === 'websocket' && !fallsBack(version, mode)
            const verb = isSocket ? 'get' : 'create'
            expect(event).toMatchObject({ verb, impersonatedUser: { username: 'mcm:alice' } })
          })
        })
      }
    }

    // client-go pings every five seconds, and plain kubectl loses the end of it most times.
    test('whoever reads nothing for twelve seconds still gets everything, on every way at once', async () => {
      const version = options.kubectl[0]!
      const command = `"$KUBECTL" exec shell -- sh -c 'yes | head -c ${STALLED_BYTES}' | { sleep 12; wc -c; }`
      const results = await Promise.all(
        WAYS.map(async ({ mode, transport }) => {
          const { env } = cluster.owner
          const { stdout, ...rest } = await runProgram('bash', ['-o', 'pipefail', '-c', command], {
            env: {
              ...env,
              ...transportEnv(transport),
              KUBECTL: await kubectlPath(version),
              KUBECONFIG: cluster.kubeconfigs[mode],
            },
          })
          return { mode, transport, bytes: Number(stdout), ...rest }
        }),
      )
      const whole = { bytes: STALLED_BYTES, stderr: '', exitCode: 0 }
      expect(results).toEqual(WAYS.map((way) => ({ ...way, ...whole })))
    })

    test.each(['websocket', 'spdy'] as const)(
      'whoever may only read is refused by RBAC, over %s',
      async (transport) => {
        const { stage, owner, name } = cluster
        const grant = ['--cluster', name, '--role', 'ns-ro', '--namespace', 'default']
        const bob = await stage.join(owner, `bob-${transport}`, grant)
        const path = join(scratch, `bob-${transport}`)
        await bob.must(['kubeconfig', '--all', '--output', path])
        const env = { ...bob.env, ...transportEnv(transport), KUBECONFIG: path }
        const program = await kubectlPath(options.kubectl[0]!)
        for (const [args, subresource] of [
          [['exec', 'shell', '--', 'true'], 'exec'],
          [['attach', 'ticker'], 'attach'],
          [['port-forward', 'ports', ':7001'], 'portforward'],
        ] as const) {
          const { stderr, exitCode } = await runProgram(program, args, { env })
          expect(exitCode).toBe(1)
          expect(stderr).toContain(
            `User "mcm:bob-${transport}" cannot create resource "pods/${subresource}" in API group "" in the namespace "default"`,
          )
        }
      },
    )
  })
}

/** Makes the pods of the suite with the administrator's own hand, past mcm. */
export async function startPods({
  adminKubeconfig,
  image,
}: Pick<StreamCluster, 'adminKubeconfig' | 'image'>): Promise<void> {
  const admin = (args: readonly string[], input?: string) =>
    runKubectl('1.36.3', args, {
      kubeconfig: adminKubeconfig,
      ...(input === undefined ? {} : { input }),
      timeoutMs: 120_000,
    })
  const applied = await admin(['apply', '-f', '-'], streamPods(image))
  expect(applied).toMatchObject({ exitCode: 0 })
  const names = ['shell', 'ports', 'ticker', 'talker'].map((name) => `pod/${name}`)
  const ready = await admin(['wait', ...names, '--for=condition=Ready', '--timeout=90s'])
  expect(ready).toMatchObject({ exitCode: 0 })
}
