import { Errors, flush, run } from '@oclif/core'
import packageManifest from '../package.json' with { type: 'json' }
import { failureOf, renderFailure } from './terminal/failure.ts'

/** Runs one command line; `entry` is the URL of bin/, from where oclif finds package.json. */
export async function main(argv: string[], entry: string): Promise<void> {
  try {
    await run(argv, entry)
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
