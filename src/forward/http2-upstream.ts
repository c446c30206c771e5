import { type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2'
import { askHttp2Upgrade, extendedConnectOffer } from './http2-upgrade.ts'
import {
  type Upstream,
  type UpstreamCall,
  type UpstreamEvents,
  UpstreamProtocolError,
  type UpstreamRequest,
} from './upstream.ts'

export interface Http2UpstreamOptions {
  /** For sentences, such as `the agent`. */
  readonly name: string
  /** `:authority` of every request. */
  readonly authority: string
}

export interface Http2Upstream extends Upstream {
  /** Whether `upgrade` may be used: the server's SETTINGS say so. */
  readonly offersUpgrades: Promise<boolean>
}

/**
 * A server at the other end of an HTTP/2 session, for as long as that lives; never retried. The
 * session must be new: what it offers is heard once.
 */
export function http2Upstream(
  session: ClientHttp2Session,
  options: Http2UpstreamOptions,
): Http2Upstream {
  return {
    offersUpgrades: extendedConnectOffer(session),
    name: options.name,
    authority: options.authority,
    send: (request, events) => new Http2Call(session, options.authority, request, events),
    upgrade: async (head, signal) => askHttp2Upgrade(session, options.authority, head, signal),
    // With a code: destroyed without one, open answers would end as if they were whole.
    close: async () => session.destroy(new Error('closed'), constants.NGHTTP2_CANCEL),
  }
}

class Http2Call implements UpstreamCall {
  readonly #events: UpstreamEvents
  #stream: ClientHttp2Stream | undefined
  #isOver = false

  constructor(
    session: ClientHttp2Session,
    authority: string,
    request: UpstreamRequest,
    events: UpstreamEvents,
  ) {
    this.#events = events
    try {
      this.#stream = this.#open(session, authority, request)
    } catch (error) {
      // Not before the caller has this call in its hands.
      queueMicrotask(() => this.#fail(error as Error))
    }
  }

  resume(): void {
    this.#stream?.resume()
  }

  abort(): void {
    if (this.#isOver) return
    this.#isOver = true
    cut(this.#stream)
  }

  #open(session: ClientHttp2Session, authority: string, request: UpstreamRequest) {
    const { method, target, headers, body, answerTimeoutMs } = request
    const pseudo = [':method', method, ':path', target, ':scheme', 'https', ':authority', authority]
    const stream = session.request([...pseudo, ...headers], { endStream: body === undefined })
    stream.on('response', (fields, _flags, raw) => this.#onResponse(stream, fields[':status'], raw))
    stream.once('error', (error) => this.#fail(error))
    stream.once('close', () => this.#fail(new Error('the stream closed')))
    if (answerTimeoutMs > 0) this.#limit(stream, answerTimeoutMs)
    if (Buffer.isBuffer(body)) stream.end(body)
    else if (body) {
      body.once('error', () => cut(stream))
      body.pipe(stream)
    }
    return stream
  }

  #limit(stream: ClientHttp2Stream, timeoutMs: number): void {
    const timer = setTimeout(() => {
      this.#fail(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' }))
      cut(stream)
    }, timeoutMs)
    const settle = () => clearTimeout(timer)
    stream.once('response', settle)
    stream.once('close', settle)
  }

  #onResponse(stream: ClientHttp2Stream, status: number | undefined, raw: readonly string[]): void {
    if (this.#isOver) return
    if (status !== undefined && status >= 200) {
      this.#events.onResponse(status, raw)
      this.#read(stream)
      return
    }
    this.#fail(new UpstreamProtocolError('the answer has no status'))
    cut(stream)
  }

  /** Not before the head: over some streams Node emits `data` earlier than `response`. */
  #read(stream: ClientHttp2Stream): void {
    stream.on('data', (chunk: Buffer) => {
      if (!this.#isOver && !this.#events.onData(chunk)) stream.pause()
    })
    stream.once('end', () => this.#onEnd(stream))
  }

  /** A reset stream ends too; only one that was not is whole. */
  #onEnd(stream: ClientHttp2Stream): void {
    if (this.#isOver) return
    if (stream.closed && stream.rstCode !== constants.NGHTTP2_NO_ERROR) {
      this.#fail(new Error('the answer was cut off'))
      return
    }
    this.#isOver = true
    this.#events.onEnd()
  }

  #fail(error: Error): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#events.onError(error)
  }
}

/** With an error: a plain close would send END_STREAM first, and half a body would look whole. */
function cut(stream: ClientHttp2Stream | undefined): void {
  stream?.destroy(new Error('cut off'))
}
