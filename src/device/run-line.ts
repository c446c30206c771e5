import { UsageError } from '../errors.ts'
import { startChild } from './child-process.ts'

/** Runs lines of a person's in their shell, for what they print. */

type Environment = Readonly<Record<string, string | undefined>>

const MAX_BYTES = 64 << 10

/**
 * A runner with this environment; what a line says on stderr passes through `talk` as it comes, and into no error:
 * `set -x` prints what it was given.
 * @throws UsageError MCM_USAGE when the line fails or prints more than 64 KiB
 */
export function lineRunner(
  env: Environment,
  signal: AbortSignal,
  talk: (chunk: Uint8Array) => void,
): (line: string, variables: Readonly<Record<string, string>>) => Promise<string> {
  return async (line, variables) => {
    const child = startChild(['/bin/sh', '-c', line], {
      env: { ...env, ...variables },
      kind: 'detached',
    })
    const kill = () => child.kill('SIGTERM')
    signal.addEventListener('abort', kill, { once: true })
    try {
      const [stdout, { exitCode }] = await Promise.all([
        readAll(child.stdout),
        child.ended,
        passOn(child.stderr, talk),
      ])
      signal.throwIfAborted()
      if (exitCode === 0) return stdout
      throw failed(exitCode)
    } finally {
      signal.removeEventListener('abort', kill)
      kill()
    }
  }
}

async function readAll(stream: AsyncIterable<Uint8Array> | undefined): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of stream ?? []) {
    size += chunk.byteLength
    if (size > MAX_BYTES) throw new UsageError('MCM_USAGE', 'the token command prints too much')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

async function passOn(
  stream: AsyncIterable<Uint8Array> | undefined,
  talk: (chunk: Uint8Array) => void,
): Promise<void> {
  for await (const chunk of stream ?? []) talk(chunk)
}

function failed(exitCode: number | null): UsageError {
  return new UsageError('MCM_USAGE', `the token command ended with ${exitCode}`, {
    hint: 'run it by hand with MCM_AUDIENCE set',
  })
}
