import { spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { withFleet } from '../../src/device/fleet-session.ts'
import { createInvite } from '../../src/device/invite.ts'
import { login } from '../../src/device/login.ts'
import { FakeHub } from '../device/fake-hub.ts'
import {
  DAY,
  deviceAt,
  loginOptions,
  MovableWorld,
  registeredCluster,
  type TestFleet,
} from '../device/fleet.ts'
import { words } from './session.ts'

/** Where a session plays: a hub, homes of people, and what the test prepares behind their backs. */
export class Stage {
  readonly directory: string
  readonly hub: FakeHub
  readonly #world: MovableWorld
  readonly #program: string
  readonly #servers: Server[] = []
  readonly #env: Record<string, string> = {}
  readonly #variables = new Map<string, string>()
  #home: string

  private constructor(directory: string, hub: FakeHub, world: MovableWorld, program: string) {
    this.#program = program
    this.directory = directory
    this.hub = hub
    this.#world = world
    this.#home = join(directory, 'ada')
    this.#variables.set('STARTLINK', hub.startLink)
  }

  /** `program` is what a session calls mcm. */
  static async open(program: string): Promise<Stage> {
    const world = new MovableWorld()
    const directory = await mkdtemp(join(tmpdir(), 'mcm-session-'))
    return new Stage(directory, await FakeHub.start(world), world, program)
  }

  async close(): Promise<void> {
    await this.hub.stop()
    for (const server of this.#servers) server.close()
    await rm(this.directory, { recursive: true, force: true })
  }

  /** One line of a session that begins with %. */
  async prepare([scene, ...rest]: readonly string[]): Promise<void> {
    const text = rest.join(' ')
    switch (scene) {
      case 'founded':
        await login(await this.#device('ada'), loginOptions(this.hub.startLink, 'ada'))
        return
      case 'cluster':
        return this.#register(rest[0]!, rest.slice(1))
      case 'owner-issued-cluster':
        await registeredCluster(await this.#fleet(), rest[0]!, 'local')
        return
      case 'invite':
        return this.#invite(rest[0]!, 0)
      case 'expired-invite':
        return this.#invite(rest[0]!, 2 * DAY)
      case 'person':
        this.#home = join(this.directory, text)
        return
      case 'env':
        this.#env[text.split('=')[0]!] = this.#expand(text.slice(text.indexOf('=') + 1))
        return
      case 'file':
        return this.#write(rest[0]!, rest.slice(1).join(' '))
      case 'program':
        await this.#write(rest[0]!, `#!/bin/sh\n${rest.slice(1).join(' ')}\n`)
        return chmod(join(this.directory, rest[0]!), 0o700)
      case 'hub-is-minutes-behind':
        this.hub.skewMs = -Number(text) * 60_000
        return
      case 'hub-is-down':
        return this.hub.stop()
      case 'port-taken':
        return this.#takePort()
      case 'wrong-pin':
        this.#variables.set(
          'LINK',
          this.#expand('$LINK').replace(/pin=[^&]+/, `pin=${'A'.repeat(43)}`),
        )
        return
      default:
        throw new Error(`no scene ${scene}`)
    }
  }

  /** Runs a command of the session; gives its answer with everything accidental named. */
  async run(command: string): Promise<{ stdout: string; stderr: string; exitCode: number | null }> {
    const [program, ...args] = words(command).map((word) => this.#expand(word))
    if (program !== 'mcm') throw new Error(`a session types mcm, not ${program}`)
    const child = spawn(process.execPath, [this.#program, ...args], {
      cwd: this.directory,
      env: this.#environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const [stdout, stderr, exitCode] = await Promise.all([
      collect(child.stdout),
      collect(child.stderr),
      new Promise<number | null>((resolve) => child.on('exit', resolve)),
    ])
    return { stdout: this.#name(stdout), stderr: this.#name(withoutProgress(stderr)), exitCode }
  }

  #environment(): NodeJS.ProcessEnv {
    return {
      PATH: process.env['PATH'],
      HOME: this.directory,
      MCM_HOME: this.#home,
      MCM_KEYCHAIN: 'never',
      NODE_ENV: 'production',
      // A machine without any keychain, whatever this one has.
      DBUS_SESSION_BUS_ADDRESS: `unix:path=${join(this.directory, 'no-bus')}`,
      ...this.#env,
    }
  }

  async #fleet(): Promise<TestFleet> {
    return { world: this.#world, hub: this.hub, ada: await this.#device('ada') }
  }

  #device(name: string) {
    return deviceAt(join(this.directory, name), this.#world)
  }

  /** Labels as NAME=VALUE. */
  async #register(name: string, labels: readonly string[]): Promise<void> {
    const pairs = labels.map((label) => label.split('=') as [string, string])
    await registeredCluster(await this.#fleet(), name, undefined, Object.fromEntries(pairs))
  }

  /** Made so long ago. */
  async #invite(user: string, agoMs: number): Promise<void> {
    this.#world.advance(-agoMs)
    const options = { user, expiresInMs: DAY, bot: false }
    const ada = await this.#device('ada')
    const { link } = await withFleet(ada, (session) => createInvite(session, options))
    this.#world.advance(agoMs)
    this.#variables.set('LINK', link.reveal())
  }

  async #write(path: string, text: string): Promise<void> {
    const full = join(this.directory, path)
    await mkdir(dirname(full), { recursive: true })
    await writeFile(full, text)
  }

  async #takePort(): Promise<void> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    this.#servers.push(server)
    this.#variables.set('PORT', String((server.address() as AddressInfo).port))
  }

  #expand(word: string): string {
    return word
      .replace('$DIR', this.directory)
      .replace(/\$([A-Z]+)/g, (all, name) => this.#variables.get(name) ?? all)
  }

  #name(text: string): string {
    const port = this.#variables.get('PORT')
    const named = text
      .replaceAll(this.directory, '<dir>')
      .replaceAll(this.hub.endpoint, '<hub>')
      .replaceAll(this.hub.pin, '<pin>')
      .replaceAll(this.hub.directory.fleet ?? '<no fleet>', '<fleet>')
      .replace(/secret=[\w-]+/g, 'secret=<secret>')
      .replace(/\bc-[a-z2-7]{10}\b/g, '<cluster id>')
      .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, '<time>')
      // Not \b: base64url may begin or end with a hyphen.
      .replace(/(?<![\w-])[\w-]{43}(?![\w-])/g, '<hash>')
      .replace(/\bkey [\w-]{8}(?=,| )/g, 'key <key>')
      .replace(/\(([\w-]{8})\)/g, '(<key>)')
      .replace(/"durationMs": \d+/g, '"durationMs": <ms>')
      .replace(/does not answer: .+/g, 'does not answer: <why>')
    return port === undefined ? named : named.replaceAll(port, '<port>')
  }
}

/** Whether something takes longer than a second is a matter of the machine. */
function withoutProgress(stderr: string): string {
  return stderr.replace(/^.+ …\n|^.+: done\n/gm, '')
}

async function collect(stream: NodeJS.ReadableStream): Promise<string> {
  let text = ''
  for await (const chunk of stream) text += chunk
  return text
}
