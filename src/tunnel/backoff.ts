const UINT32_RANGE = 2 ** 32

/**
 * Milliseconds to wait before attempt `attempt` (0 is the first retry): uniform between 0 and
 * `baseMs` doubled per attempt, at most `capMs` ("full jitter": a crowd that lost one hub comes back
 * spread over the whole window). `random` gives bytes.
 */
export function fullJitterBackoff(
  random: (byteCount: number) => Uint8Array,
  attempt: number,
  bounds: { readonly baseMs: number; readonly capMs: number },
): number {
  const windowMs = Math.min(bounds.capMs, bounds.baseMs * 2 ** attempt)
  const fraction = Buffer.from(random(4)).readUInt32BE() / UINT32_RANGE
  return Math.floor(fraction * windowMs)
}
