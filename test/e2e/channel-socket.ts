/**
 * A WebSocket client that speaks the channels of Kubernetes' remote command (apimachinery
 * `pkg/util/remotecommand/constants.go`) as it is told to: `v4.channel.k8s.io`, as clients before 1.30 do, has no way to
 * say that stdin has ended.
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { socketFrame } from '../forward/socket-frame.ts'
import { ask, type Endpoint } from './streams-client.ts'

export type ChannelProtocol = 'v4.channel.k8s.io' | 'v5.channel.k8s.io'

const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const
/** Only in v5: the payload names the channel that has ended. */
const CLOSE_CHANNEL = 255
const OPCODE = { binary: 2, close: 8, ping: 9, pong: 10 } as const

/** What came of it, by channel. */
export interface ChannelTexts {
  readonly stdout: string
  readonly stderr: string
  /** A `Status`, the last word of the server. */
  readonly error: { readonly status: string; readonly message?: string; readonly details?: object }
}

export class ChannelSocket {
  /** What the server chose. */
  readonly protocol: string
  readonly ended: Promise<ChannelTexts>
  readonly #socket: Duplex
  readonly #texts: Record<number, string> = {}
  #unread = Buffer.alloc(0)
  #changed = () => {}

  private constructor(socket: Duplex, protocol: string) {
    this.#socket = socket
    this.protocol = protocol
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.ended = new Promise((resolve, reject) => {
      socket.once('close', () => {
        try {
          resolve(this.#result())
        } catch (error) {
          reject(error)
        }
      })
    })
    this.ended.catch(() => {})
  }

  /**
   * Opens one at an API path, offering one protocol.
   * @throws Error with the status when the server does not switch
   */
  static open(endpoint: Endpoint, path: string, protocol: ChannelProtocol): Promise<ChannelSocket> {
    const headers = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': randomBytes(16).toString('base64'),
      'sec-websocket-protocol': protocol,
    }
    const request = ask(endpoint, path, { headers })
    request.end()
    return new Promise((resolve, reject) => {
      request.once('upgrade', (answer, socket, head) => {
        socket.on('error', () => {})
        if (head.length > 0) socket.unshift(head)
        resolve(new ChannelSocket(socket, String(answer.headers['sec-websocket-protocol'])))
      })
      request.once('response', (answer: IncomingMessage) => {
        answer.resume()
        reject(new Error(`refused with ${answer.statusCode}`))
      })
      request.once('error', reject)
    })
  }

  get stdout(): string {
    return this.#text(CHANNEL.stdout)
  }

  type(text: string): void {
    this.#send(CHANNEL.stdin, Buffer.from(text))
  }

  resize(rows: number, columns: number): void {
    this.#send(CHANNEL.resize, Buffer.from(JSON.stringify({ Width: columns, Height: rows })))
  }

  endStdin(): void {
    this.#send(CLOSE_CHANNEL, Buffer.from([CHANNEL.stdin]))
  }

  /** Resolves once stdout has shown it. @throws Error with what it showed instead */
  async shows(pattern: RegExp, timeoutMs = 30_000): Promise<void> {
    const deadline = Date.now() + timeoutMs
    while (!pattern.test(this.stdout)) {
      const left = deadline - Date.now()
      if (left <= 0 || this.#socket.destroyed)
        throw new Error(`never showed ${pattern}: ${JSON.stringify(this.#texts)}`)
      await this.#change(left)
    }
  }

  #change(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#changed = () => {
        clearTimeout(timer)
        resolve()
      }
      void this.ended.then(this.#changed, this.#changed)
    })
  }

  #send(channel: number, payload: Buffer): void {
    const message = Buffer.concat([Buffer.from([channel]), payload])
    this.#socket.write(socketFrame(OPCODE.binary, message, randomBytes(4)))
  }

  #read(chunk: Buffer): void {
    this.#unread = Buffer.concat([this.#unread, chunk])
    for (let frame = this.#nextFrame(); frame; frame = this.#nextFrame()) this.#take(frame)
    this.#changed()
  }

  /** As a server sends them: unmasked, and here never in fragments. */
  #nextFrame(): { readonly opcode: number; readonly payload: Buffer } | undefined {
    const bytes = this.#unread
    if (bytes.length < 2) return undefined
    const short = bytes[1]! & 0x7f
    const headLength = short < 126 ? 2 : short === 126 ? 4 : 10
    if (bytes.length < headLength) return undefined
    const length = payloadLength(short, bytes)
    if (bytes.length < headLength + length) return undefined
    this.#unread = bytes.subarray(headLength + length)
    return { opcode: bytes[0]! & 0xf, payload: bytes.subarray(headLength, headLength + length) }
  }

  #take({ opcode, payload }: { readonly opcode: number; readonly payload: Buffer }): void {
    if (opcode === OPCODE.ping)
      this.#socket.write(socketFrame(OPCODE.pong, payload, randomBytes(4)))
    if (opcode === OPCODE.close)
      this.#socket.end(socketFrame(OPCODE.close, payload, randomBytes(4)))
    if (opcode !== OPCODE.binary || payload.length === 0) return
    const channel = payload[0]!
    this.#texts[channel] = this.#text(channel) + payload.subarray(1).toString('latin1')
  }

  #text(channel: number): string {
    return this.#texts[channel] ?? ''
  }

  #result(): ChannelTexts {
    const stderr = this.#text(CHANNEL.stderr)
    return { stdout: this.stdout, stderr, error: JSON.parse(this.#text(CHANNEL.error)) }
  }
}

function payloadLength(short: number, head: Buffer): number {
  if (short === 126) return head.readUInt16BE(2)
  return short === 127 ? Number(head.readBigUInt64BE(2)) : short
}
