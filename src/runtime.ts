import { randomBytes } from 'node:crypto'
import { constants, homedir, hostname, networkInterfaces, tmpdir, userInfo } from 'node:os'
import { resolve } from 'node:path'
import { isatty } from 'node:tty'
import type { ChildEnd } from './device/child-process.ts'
import type { Device } from './device/device.ts'
import { type Home, homeAt, homeDirectoryOf, keychainService } from './device/home.ts'
import { lineRunner } from './device/run-line.ts'
import { readState } from './device/state.ts'
import { UsageError } from './errors.ts'
import type { KubeconfigFiles, KubeconfigLocation } from './kubeconfig/file.ts'
import { proxyFromEnvironment } from './proxy-environment.ts'
import { readTextIfAny, resolveLinks, withFileLock, writeFileAtomic } from './store/files.ts'
import { type KeychainChoice, openSecretStore, type SecretStore } from './store/secrets.ts'
import { browserOpener } from './terminal/browser.ts'
import { openProgress } from './terminal/progress.ts'
import { openScreen, type Screen } from './terminal/screen.ts'
import type { Log, World } from './world.ts'

/**
 * The real world, gathered in one place and handed to everything else: clock, randomness, environment,
 * streams, signals, keychain, log. Invariant: nothing below this file looks at the process itself.
 */

type Environment = Readonly<Record<string, string | undefined>>

export interface Runtime {
  readonly world: World
  readonly screen: Screen
  readonly env: Environment
  readonly home: Home
  readonly homeDirectory: string
  /** Aborted by the first Ctrl-C or SIGTERM; a second one ends the process. */
  readonly signal: AbortSignal
  readonly stdin: NodeJS.ReadableStream
  /** How another program starts this very mcm. */
  readonly self: { readonly command: string; readonly args: readonly string[] }
  /** What must be in that program's environment for it to be the same mcm. */
  readonly selfEnv: Readonly<Record<string, string>>
  /** What listens on every address of this machine. */
  readonly anyAddress: '::' | '0.0.0.0'
  readonly userName: string
  readonly hostName: string
  readonly kubeconfigFiles: KubeconfigFiles
  readonly wasInterrupted: () => boolean
  /** How long the end may take after the first signal: programs with connections need more than a command. */
  readonly allowEndMs: (ms: number) => void
  /** Signals no longer end this process: whoever takes them passes them on. */
  readonly takeSignals: (take: (signal: NodeJS.Signals) => void) => void
  /** Whether this process and what it starts hang on one terminal, whose Ctrl-C reaches both. */
  readonly sharesTerminal: boolean
  /** Runs `work` when this process ends, however it comes to that; short of SIGKILL. */
  atExit(work: () => void): void
  /** Where private files go that end with this process, the best first. */
  readonly runtimeDirectories: readonly string[]
  kubeconfigLocation(path?: string): KubeconfigLocation
  proxyFor(target: URL): string | undefined
  /** `choice` counts until a login has chosen. @throws StateError MCM_KEYCHAIN_UNAVAILABLE */
  openSecrets(choice?: KeychainChoice): Promise<SecretStore>
  openDevice(options: { quiet: boolean; keychain?: KeychainChoice }): Promise<Device>
  /** JSON lines on stderr, or in a file. */
  openLog(path?: string): Promise<Log>
  /** What this process was started with, as far as it can weaken it. */
  readonly nodeFacts: {
    readonly nodeVersion: string
    readonly nodeArguments: readonly string[]
    readonly tlsRejectUnauthorized: string | undefined
  }
}

/** @throws UsageError MCM_UNSUPPORTED_RUNTIME MCM_USAGE */
export function openRuntime(env: Environment = process.env): Runtime {
  requireSafeRuntime(env, process.execArgv)
  endWithoutReader()
  const screen = openScreen(process, env)
  const world = realWorld()
  const { signal, wasInterrupted, allowEndMs, takeSignals } = watchSignals()
  const directory = homeDirectoryOf(env, homedir())
  const home = homeAt(directory)
  const proxyFor = (target: URL) => proxyFromEnvironment(env, target)
  const openBrowser = browserOpener(env, process.platform)
  const openSecrets = (choice?: KeychainChoice) => openSecretsOf(home, env, screen, choice)
  return {
    world,
    screen,
    env,
    home,
    homeDirectory: homedir(),
    signal,
    wasInterrupted,
    allowEndMs,
    takeSignals,
    sharesTerminal: [0, 1, 2].some((descriptor) => isatty(descriptor)),
    atExit: (work) => void process.on('exit', work),
    runtimeDirectories: [env['XDG_RUNTIME_DIR'] ?? '', tmpdir()].filter((path) => path !== ''),
    stdin: process.stdin,
    self: { command: process.execPath, args: [resolve(process.argv[1] ?? 'mcm')] },
    selfEnv: env['MCM_HOME'] ? { MCM_HOME: directory } : {},
    anyAddress: hasIpv6() ? '::' : '0.0.0.0',
    userName: userInfo().username,
    hostName: hostname(),
    kubeconfigFiles: { readTextIfAny, writeFileAtomic, withFileLock, resolveLinks },
    kubeconfigLocation: (path) => ({
      homeDirectory: homedir(),
      ...(env['KUBECONFIG'] ? { kubeconfig: env['KUBECONFIG'] } : {}),
      ...(path === undefined ? {} : { path }),
    }),
    proxyFor,
    openSecrets,
    openDevice: async ({ quiet, keychain }) => ({
      world,
      home,
      secrets: await openSecrets(keychain),
      progress: openProgress(screen, { quiet }),
      signal,
      proxyFor,
      ...(openBrowser ? { openBrowser } : {}),
      runCommand: lineRunner(env, signal, (chunk) => void screen.talk.write(chunk)),
    }),
    openLog,
    nodeFacts: {
      nodeVersion: process.version,
      nodeArguments: [...process.execArgv, ...(env['NODE_OPTIONS'] ?? '').split(/\s+/)],
      tlsRejectUnauthorized: env['NODE_TLS_REJECT_UNAUTHORIZED'],
    },
  }
}

