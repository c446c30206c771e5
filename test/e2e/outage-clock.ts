/** The wall clock of programs that are started from here, moved while they run. Linux with a C compiler. */
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Possibility } from '../cluster/possibility.ts'
import { runProgram } from './program.ts'

const SOURCE = join(import.meta.dirname, 'fixtures', 'shifted-clock.c')
const DAY_SECONDS = 86_400

/** Whether a program's clock can be moved here; tries it. */
export async function clockIsPossible(): Promise<Possibility> {
  try {
    const clock = await ShiftedClock.open(-3)
    const days = await clock.whatProgramsSee().finally(() => clock.close())
    if (Math.abs(days + 3) < 0.01) return { possible: true }
    return { possible: false, reason: `a program was moved by ${days} days instead of -3` }
  } catch (error) {
    return { possible: false, reason: (error as Error).message }
  }
}

export class ShiftedClock {
  readonly #directory: string
  readonly #library: string
  #before: NodeJS.ProcessEnv | undefined

  private constructor(directory: string, library: string) {
    this.#directory = directory
    this.#library = library
  }

  /** From now on every dynamically linked program started from here has a clock of its own. */
  static async open(days: number): Promise<ShiftedClock> {
    const clock = await ShiftedClock.apart()
    await clock.set(days)
    clock.#before = { ...process.env }
    Object.assign(process.env, clock.env)
    return clock
  }

  /** A clock for those programs alone that get its `env`; at first the true time. */
  static async apart(): Promise<ShiftedClock> {
    const directory = await mkdtemp(join(tmpdir(), 'mcm-test-clock-'))
    const clock = new ShiftedClock(directory, await compiled())
    await clock.set(0)
    return clock
  }

  get env(): Readonly<Record<string, string>> {
    return { MCM_TEST_CLOCK: this.#path, LD_PRELOAD: this.#library }
  }

  get #path(): string {
    return join(this.#directory, 'shift')
  }

  /** So many days ahead of the true time; running programs are there at once. */
  async set(days: number): Promise<void> {
    const seconds = Buffer.alloc(8)
    seconds.writeBigInt64LE(BigInt(Math.round(days * DAY_SECONDS)))
    // In place: programs have this very file mapped.
    const file = await open(this.#path, 'a+').then((made) =>
      made.close().then(() => open(this.#path, 'r+')),
    )
    await file.write(seconds, 0, seconds.length, 0)
    await file.close()
  }

  /** By how many days a new program finds itself moved. */
  async whatProgramsSee(): Promise<number> {
    const { stdout } = await runProgram(process.execPath, ['-p', 'Date.now()'])
    return (Number(stdout) - Date.now()) / (DAY_SECONDS * 1000)
  }

  async close(): Promise<void> {
    if (this.#before) process.env = this.#before
    await rm(this.#directory, { recursive: true, force: true })
  }
}

/** The path of the library, compiled once. @throws Error with the compiler's words */
async function compiled(): Promise<string> {
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'mcm-test')
  const hash = createHash('sha256')
    .update(await readFile(SOURCE))
    .digest('hex')
    .slice(0, 16)
  const path = join(cache, `shifted-clock-${hash}.so`)
  if (await stat(path).catch(() => undefined)) return path
  await mkdir(cache, { recursive: true })
  const made = `${path}.${process.pid}`
  const args = ['-shared', '-fPIC', '-O1', '-o', made, SOURCE, '-ldl']
  const { exitCode, stderr } = await runProgram('cc', args).catch((error: Error) => {
    throw new Error(`no C compiler: ${error.message}`)
  })
  if (exitCode !== 0) throw new Error(`cc: ${stderr.trim()}`)
  await rename(made, path)
  return path
}
