import { UnreachableError } from '../errors.ts'
import type { Upstream } from '../forward/upstream.ts'

/** An answer read whole. */
export interface WholeAnswer {
  readonly status: number
  readonly body: Buffer
}

const MAX_ANSWER_BYTES = 1024 * 1024
const ANSWER_TIMEOUT_MS = 5_000

/**
 * One small call of our own through an upstream. @throws UnreachableError no answer, or a long one
 */
export function callUpstream(
  upstream: Upstream,
  request: { method: string; target: string; headers: string[]; body: Buffer },
): Promise<WholeAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = []
    let [status, length] = [0, 0]
    const fail = (cause?: unknown) =>
      reject(
        new UnreachableError('MCM_API_SERVER_UNREACHABLE', `${upstream.name} did not answer`, {
          cause,
        }),
      )
    const call = upstream.send(
      { ...request, answerTimeoutMs: ANSWER_TIMEOUT_MS },
      {
        onResponse: (code) => {
          status = code
        },
        onData: (chunk) => {
          chunks.push(chunk)
          length += chunk.length
          if (length <= MAX_ANSWER_BYTES) return true
          fail()
          queueMicrotask(() => call.abort())
          return false
        },
        onEnd: () => resolve({ status, body: Buffer.concat(chunks) }),
        onError: fail,
      },
    )
    setTimeout(() => {
      fail()
      call.abort()
    }, 2 * ANSWER_TIMEOUT_MS).unref()
  })
}
