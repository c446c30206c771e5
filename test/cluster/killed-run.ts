/** Runs a fixture that starts something real, and kills it without a chance to clean up. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/**
 * Starts `fixtures/<fixture>`, waits for its first line of output, kills it with SIGKILL.
 * @returns that line
 * @throws Error when it ends without one; its stderr is ours
 */
export async function killAfterFirstLine(fixture: string): Promise<string> {
  const path = join(import.meta.dirname, 'fixtures', fixture)
  const child = spawn(process.execPath, [path], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })
  const line = await Promise.race([once(lines, 'line'), exited.then(() => undefined)])
  if (line === undefined) throw new Error(`${fixture} ended without a word`)
  child.kill('SIGKILL')
  await exited
  return String(line[0])
}
