/**
 * Kubernetes clients that are installed and not built, each with the little program of test/e2e/fixtures/clients that
 * uses it as its documentation says. Libraries come from the package registries, at the versions pinned there, once.
 */
import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Possibility } from '../cluster/possibility.ts'
import { runProgram } from '../e2e/program.ts'
import { cachedProgram, canBeHad } from './program-cache.ts'

export const INSTALLED_CLIENTS = ['python', 'javascript', 'java', 'fabric8'] as const
export type InstalledClient = (typeof INSTALLED_CLIENTS)[number]

/** How its program is started. */
export interface ClientCommand {
  readonly command: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

const FIXTURES = join(import.meta.dirname, '..', 'e2e', 'fixtures', 'clients')
const INSTALL_TIMEOUT_MS = 600_000
/** They start faster so, and two cores have enough to do. */
const JAVA_FLAGS = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC']

/** Whether a client can be had here; installs it, which takes half a minute the first time. */
export function installedClientIsPossible(client: InstalledClient): Promise<Possibility> {
  return canBeHad(() => clientCommand(client))
}

/** How its program is started; installs it, half a minute the first time. @throws Error in one line: why not */
export async function clientCommand(client: InstalledClient): Promise<ClientCommand> {
  if (client === 'python') return pythonCommand()
  if (client === 'javascript') return javascriptCommand()
  return javaCommand(client)
}

/** The library is a dependency of mcm itself. */
function javascriptCommand(): ClientCommand {
  return { command: process.execPath, args: [join(FIXTURES, 'javascript', 'client.ts')], env: {} }
}

async function pythonCommand(): Promise<ClientCommand> {
  const requirements = join(FIXTURES, 'python', 'requirements.txt')
  const version = await must('python3', ['-c', 'import platform; print(platform.python_version())'])
  const packages = await cachedProgram({
    name: `client-python-${version}`,
    sources: [requirements],
    build: async (staging) => {
      const target = join(staging, 'packages')
      const pinned = ['--no-deps', '--only-binary', ':all:', '-r', requirements]
      const quiet = ['--quiet', '--disable-pip-version-check', '--target', target]
      await must('python3', ['-m', 'pip', 'install', ...quiet, ...pinned])
      return target
    },
  })
  const program = join(FIXTURES, 'python', 'client.py')
  return { command: 'python3', args: [program], env: { PYTHONPATH: packages } }
}

async function javaCommand(client: 'java' | 'fabric8'): Promise<ClientCommand> {
  const [pom, source] = ['pom.xml', 'Client.java'].map((file) => join(FIXTURES, client, file))
  const jars = await cachedProgram({
    name: `client-${client}-jars`,
    sources: [pom!],
    build: (staging) => downloadJars(pom!, staging),
  })
  const classes = await cachedProgram({
    name: `client-${client}`,
    sources: [pom!, source!],
    build: async (staging) => {
      const target = join(staging, 'classes')
      await must('javac', ['-nowarn', '-cp', `${jars}/*`, '-d', target, source!])
      return target
    },
  })
  const args = [...JAVA_FLAGS, '-cp', `${classes}:${jars}/*`, 'Client']
  return { command: 'java', args, env: {} }
}

/** Maven may write beside the pom that it reads, so it gets a copy. */
async function downloadJars(pom: string, staging: string): Promise<string> {
  const [project, jars] = [join(staging, 'project'), join(staging, 'jars')]
  await mkdir(project)
  const copy = join(project, 'pom.xml')
  await copyFile(pom, copy)
  const goal = ['dependency:copy-dependencies', `-DoutputDirectory=${jars}`]
  await must('mvn', ['--batch-mode', '--quiet', '--strict-checksums', '-f', copy, ...goal])
  return jars
}

async function must(command: string, args: readonly string[]): Promise<string> {
  const options = { timeoutMs: INSTALL_TIMEOUT_MS }
  const ran = await runProgram(command, args, options).catch((error: Error) => {
    throw new Error(`${command} cannot be run: ${error.message}`)
  })
  if (ran.exitCode === 0) return ran.stdout.trim()
  const words = `${ran.stdout}\n${ran.stderr}`.trim().split('\n').slice(-3).join(' ')
  throw new Error(`${command} ended with ${ran.exitCode}: ${words}`)
}
