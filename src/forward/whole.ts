import { constants } from 'node:http2'
import type { Readable } from 'node:stream'

/**
 * Whether a stream that emits `end` really came to its end. An HTTP/2 stream that was reset emits it as well: then it
 * is closed by then, with a code, or was aborted. (Closed without one it has ended both ways.)
 */
export function isWhole(source: Readable): boolean {
  const { closed, aborted, rstCode } = source as Partial<Http2Facts>
  return aborted !== true && (closed !== true || rstCode === constants.NGHTTP2_NO_ERROR)
}

interface Http2Facts {
  readonly closed: boolean
  readonly aborted: boolean
  readonly rstCode: number
}
