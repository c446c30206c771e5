import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Exchange, UpgradeExchange } from '../../src/forward/exchange.ts'
import { replyStatus } from '../../src/forward/exchange.ts'
import { type ExchangeResult, type Forwarding, forwardExchange } from '../../src/forward/forward.ts'
import {
  readHeaderLines,
  toRawHeaders,
  valuesOf,
  withoutHopByHop,
} from '../../src/forward/headers.ts'
import { type Listener, openListener } from '../../src/forward/listener.ts'
import { DEFAULT_TIMEOUTS } from '../../src/forward/listener-handlers.ts'
import { answerAndEnd } from '../../src/forward/raw-answer.ts'
import { Refusal } from '../../src/forward/refusal.ts'
import { requireOriginForm } from '../../src/forward/target.ts'
import { forwardUpgrade, type UpgradeResult, type Upgrading } from '../../src/forward/upgrade.ts'
import { requireUpgrade } from '../../src/forward/upgrade-request.ts'
import type { Upstream } from '../../src/forward/upstream.ts'
import { type Cleanup, socketPair } from './stage.ts'

/** The smallest program around `forward`: everything goes on as it is, to one upstream. */
export interface Gateway {
  readonly listener: Listener<string>
  readonly exchanges: Forwarding[]
  readonly results: ExchangeResult[]
  readonly upgrades: Upgrading[]
  readonly upgradeResults: UpgradeResult[]
  /** A raw HTTP/1.1 connection through it. */
  http1(): Promise<Socket>
  /** The same, and the client may half close. */
  http1Half(): Promise<Socket>
  http2(): Promise<ClientHttp2Session>
  /** A connection on which the test writes HTTP/2 frames itself. */
  rawHttp2(): Promise<Duplex>
}

export function openGateway(
  upstream: Upstream,
  ends: Cleanup,
  timeouts = DEFAULT_TIMEOUTS,
): Gateway {
  const exchanges: Forwarding[] = []
  const results: ExchangeResult[] = []
  const upgrades: Upgrading[] = []
  const upgradeResults: UpgradeResult[] = []
  const listener = openListener<string>(
    {
      request: (exchange) => {
        const run = forward(exchange, upstream)
        if (!run) return
        exchanges.push(run)
        void run.done.then((result) => results.push(result))
      },
      upgrade: (exchange) => {
        const run = switchOver(exchange, upstream)
        if (!run) return
        upgrades.push(run)
        void run.done.then((result) => upgradeResults.push(result))
      },
    },
    { timeouts },
  )
  ends.add(() => listener.stop())
  const pair = (allowHalfOpen = false) => socketPair(ends, allowHalfOpen)
  return {
    listener,
    exchanges,
    results,
    upgrades,
    upgradeResults,
    http1: async () => {
      const [near, far] = await pair()
      listener.accept(near, 'http/1.1', 'somebody')
      return far
    },
    http1Half: async () => {
      const [near, far] = await pair(true)
      listener.accept(near, 'http/1.1', 'somebody')
      return far
    },
    rawHttp2: async () => {
      const [near, far] = await pair()
      listener.accept(near, 'h2', 'somebody')
      return far
    },
    http2: async () => {
      const [near, far] = await pair()
      listener.accept(near, 'h2', 'somebody')
      const session = connectHttp2('http://c.test', { createConnection: () => far })
      session.on('error', () => {})
      ends.add(() => session.destroy())
      return session
    },
  }
}

function forward(exchange: Exchange<string>, upstream: Upstream): Forwarding | undefined {
  try {
    const lines = readHeaderLines(exchange.headers)
    const [length] = valuesOf(lines, 'content-length')
    const kept = withoutHopByHop(lines).filter(({ key }) => key !== 'host' && key !== 'expect')
    return forwardExchange(exchange, upstream, {
      method: exchange.method,
      target: requireOriginForm(exchange.target),
      headers: toRawHeaders(kept),
      contentLength: length === undefined ? undefined : Number(length),
      answerTimeoutMs: 5_000,
    })
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    if (error.endsConnection) exchange.reply.endConnection()
    replyStatus(exchange.reply, error.status)
    return undefined
  }
}

function switchOver(exchange: UpgradeExchange<string>, upstream: Upstream): Upgrading | undefined {
  try {
    const lines = readHeaderLines(exchange.headers)
    const protocol = requireUpgrade(exchange, lines)
    const kept = withoutHopByHop(lines).filter(
      ({ key }) => key !== 'host' && key !== 'content-length',
    )
    const headers = toRawHeaders(kept)
    const target = requireOriginForm(exchange.target)
    return forwardUpgrade(exchange, upstream, {
      method: exchange.method,
      target,
      headers,
      protocol,
    })
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    void answerAndEnd(exchange.client, error.status)
    return undefined
  }
}
