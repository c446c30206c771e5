import { UsageError } from '../errors.ts'

/** What the process was started with, as far as it can weaken everything else. */
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
const REFUSED_ARGUMENTS =
  /^--(insecure-http-parser|inspect|debug|tls-keylog|trace-tls|tls-min-v1\.[012]|use-openssl-ca|openssl-legacy|openssl-config|heapsnapshot|heap-prof|cpu-prof|prof$|abort-on-uncaught|report-)/

/** @throws UsageError MCM_UNSUPPORTED_RUNTIME naming what has to change */
export function requireRuntime(facts: RuntimeFacts): void {
  if (isBelowFloor(facts.nodeVersion))
    throw unsupported(
      `Node ${facts.nodeVersion} has known security holes`,
      `use Node ${FLOOR.join('.')} or newer`,
    )
  const argument = facts.nodeArguments.find((text) =>
    REFUSED_ARGUMENTS.test(text.replaceAll('_', '-')),
  )
  if (argument !== undefined)
    throw unsupported(
      `the agent does not run with ${argument.split('=', 1)[0]}`,
      'remove it, also from NODE_OPTIONS',
    )
  if (facts.tlsRejectUnauthorized === '0')
    throw unsupported(
      'the agent does not run with NODE_TLS_REJECT_UNAUTHORIZED=0',
      'remove that variable',
    )
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
