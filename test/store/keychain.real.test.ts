import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Possibility, skipLoudly } from '../cluster/possibility.ts'

const PROGRAMS = ['/usr/bin/dbus-run-session', '/usr/bin/gnome-keyring-daemon']

function keychainIsPossible(): Possibility {
  const missing = PROGRAMS.filter((path) => !existsSync(path))
  if (missing.length === 0) return { possible: true }
  const packages = 'apt-get install gnome-keyring libsecret-1-0 dbus dbus-bin'
  return { possible: false, reason: `${missing.join(', ')} missing: ${packages}` }
}

const skip = skipLoudly('the keychain of the operating system', keychainIsPossible())
const CHILD = join(import.meta.dirname, 'keychain-child.ts')

describe.skipIf(skip)('with a real Secret Service (gnome-keyring)', () => {
  let home: string

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'mcm-keychain-'))
  })

  afterEach(() => rm(home, { recursive: true, force: true }))

  test('secrets are kept between processes and no file of ours is written', async () => {
    const [first, second] = await inSession(
      ['require', 'set=device-key=-----PEM with "quotes" and ü-----', 'get=device-key'],
      [
        'auto',
        'get=device-key',
        'get=unknown',
        'delete=device-key',
        'delete=device-key',
        'get=device-key',
      ],
    )
    const pem = '-----PEM with "quotes" and ü-----'
    expect(first).toEqual({ results: ['keychain', pem], said: [] })
    expect(second).toEqual({ results: ['keychain', pem, null, true, false, null], said: [] })
    expect(await readdir(home)).not.toContain('keys')
  })

  test('a long key is not cut, and names do not meet', async () => {
    const long = 'k'.repeat(4_000)
    const [result] = await inSession(['require', `set=a=${long}`, 'set=b=2', 'get=a', 'get=b'])
    expect(result).toEqual({ results: ['keychain', long, '2'], said: [] })
  })

  test('without a bus auto falls back to files and says so once, require fails', async () => {
    const args = ['auto', join(home, 'keys'), 'set=a=1', 'get=a']
    const env = { DBUS_SESSION_BUS_ADDRESS: `unix:path=${join(home, 'none')}` }
    const auto = JSON.parse(await output(process.execPath, [CHILD, ...args], env))
    expect(auto.results).toEqual(['file', '1'])
    expect(auto.said).toHaveLength(1)
    const required = ['require', join(home, 'keys'), 'get=a']
    const failed = JSON.parse(await output(process.execPath, [CHILD, ...required], env))
    expect(failed.results).toEqual(['keychain', 'MCM_KEYCHAIN_UNAVAILABLE'])
  })

  /** Runs one process after the other in a session of its own, its keyring unlocked. */
  async function inSession(...runs: readonly (readonly string[])[]): Promise<unknown[]> {
    const commands = runs.map(([keychain, ...steps]) =>
      [process.execPath, CHILD, keychain!, join(home, 'keys'), ...steps].map(quoted).join(' '),
    )
    const unlock = 'printf secret | gnome-keyring-daemon --unlock --components=secrets >/dev/null'
    const script = [unlock, ...commands.map((command) => `${command}; echo`)].join('\n')
    const text = await output('dbus-run-session', ['--', 'sh', '-c', script], {})
    return text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  }

  function output(
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>>,
  ): Promise<string> {
    const own = {
      HOME: home,
      XDG_RUNTIME_DIR: home,
      XDG_DATA_HOME: home,
      PATH: process.env['PATH'],
    }
    const child = spawn(command, args, {
      env: { ...own, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let text = ''
    let errors = ''
    child.stdout.on('data', (chunk) => (text += chunk))
    child.stderr.on('data', (chunk) => (errors += chunk))
    return new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code) =>
        code === 0 ? resolve(text) : reject(new Error(`${command} ended with ${code}: ${errors}`)),
      )
    })
  }
})

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`
}
