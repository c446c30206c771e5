import { type Possibility, skipLoudly } from '../cluster/possibility.ts'

/**
 * As `skipLoudly`; but where everything is required (in CI, and with MCM_TEST_REQUIRE=all) a client that is not
 * to be had is a failure.
 * @throws Error there, with the reason
 */
export function skipUnlessRequired(what: string, possibility: Possibility): boolean {
  const isRequired = process.env['CI'] === 'true' || process.env['MCM_TEST_REQUIRE'] === 'all'
  if (!possibility.possible && isRequired) {
    throw new Error(`${what} cannot be tested here, where it is required: ${possibility.reason}`)
  }
  return skipLoudly(what, possibility)
}
