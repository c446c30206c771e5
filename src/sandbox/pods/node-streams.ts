/** Streams of Node as the ends of simulated processes. */
import type { Readable, Writable } from 'node:stream'
import { BrokenPipe, type Sink, type Source } from './pipe.ts'

/** Reads only while somebody waits, so that the other side feels it. */
export function sourceOf(stream: Readable): Source {
  let isOver = stream.readableEnded || stream.destroyed
  let wake = () => {}
  const over = () => {
    isOver = true
    wake()
  }
  stream.once('end', over)
  stream.once('close', over)
  stream.on('readable', () => wake())
  return {
    async read(signal) {
      for (;;) {
        if (signal?.aborted) return undefined
        const chunk = stream.read() as Buffer | null
        if (chunk) return chunk
        if (isOver) return undefined
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
    cancel() {
      stream.removeAllListeners('readable')
      // What is still sent must not stand in the way of what comes behind it.
      stream.resume()
    },
  }
}

export function sinkOf(stream: Writable): Sink {
  return {
    async write(bytes) {
      if (!stream.writable) throw new BrokenPipe()
      if (stream.write(bytes)) return
      await new Promise<void>((resolve) => {
        const go = () => {
          stream.removeListener('drain', go)
          stream.removeListener('close', go)
          resolve()
        }
        stream.on('drain', go)
        stream.on('close', go)
      })
      if (stream.destroyed) throw new BrokenPipe()
    },
    end: () => void stream.end(),
  }
}
