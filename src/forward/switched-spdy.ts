import type { Status } from '../kube/status.ts'
import { dataHead, FLAG_FIN, FRAME, FrameReader, FrameTracker, isPing } from './spdy-frames.ts'
import { HeaderUnpacker } from './spdy-headers.ts'
import type { SwitchedProtocol } from './switched-protocol.ts'

/** Versions of remotecommand whose error stream ends with a Status. */
const WITH_STATUS = /^v[45]\.channel\.k8s\.io$/
/** What the client's first frame may take; it opens a stream with a name. */
const MAX_FIRST_BYTES = 4_096
/** Of SYN_STREAM, before its headers: the stream, another, priority and slot. */
const SYN_STREAM_BYTES = 10

/** SPDY/3.1, which ends without a word after a command: all it must not do is to end within a frame. */
export class SwitchedSpdy implements SwitchedProtocol {
  readonly #version: string | undefined
  readonly given = new FrameTracker()
  readonly heard = new FirstBytes(MAX_FIRST_BYTES)
  readonly isPing = isPing

  constructor(version: string | undefined) {
    this.#version = version
  }

  pongTo(ping: Buffer): Buffer {
    return ping
  }

  get isBetweenFrames(): boolean {
    return this.given.isAtBoundary
  }

  brokenBy(): 'upstream' | undefined {
    return this.isBetweenFrames ? undefined : 'upstream'
  }

  /**
   * A Status on the error stream, which clients of exec and attach open first (client-go
   * `tools/remotecommand/v2.go`). Where they do not, or it is something else, there is no last word.
   */
  farewell(status: Status): Buffer | undefined {
    const stream = this.#errorStream()
    if (stream === undefined || !WITH_STATUS.test(this.#version ?? '')) return undefined
    const said = Buffer.from(JSON.stringify(status))
    return Buffer.concat([dataHead(stream, said.length, FLAG_FIN), said])
  }

  #errorStream(): number | undefined {
    try {
      const reader = new FrameReader()
      for (const part of this.heard.parts) reader.push(part)
      const frame = reader.next()
      if (frame?.kind !== 'control' || frame.type !== FRAME.SYN_STREAM) return undefined
      const headers = new HeaderUnpacker().unpack(frame.payload.subarray(SYN_STREAM_BYTES))
      return headers['streamtype'] === 'error' ? frame.payload.readUInt32BE(0) : undefined
    } catch {
      // Whatever else it said first is not ours to understand.
      return undefined
    }
  }
}

/** Follows frames, and keeps what came first. */
class FirstBytes extends FrameTracker {
  readonly parts: Buffer[] = []
  #missing: number

  constructor(bytes: number) {
    super()
    this.#missing = bytes
  }

  override take(chunk: Buffer, start: number): number {
    const end = super.take(chunk, start)
    if (this.#missing > 0) this.#keep(chunk.subarray(start, Math.min(end, start + this.#missing)))
    return end
  }

  #keep(part: Buffer): void {
    this.parts.push(part)
    this.#missing -= part.length
  }
}
