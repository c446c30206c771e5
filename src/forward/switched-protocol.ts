import type { Status } from '../kube/status.ts'

/**
 * What is known of the protocol that was switched to: where the frames given to the client end, whether
 * somebody has said that it is over, and how to say so. It must see all that passes.
 */
export interface SwitchedProtocol {
  /** More of what the client is given. */
  given(chunk: Buffer): void
  /** More of what the client says. */
  heard(chunk: Buffer): void
  /** Whether a word of ours may stand here. */
  readonly isBetweenFrames: boolean
  /** Bytes of the frame under way that are still to come, as far as is known; at least 1. */
  readonly missingBytes: number
  /** Who broke it off, if both streams have ended and a last word is missing. `first`: whose stream ended first. */
  brokenBy(first: 'client' | 'upstream'): 'client' | 'upstream' | undefined
  /** The last word to a client whose streams are cut; undefined where there is no place for one. */
  farewell(status: Status): Buffer | undefined
}
