import { UsageError } from './errors.ts'

/**
 * What a process must not have been started with. Agents and hubs serve strangers and hold what many rest on: they
 * refuse everything that weakens Node. A program on somebody's own machine refuses only what shows its keys
 * to others; how a developer runs Node is otherwise theirs to choose.
 */
export interface RuntimeFacts {
  /** As `process.version`. */
  readonly nodeVersion: string
  /** Node's own arguments, those of NODE_OPTIONS included. */
  readonly nodeArguments: readonly string[]
  /** The value of NODE_TLS_REJECT_UNAUTHORIZED. */
  readonly tlsRejectUnauthorized: string | undefined
}

/**
 * Below it there are known ways to crash a server, or past its TLS (Node's security releases of
 * March 2026).
 */
const FLOOR = [24, 14, 1] as const
/**
 * They open a debugger, weaken a parser or TLS, write keys to a file, or load code from elsewhere.
 */
const WEAKENING =
  /^--(insecure-http-parser|inspect|debug|tls-keylog|trace-tls|tls-min-v1\.[012]|use-openssl-ca|openssl-legacy|openssl-config|heapsnapshot|heap-prof|cpu-prof|prof$|abort-on-uncaught|report-)/
/**
 * A debugger answers everybody on the machine, other users included; the others write session keys to
 * a file or the terminal.
 */
const REVEALING = /^--(inspect|debug|tls-keylog|trace-tls)/

/**
 * For a server; `who` for the sentence: `the agent`.
 * @throws UsageError MCM_UNSUPPORTED_RUNTIME naming what has to change
 */
export function requireServerRuntime(facts: RuntimeFacts, who: string): void {
  if (isBelowFloor(facts.nodeVersion))
    throw unsupported(
      `Node ${facts.nodeVersion} has known security holes`,
      `use Node ${FLOOR.join('.')} or newer`,
    )
  requireNone(facts.nodeArguments, WEAKENING, who)
  if (facts.tlsRejectUnauthorized === '0')
    throw unsupported(
      `${who} does not run with NODE_TLS_REJECT_UNAUTHORIZED=0`,
      'remove that variable',
    )
}

/**
 * For a program that holds one person's keys on their own machine.
 * @throws UsageError MCM_UNSUPPORTED_RUNTIME naming what has to change
 */
export function requirePrivateRuntime(
  { nodeArguments }: Pick<RuntimeFacts, 'nodeArguments'>,
  who: string,
): void {
  requireNone(nodeArguments, REVEALING, who)
}

function requireNone(nodeArguments: readonly string[], refused: RegExp, who: string): void {
  const argument = nodeArguments.find((text) => refused.test(text.replaceAll('_', '-')))
  if (argument === undefined) return
  const [name] = argument.split('=', 1)
  throw unsupported(`${who} does not run with ${name}`, 'remove it, also from NODE_OPTIONS')
}

function isBelowFloor(version: string): boolean {
  const match = /^v?(\d+)\.(\d+)\.(\d+)/.exec(version)
  if (!match) return true
  for (const [index, least] of FLOOR.entries()) {
    const number = Number(match[index + 1])
    if (number !== least) return number < least
  }
  return false
}

function unsupported(message: string, hint: string): UsageError {
  return new UsageError('MCM_UNSUPPORTED_RUNTIME', message, { hint })
}
