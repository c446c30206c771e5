import type { Readable } from 'node:stream'
import { UsageError } from '../errors.ts'

const MAX_BODY_BYTES = 32 * 1024

/** A small JSON body, of 32 KiB unless told. @throws UsageError MCM_BAD_REQUEST too long, cut off or no JSON */
export async function readJson(
  body: Readable | undefined,
  maxBytes = MAX_BODY_BYTES,
): Promise<unknown> {
  const bytes = body ? await readSmall(body, maxBytes) : Buffer.alloc(0)
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    throw badBody('it is no JSON')
  }
}

/** Once it is too long nothing more of it is kept, however much still comes. */
function readSmall(body: Readable, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    const onData = (chunk: Buffer) => {
      chunks.push(chunk)
      length += chunk.length
      if (length <= maxBytes) return
      body.off('data', onData)
      chunks.length = 0
      reject(badBody(`it is longer than ${maxBytes / 1024} KiB`))
    }
    body.on('data', onData)
    body.once('end', () => resolve(Buffer.concat(chunks)))
    body.once('close', () => reject(badBody('it was cut off')))
    body.once('error', () => reject(badBody('it was cut off')))
    body.resume()
  })
}

function badBody(why: string): UsageError {
  return new UsageError('MCM_BAD_REQUEST', `the body of the request cannot be used: ${why}`)
}
