import type { Readable } from 'node:stream'
import { UsageError } from '../errors.ts'

const MAX_BODY_BYTES = 32 * 1024

/** A small JSON body. @throws UsageError MCM_BAD_REQUEST too long, cut off or no JSON */
export async function readJson(body: Readable | undefined): Promise<unknown> {
  const chunks: Buffer[] = []
  let length = 0
  if (body)
    await new Promise<void>((resolve, reject) => {
      body.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        length += chunk.length
        if (length > MAX_BODY_BYTES) reject(badBody('it is longer than 32 KiB'))
      })
      body.once('end', resolve)
      body.once('close', () => reject(badBody('it was cut off')))
      body.once('error', () => reject(badBody('it was cut off')))
      body.resume()
    })
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    throw badBody('it is no JSON')
  }
}

function badBody(why: string): UsageError {
  return new UsageError('MCM_BAD_REQUEST', `the body of the request cannot be used: ${why}`)
}
