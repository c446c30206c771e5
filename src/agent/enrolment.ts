import { isMcmError, messageOf, NotFoundError, UnreachableError } from '../errors.ts'
import { type Exchange, replyJson, replyStatus } from '../forward/exchange.ts'
import type { ListenerHandlers } from '../forward/listener-handlers.ts'
import { answerAndEnd } from '../forward/raw-answer.ts'
import { badRequest } from '../forward/refusal.ts'
import { requireMethod, requireOriginForm } from '../forward/target.ts'
import type { Log } from '../world.ts'
import { ownStatusOf } from './own-status.ts'
import { readJson } from './read-json.ts'
import { requireHost, requireLines } from './request-headers.ts'
import { addressFields, type Origin } from './sessions.ts'

/** One connection to the enrolment host, which anybody may make. */
export interface EnrolmentConnection extends Origin {
  /** 32 bytes that only this connection's two ends know (RFC 8446 §7.5). */
  readonly exporter: Buffer
}

export interface EnrolmentSources {
  /** The enrolment host. */
  readonly host: string
  readonly issuance: {
    enrol(body: unknown, exporter: Uint8Array): Promise<IssuedToDevice>
  }
  readonly log: Log
}

interface IssuedToDevice {
  readonly certificate: string
  readonly user: string
  readonly device: string
  readonly fingerprint: string
}

const PATH = '/.mcm/v1/certificates'
/** Each costs a few milliseconds of this process, and whoever asks has shown nothing yet. */
const MAX_UNDER_WAY = 16

type Enter = () => () => void

/** The handlers of the enrolment server: one path, and nothing else. */
export function enrolmentHandlers(
  sources: EnrolmentSources,
): ListenerHandlers<EnrolmentConnection> {
  let underWay = 0
  const enter: Enter = () => {
    if (underWay >= MAX_UNDER_WAY) throw busy()
    underWay += 1
    return () => {
      underWay -= 1
    }
  }
  // One at a time on a connection: what is still being sent takes nobody's place, and little
  // memory.
  const asking = new WeakSet<EnrolmentConnection>()
  return {
    request: (exchange) => {
      const { context, reply } = exchange
      if (asking.has(context)) {
        replyStatus(reply, ownStatusOf(busy()), ['retry-after', '1'])
        return
      }
      asking.add(context)
      void enrol(sources, exchange, enter).finally(() => asking.delete(context))
    },
    upgrade: ({ client }) =>
      void answerAndEnd(client, badRequest('nothing can be switched here').status),
  }
}

async function enrol(
  { host, issuance, log }: EnrolmentSources,
  exchange: Exchange<EnrolmentConnection>,
  enter: Enter,
): Promise<void> {
  const { context, reply } = exchange
  let leave: (() => void) | undefined
  try {
    requireForm(exchange, host)
    const body = await readJson(exchange.body)
    leave = enter()
    const issued = await issuance.enrol(body, context.exporter)
    replyJson(reply, 200, { certificate: issued.certificate })
    const { user, device, fingerprint } = issued
    log.info('certificate_issued', { user, device, fingerprint, ...addressFields(context) })
  } catch (error) {
    const level = isMcmError(error) ? 'warn' : 'error'
    log[level]('enrolment_refused', { reason: messageOf(error), ...addressFields(context) })
    reply.endConnection()
    replyStatus(reply, ownStatusOf(error))
  } finally {
    leave?.()
  }
}

function requireForm(exchange: Exchange<EnrolmentConnection>, host: string): void {
  const lines = requireLines(exchange.headers, exchange.httpVersion)
  const method = requireMethod(exchange.method)
  const target = requireOriginForm(exchange.target)
  requireHost(lines, exchange.authority, host)
  if (method === 'POST' && target === PATH) return
  throw new NotFoundError('MCM_NOT_FOUND', 'there is nothing here but POST /.mcm/v1/certificates')
}

function busy(): UnreachableError {
  return new UnreachableError('MCM_AGENT_UNREACHABLE', 'the agent is busy with other enrolments')
}
