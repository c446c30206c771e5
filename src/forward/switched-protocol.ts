import type { Status } from '../kube/status.ts'
import type { FrameBounds } from './frame-passage.ts'

/**
 * What is known of the protocol that was switched to: where frames end, whether somebody has said that it is
 * over, and how to say so. It must see all that passes.
 */
export interface SwitchedProtocol {
  /** Follows what the client is given. */
  readonly given: FrameBounds
  /** Follows what the client says. */
  readonly heard: FrameBounds
  /**
   * Whether the client's frame that begins at `start` asks whether the other side is there, as far as its bytes
   * until `end` say.
   */
  isPing(chunk: Buffer, start: number, end: number): boolean
  /** What answers a whole ping. */
  pongTo(ping: Buffer): Buffer
  /** Whether a last word may stand here, behind what the client was given. */
  readonly isBetweenFrames: boolean
  /** Who broke it off, if both streams have ended and a last word is missing. `first`: whose stream ended first. */
  brokenBy(first: 'client' | 'upstream'): 'client' | 'upstream' | undefined
  /** The last word to a client whose streams are cut; undefined where there is no place for one. */
  farewell(status: Status): Buffer | undefined
}
