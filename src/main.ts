import { Errors, flush, run } from '@oclif/core'
import packageManifest from '../package.json' with { type: 'json' }
import { withBoundary } from './terminal/child-command.ts'
import { failureOf, renderFailure } from './terminal/failure.ts'
import { collectBuffersYoung } from './young-space.ts'

/** Programs that carry other people's bytes. */
const CARRIERS: ReadonlySet<string> = new Set(['agent', 'hub', 'proxy', 'up'])

/** Runs one command line; `entry` is the URL of bin/, from where oclif finds package.json. */
export async function main(argv: string[], entry: string): Promise<void> {
  if (CARRIERS.has(argv[0] ?? '')) collectBuffersYoung()
  try {
    await run(withBoundary(argv), entry)
    await flush()
  } catch (error) {
    // Help ends by throwing its exit code.
    if (error instanceof Errors.ExitError) process.exitCode = error.oclif.exit
    else failOutsideCommands(error)
  }
}

/** Commands show their own failures; this is for what happens before one runs, such as a misspelt name. */
function failOutsideCommands(error: unknown): void {
  const { version } = packageManifest
  const failure = failureOf(error, { command: 'mcm', version, isInterrupted: false })
  process.stderr.write(renderFailure(failure, error))
  process.exitCode = failure.exitCode
}
