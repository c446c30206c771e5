/** What streams of a program made with a client library do, to pods of the sandbox and to real ones (test/clients). */
import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { connectLocal, echoThrough } from './forwarded-port.ts'
import { LongRunning, runForBytes } from './program.ts'
import type { McmWay, Ways } from './ways.ts'

export interface ClientStreamsOptions {
  /** The program. */
  path(): Promise<string>
  /** Of streams, as it names them. */
  readonly transports: readonly string[]
  readonly way: McmWay
  ways(): Ways
  /** Of a cluster with the pods of the stream suite. */
  readonly context: string
  auditEvents(): Promise<
    readonly {
      readonly verb: string
      readonly requestURI: string
      readonly impersonatedUser?: { readonly username: string } | undefined
    }[]
  >
}

export function clientStreams(options: ClientStreamsOptions): void {
  const { path, ways, way, context } = options
  describe.each(options.transports)('over %s', (transport) => {
    const words = (...rest: string[]) => ['-context', context, '-transport', transport, ...rest]
    const inShell = async (script: string, input?: Uint8Array) => {
      const command = words('exec', 'shell', '--', 'sh', '-c', script)
      return runForBytes(await path(), command, {
        env: ways().env(way),
        ...(input ? { input } : {}),
      })
    }

    test('exec keeps both outputs apart and ends with the exit code of the command', async () => {
      const { stdout, ...rest } = await inShell('echo to stdout; echo to stderr >&2; exit 7')
      expect({ ...rest, stdout: stdout.toString() }).toEqual({
        stdout: 'to stdout\n',
        stderr: 'to stderr\n',
        exitCode: 7,
      })
      expect((await inShell('true')).exitCode).toBe(0)
    })

    test('exec is asked for over that transport and no other', async () => {
      const marker = `asked-${way}-${transport}-${randomBytes(4).toString('hex')}`
      await inShell(`: ${marker}`)
      const asked = (await options.auditEvents()).filter(({ requestURI }) =>
        requestURI.includes(marker),
      )
      const by = new Set(asked.map((event) => `${event.verb} ${event.impersonatedUser?.username}`))
      const verb = transport === 'websocket' ? 'get' : 'create'
      expect([...by]).toEqual([`${verb} mcm:alice`])
    })

    test('exec carries a megabyte there and back, and the end of stdin', async () => {
      const bytes = randomBytes(1_000_000)
      const { stdout, exitCode } = await inShell('cat', bytes)
      expect(exitCode).toBe(0)
      expect(digest(stdout)).toBe(digest(bytes))
    })

    test('exec into a pod that is not there is refused in the words of the API server', async () => {
      const command = words('exec', 'absent', '--', 'true')
      const refused = await runForBytes(await path(), command, { env: ways().env(way) })
      expect(refused.exitCode).toBe(1)
      expect(refused.stderr).toContain('pods "absent" not found')
    })

    test('port-forward carries several connections at once, and a reset hurts its own alone', async () => {
      const command = words('port-forward', 'ports', '7001')
      const forward = new LongRunning(await path(), command, ways().env(way))
      const port = Number((await forward.shows(/^forwarding (\d+)$/m))[1])
      const survivor = await connectLocal(port)
      const victim = await connectLocal(port)
      await survivor.roundTrip(Buffer.from('one'))
      await victim.roundTrip(Buffer.from('two'))
      victim.reset()
      await survivor.roundTrip(randomBytes(200_000))
      await Promise.all([1, 2, 3].map((each) => echoThrough(port, randomBytes(20_000 + each))))
      survivor.reset()
      await forward.stop()
    })
  })
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
