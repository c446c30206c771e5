import { spawn } from 'node:child_process'
import { setPriority } from 'node:os'
import { join } from 'node:path'

const NICENESS = 5
const LAST_LINES = 3

/**
 * Builds the crate of a folder into `target` with exactly the crates that its lock pins, for release.
 * @throws Error with the last words of cargo, or because there is no cargo
 */
export function buildWithCargo(source: string, target: string): Promise<void> {
  const args = ['build', '--release', '--locked', '--manifest-path', join(source, 'Cargo.toml')]
  const env = { ...process.env, CARGO_TARGET_DIR: target }
  const child = spawn('cargo', args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  if (child.pid !== undefined) setPriority(child.pid, NICENESS)
  let words = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-600)
  })
  const lastWords = () => words.trim().split('\n').slice(-LAST_LINES).join(' ')
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`cargo did not start: ${error.message}`)))
    child.once('close', (code) => {
      if (code === 0) resolve()
      else reject(new Error(`cargo build ended with ${code}: ${lastWords()}`))
    })
  })
}
