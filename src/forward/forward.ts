import type { Readable } from 'node:stream'
import type { Status } from '../kube/status.ts'
import type { Exchange, Reply } from './exchange.ts'
import { replyStatus } from './exchange.ts'
import { statusOfFailure } from './failure.ts'
import type { RawHeaders } from './headers.ts'
import { GATHERED_BODY_BYTES, gatherBody, RequestBody } from './request-body.ts'
import { answerHeaders } from './response.ts'
import type { Upstream, UpstreamCall, UpstreamEvents, UpstreamRequest } from './upstream.ts'

/** What is sent in place of the client's own head; `headers` are final. */
export interface OutgoingHead {
  readonly method: string
  readonly target: string
  readonly headers: string[]
  /** Of the body, when the client told it. */
  readonly contentLength: number | undefined
  readonly answerTimeoutMs: number
}

/** How an exchange ended. */
export interface ExchangeResult {
  /** What the client was told; 0 when it went away before any answer. */
  readonly status: number
  /** Body bytes towards the client. */
  readonly bytes: number
  readonly ended: 'complete' | 'client' | 'upstream' | 'cut'
}

/** An exchange under way. */
export interface Forwarding {
  readonly done: Promise<ExchangeResult>
  /** Ends both sides at once; the client sees that the answer is not whole. */
  cut(): void
  /** Bytes of the request's body that wait here for the upstream. */
  bufferedBytes(): number
}

/**
 * Forwards one exchange: body up, answer down, each with backpressure; an end on one side ends the
 * other. A failure upstream before the answer began is a Status 502, 503 or 504; later it cuts the
 * answer.
 */
export function forwardExchange<Context>(
  exchange: Exchange<Context>,
  upstream: Upstream,
  head: OutgoingHead,
): Forwarding {
  const run = new Run(exchange.reply, upstream)
  run.begin(head, exchange.body)
  return run
}

class Run implements Forwarding, UpstreamEvents {
  readonly done: Promise<ExchangeResult>
  readonly #reply: Reply
  readonly #upstream: Upstream
  #settle!: (result: ExchangeResult) => void
  #call: UpstreamCall | undefined
  #source: Readable | undefined
  #body: RequestBody | undefined
  #isOver = false
  #status = 0
  #bytes = 0
  /** Of the answer, -1 when it was not told. */
  #expected = -1
  #ended: ExchangeResult['ended'] = 'complete'

  constructor(reply: Reply, upstream: Upstream) {
    this.#reply = reply
    this.#upstream = upstream
    this.done = new Promise((resolve) => {
      this.#settle = resolve
    })
    reply.onDrain(() => this.#call?.resume())
    reply.onClose((isComplete) => this.#onClientClose(isComplete))
    // The client may have gone while somebody decided.
    if (reply.isClosed) this.#onClientClose(false)
  }

  begin(head: OutgoingHead, source: Readable | undefined): void {
    const { contentLength } = head
    if (this.#isOver) return
    this.#source = source
    if (source === undefined || contentLength === 0) this.#send(head, undefined)
    else if (contentLength === undefined || contentLength > GATHERED_BODY_BYTES)
      this.#send(head, this.#streamed(source))
    else
      gatherBody(source, contentLength, (body) => {
        if (this.#isOver) return
        if (body) this.#send(head, body)
        else this.cut()
      })
  }

  bufferedBytes(): number {
    return (this.#source?.readableLength ?? 0) + (this.#body?.readableLength ?? 0)
  }

  cut(): void {
    if (this.#isOver) return
    this.#ended = 'cut'
    this.#call?.abort()
    this.#reply.abort()
  }

  onResponse(status: number, headers: RawHeaders): void {
    try {
      this.#expected = lengthOf(headers)
      this.#status = status
      this.#reply.start(status, answerHeaders(headers))
    } catch (error) {
      this.#call?.abort()
      this.onError(error as Error)
    }
  }

  onData(chunk: Uint8Array): boolean {
    this.#bytes += chunk.length
    // The last bytes and the end go out together: one write instead of two.
    if (this.#bytes === this.#expected) {
      this.#reply.end(chunk)
      return true
    }
    return this.#reply.write(chunk)
  }

  onEnd(): void {
    if (this.#bytes !== this.#expected || this.#bytes === 0) this.#reply.end()
  }

  onError(error: Error): void {
    this.#ended = 'upstream'
    this.#body?.destroy()
    if (this.#reply.isStarted) this.#reply.abort()
    else this.#tell(statusOfFailure(this.#upstream.name, error))
  }

  #streamed(source: Readable): RequestBody {
    this.#body = new RequestBody(source)
    // Whoever sends it looks at the error; after an early end nobody does.
    this.#body.on('error', () => {})
    return this.#body
  }

  #send(head: OutgoingHead, body: UpstreamRequest['body']): void {
    this.#call = this.#upstream.send({ ...head, body }, this)
    if (this.#isOver) this.#call.abort()
  }

  #tell(status: Status): void {
    this.#status = status.code
    replyStatus(this.#reply, status)
  }

  #onClientClose(isComplete: boolean): void {
    if (this.#isOver) return
    this.#isOver = true
    if (!isComplete) {
      if (this.#ended === 'complete') this.#ended = 'client'
      this.#call?.abort()
    }
    this.#body?.destroy()
    this.#settle({ status: this.#status, bytes: this.#bytes, ended: this.#ended })
  }
}

function lengthOf(headers: RawHeaders): number {
  for (let index = 0; index + 1 < headers.length; index += 2)
    if (headers[index]!.length === 14 && headers[index]!.toLowerCase() === 'content-length')
      return Number(headers[index + 1])
  return -1
}
