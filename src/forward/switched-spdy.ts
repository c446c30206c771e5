import type { Status } from '../kube/status.ts'
import { dataHead, FLAG_FIN, FRAME, FrameReader, HEAD_BYTES } from './spdy-frames.ts'
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
  readonly #head = Buffer.alloc(HEAD_BYTES)
  #headLength = 0
  /** Bytes of the payload that are still to come. */
  #left = 0
  #first: Buffer[] = []
  #firstBytes = 0

  constructor(version: string | undefined) {
    this.#version = version
  }

  heard(chunk: Buffer): void {
    if (this.#firstBytes >= MAX_FIRST_BYTES) return
    this.#first.push(chunk.subarray(0, MAX_FIRST_BYTES - this.#firstBytes))
    this.#firstBytes += this.#first.at(-1)!.length
  }

  given(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      const count = Math.min(this.missingBytes, chunk.length - at)
      if (this.#left > 0) this.#left -= count
      else this.#takeHead(chunk.subarray(at, at + count))
      at += count
    }
  }

  get isBetweenFrames(): boolean {
    return this.#left === 0 && this.#headLength === 0
  }

  get missingBytes(): number {
    return this.#left > 0 ? this.#left : HEAD_BYTES - this.#headLength
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

  #takeHead(part: Buffer): void {
    part.copy(this.#head, this.#headLength)
    this.#headLength += part.length
    if (this.#headLength < HEAD_BYTES) return
    this.#headLength = 0
    this.#left = this.#head.readUIntBE(HEAD_BYTES - 3, 3)
  }

  #errorStream(): number | undefined {
    try {
      const reader = new FrameReader()
      for (const part of this.#first) reader.push(part)
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
