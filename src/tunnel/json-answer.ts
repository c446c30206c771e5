import { constants, type ServerHttp2Stream } from 'node:http2'

/**
 * Answers a stream once with JSON (`undefined`: no body) and ends it, also for whoever goes on sending. An answer
 * that had begun is cut off instead.
 */
export function answerJson(stream: ServerHttp2Stream, status: number, body: unknown): void {
  if (stream.destroyed || stream.closed) return
  if (stream.headersSent) {
    stream.close(constants.NGHTTP2_INTERNAL_ERROR)
    return
  }
  stream.respond({ ':status': status, 'content-type': 'application/json' })
  stream.end(body === undefined ? '' : JSON.stringify(body))
  // What a refused caller still sends is not wanted (RFC 9113 §8.1).
  stream.resume()
  stream.once('finish', () => {
    if (!stream.closed && !stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR)
  })
}