/** Clock and randomness of this machine. */
export function realWorld(): World {
  return { now: () => new Date(), random: (byteCount) => randomBytes(byteCount) }
}

async function openSecretsOf(
  home: Home,
  env: Environment,
  screen: Screen,
  choice: KeychainChoice | undefined,
): Promise<SecretStore> {
  // Chosen at login and kept: a keychain that is silent today must not look like no login at all.
  const chosen = (await readState(home).catch(() => undefined))?.secrets
  const remembered = chosen === 'file' ? 'never' : chosen === 'keychain' ? 'require' : undefined
  return openSecretStore({
    directory: home.secrets,
    keychain: remembered ?? choice ?? keychainChoiceOf(env),
    service: keychainService(home),
    notify: (message) => screen.say(`mcm: ${message}`),
  })
}

const KEYCHAIN_CHOICES = ['auto', 'never', 'require'] as const

function keychainChoiceOf(env: Environment): KeychainChoice {
  const text = env['MCM_KEYCHAIN'] || 'auto'
  const choice = KEYCHAIN_CHOICES.find((each) => each === text)
  if (choice) return choice
  throw new UsageError('MCM_USAGE', `MCM_KEYCHAIN is ${JSON.stringify(text)}`, {
    hint: `set it to one of ${KEYCHAIN_CHOICES.join(', ')}, or unset it`,
  })
}

function hasIpv6(): boolean {
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  return addresses.some(({ family }) => family === 'IPv6')
}

/** Settings that take the checks away on which everything rests. @throws UsageError MCM_UNSUPPORTED_RUNTIME */
export function requireSafeRuntime(env: Environment, execArgv: readonly string[]): void {
  if (env['NODE_TLS_REJECT_UNAUTHORIZED'] === '0') {
    throw unsafe('NODE_TLS_REJECT_UNAUTHORIZED=0 switches certificate checks off')
  }
  const options = [...execArgv, ...(env['NODE_OPTIONS'] ?? '').split(/\s+/)]
  const lenient = options.find((option) => option.startsWith('--insecure-http-parser'))
  if (lenient) throw unsafe(`${lenient} accepts requests that can be read in two ways`)
}

function unsafe(why: string): UsageError {
  return new UsageError('MCM_UNSUPPORTED_RUNTIME', `mcm does not run like this: ${why}`, {
    hint: 'unset it for mcm',
  })
}

const GRACE_MS = 3_000

interface SignalWatch {
  readonly signal: AbortSignal
  readonly wasInterrupted: () => boolean
  readonly allowEndMs: (ms: number) => void
  readonly takeSignals: Runtime['takeSignals']
}

/** Those that a shell or another program uses to end or to notify one. */
const PASSED_ON = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR2'] as const
const ENDING = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const

/** The first signal asks everything to end, the second, or a few seconds, ends it. */
function watchSignals(): SignalWatch {
  const controller = new AbortController()
  let interrupted = false
  let graceMs = GRACE_MS
  const end = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(exitCodeOfSignal(name))
    interrupted = name === 'SIGINT'
    controller.abort()
    setTimeout(() => process.exit(exitCodeOfSignal(name)), graceMs).unref()
  }
  for (const name of ENDING) process.on(name, end)
  return {
    signal: controller.signal,
    wasInterrupted: () => interrupted,
    allowEndMs: (ms) => {
      graceMs = ms
    },
    takeSignals(take) {
      // In this order: without any listener in between a signal would be lost, or end us.
      for (const name of PASSED_ON) process.on(name, take)
      for (const name of ENDING) process.off(name, end)
    },
  }
}

/** As a shell counts: 130 for SIGINT. */
function exitCodeOfSignal(name: NodeJS.Signals): number {
  return 128 + constants.signals[name]
}

/** Signals that leave a core behind: a second one would only be of us. */
const DUMPING: ReadonlySet<NodeJS.Signals> = new Set(['SIGQUIT', 'SIGILL', 'SIGABRT', 'SIGSEGV'])

/** Nobody reads our data any more (`mcm … | head`): the end, as of any program in a pipe, and no failure to talk about. */
function endWithoutReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(exitCodeOfSignal('SIGPIPE'))
  })
}

/** Ends this process as a child of it ended: with its exit code, or by the same signal, so that a shell sees no difference. */
export function leaveAs({ exitCode, signal }: ChildEnd): void {
  leaveSoon(signal === null ? (exitCode ?? 1) : exitCodeOfSignal(signal))
  if (signal === null || DUMPING.has(signal)) return
  process.removeAllListeners(signal)
  process.kill(process.pid, signal)
}

/** Ends a process that has nothing more to say but whose sockets linger. */
export function leaveSoon(exitCode: number): void {
  process.exitCode = exitCode
  setTimeout(() => process.exit(exitCode), GRACE_MS).unref()
}

async function openLog(path?: string): Promise<Log> {
  const { default: pino } = await import('pino')
  const destination = pino.destination({ dest: path ?? 2, sync: true })
  const base = { timestamp: pino.stdTimeFunctions.isoTime, base: null }
  const logger = pino({ ...base, formatters: { level: (level) => ({ level }) } }, destination)
  return {
    info: (event, fields) => logger.info(fields ?? {}, event),
    warn: (event, fields) => logger.warn(fields ?? {}, event),
    error: (event, fields) => logger.error(fields ?? {}, event),
  }
}
