/** A container of the sandbox without any API server around it. */
import { Container, type ContainerSpec } from '../../../src/sandbox/pods/container.ts'
import { Pipe, readAll, sourceOfBytes } from '../../../src/sandbox/pods/pipe.ts'
import { quiet, testWorld } from '../running-sandbox.ts'

const LIMIT_BYTES = 128 * 1024 * 1024

const SLEEPER: ContainerSpec = {
  name: 'main',
  command: [],
  env: [],
  directory: '/',
  hasStdin: false,
  isStdinOnce: false,
  hasTerminal: false,
}

export function container(spec: Partial<ContainerSpec> = {}): Container {
  const deps = { world: testWorld(), log: quiet, hostname: 'the-pod', ports: new Map() }
  return new Container(deps, { ...SLEEPER, ...spec })
}

export interface Finished {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number
}

/** Runs a command to its end, in a container of its own unless one is given. */
export async function run(
  command: readonly string[],
  input: string | Buffer = '',
  within = container(),
): Promise<Finished> {
  const { stdout, ...rest } = await runForBytes(command, input, within)
  return { stdout: stdout.toString(), ...rest }
}

export async function runForBytes(
  command: readonly string[],
  input: string | Buffer = '',
  within = container(),
): Promise<{ readonly stdout: Buffer; readonly stderr: string; readonly exitCode: number }> {
  const [stdout, stderr] = [new Pipe(), new Pipe()]
  const stdin = sourceOfBytes(Buffer.from(input))
  const process = within.exec(command, { stdin, stdout, stderr, isTerminal: false })
  void process.exited.then(() => {
    stdout.end()
    stderr.end()
  })
  const [out, err] = await Promise.all([readAll(stdout, LIMIT_BYTES), readAll(stderr, LIMIT_BYTES)])
  return { stdout: out, stderr: err.toString(), exitCode: await process.exited }
}
