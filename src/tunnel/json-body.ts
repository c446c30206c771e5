import type { Http2Stream } from 'node:http2'

/**
 * The whole body, at most `maxBytes`; on failure the stream is left to the caller, paused.
 * @throws Error when it is longer, breaks off or takes too long
 */
export function readBody(
  stream: Http2Stream,
  maxBytes: number,
  timeoutMs: number,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const timer = setTimeout(() => fail(new Error(`no whole body in ${timeoutMs} ms`)), timeoutMs)
    function fail(error: Error): void {
      clearTimeout(timer)
      stream.pause()
      reject(error)
    }
    stream.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > maxBytes) return fail(new Error(`the body is longer than ${maxBytes} bytes`))
      chunks.push(chunk)
    })
    stream.once('aborted', () => fail(new Error('the body broke off')))
    stream.once('error', fail)
    stream.once('end', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(chunks))
    })
  })
}

/** The body as JSON; undefined when it is empty. @throws Error also when it is no JSON */
export async function readJsonBody(
  stream: Http2Stream,
  maxBytes: number,
  timeoutMs: number,
): Promise<unknown> {
  const body = await readBody(stream, maxBytes, timeoutMs)
  return body.length === 0 ? undefined : JSON.parse(body.toString())
}
