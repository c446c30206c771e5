/** Whether a real part can be had on this machine, and if not, why: in words for the person testing. */
export type Possibility =
  | { readonly possible: true }
  | { readonly possible: false; readonly reason: string }

/** Says loudly what is not tested here. @returns whether to skip, for `describe.skipIf` */
export function skipLoudly(what: string, possibility: Possibility): boolean {
  if (possibility.possible) return false
  console.warn(`\n!!! SKIPPED: ${what.toUpperCase()} IS NOT TESTED HERE: ${possibility.reason}\n`)
  return true
}
