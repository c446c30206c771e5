import { flush, handle, run } from '@oclif/core'

/** Runs one command line; `entry` is the URL of bin/, from where oclif finds package.json. */
export async function main(argv: string[], entry: string): Promise<void> {
  try {
    await run(argv, entry)
    await flush()
  } catch (error) {
    await handle(error as Error)
  }
}
