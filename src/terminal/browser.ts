import { spawn } from 'node:child_process'

/** Showing a page to the person at this machine. */

type Environment = Readonly<Record<string, string | undefined>>

/**
 * What opens a URL here: the program of BROWSER, else the one of the desktop; undefined where there is no
 * desktop to show it on.
 */
export function browserOpener(
  env: Environment,
  platform: NodeJS.Platform,
): ((url: URL) => Promise<void>) | undefined {
  const command = commandOf(env, platform)
  if (!command) return undefined
  const [program, ...args] = command
  // It may never end, and whether it does says nothing: the address was printed, too.
  return async (url) => {
    const child = spawn(program!, [...args, url.href], { stdio: 'ignore', detached: true })
    child.on('error', () => {})
    child.unref()
  }
}

function commandOf(env: Environment, platform: NodeJS.Platform): readonly string[] | undefined {
  if (env['BROWSER']) return [env['BROWSER']]
  if (platform === 'darwin') return ['open']
  if (platform === 'win32') return ['rundll32', 'url.dll,FileProtocolHandler']
  return env['DISPLAY'] || env['WAYLAND_DISPLAY'] ? ['xdg-open'] : undefined
}
