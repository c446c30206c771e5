import { Command, type Interfaces } from '@oclif/core'
import type { ChildWorld } from './device/child-clusters.ts'
import type { ChildEnd } from './device/child-process.ts'
import type { Device } from './device/device.ts'
import { type FleetSession, withFleet } from './device/fleet-session.ts'
import { withUpkeep } from './device/upkeep.ts'
import { EXIT_INTERRUPTED } from './errors.ts'
import { leaveAs, leaveSoon, openRuntime, type Runtime } from './runtime.ts'
import { failureOf, renderFailure } from './terminal/failure.ts'
import type { Screen } from './terminal/screen.ts'

export type CommandFlags<T extends typeof Command> = Interfaces.InferredFlags<T['flags']>

/**
 * What every command shares: `--json`, one way to show an object, one way to fail. A command parses,
 * calls one function, and shows its result; stdout is data, stderr is talk.
 */
export abstract class McmCommand extends Command {
  static override enableJsonFlag = true
  protected runtime!: Runtime
  /** How this process ends when nothing is thrown. */
  protected end: ChildEnd = { exitCode: 0, signal: null }

  override async init(): Promise<void> {
    await super.init()
    this.runtime = openRuntime()
  }

  /** Shows an object: the renderer's text, or with --json the object itself, which `run` has to return. */
  protected show<T>(object: T, render: (object: T, screen: Screen) => string): T {
    if (!this.jsonEnabled()) this.runtime.screen.print(render(object, this.runtime.screen))
    return object
  }

  /** Shows at once what a program that runs long has to say; with --json as one line on stdout. */
  protected announce<T>(object: T, render: (object: T, screen: Screen) => string): void {
    this.show(object, render)
    if (this.jsonEnabled()) process.stdout.write(`${JSON.stringify(object)}\n`)
  }

  /** A sentence to the person; never data. */
  protected say(text: string): void {
    this.runtime.screen.say(text)
  }

  protected async device(
    options: { keychain?: 'auto' | 'never' | 'require' } = {},
  ): Promise<Device> {
    return this.runtime.openDevice({ quiet: this.jsonEnabled(), ...options })
  }

  /** What programs that this command starts get of this process. */
  protected childWorld(): ChildWorld {
    const { env, self, selfEnv, runtimeDirectories, atExit } = this.runtime
    return { env, self, selfEnv, runtimeDirectories, atExit }
  }

  /** Runs `work` on a connection to the hub as this device. */
  protected async fleet<T>(work: (session: FleetSession) => Promise<T>): Promise<T> {
    return withFleet(await this.device(), (session) => withUpkeep(session, work))
  }

  override async catch(error: Error): Promise<void> {
    const command = `${this.config.bin} ${(this.id ?? '').replaceAll(':', ' ')}`.trim()
    const isInterrupted = this.runtime?.signal.aborted ?? false
    const failure = failureOf(error, { command, version: this.config.version, isInterrupted })
    if (this.jsonEnabled()) this.logJson({ error: failure })
    else process.stderr.write(renderFailure(failure, error))
    leaveSoon(failure.exitCode)
  }

  override async finally(error: Error | undefined): Promise<void> {
    await super.finally(error)
    if (error) return
    if (this.runtime?.wasInterrupted()) leaveSoon(EXIT_INTERRUPTED)
    else leaveAs(this.end)
  }

  /** oclif would colour it. */
  override logJson(json: unknown): void {
    process.stdout.write(`${JSON.stringify(json, null, 2)}\n`)
  }
}
