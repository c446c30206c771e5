import type { SecretStore } from '../store/secrets.ts'
import type { World } from '../world.ts'
import type { Home } from './home.ts'

/**
 * device is what one person's machine knows and does: it logs in, keeps the verified directory, gets and
 * renews certificates, registers clusters, invites and grants. It must not know how a command line
 * looks, how bytes travel (client), or how a statement is checked (directory).
 * Its invariant: nothing is believed that the directory does not prove, nothing is half-written, and a
 * private key made here leaves only into the secret store.
 */
export interface Device {
  readonly world: World
  readonly home: Home
  readonly secrets: SecretStore
  readonly progress: Progress
  /** Ends everything under way: Ctrl-C. */
  readonly signal: AbortSignal
  /** The forward proxy for a host that is dialled, from the environment; undefined: dial directly. */
  proxyFor(target: URL): string | undefined
  /** Shows a page to the person; absent where there is no browser. */
  readonly openBrowser?: (url: URL) => Promise<void>
  /** Runs a line of the person's in a shell with these variables added, and gives what it prints. */
  readonly runCommand?: (
    line: string,
    variables: Readonly<Record<string, string>>,
  ) => Promise<string>
}

/** Tells a person what is going on; the terminal has the real one. */
export interface Progress {
  step<T>(label: string, work: () => Promise<T>): Promise<T>
  say(message: string): void
}
