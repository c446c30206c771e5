/**
 * The audit log at level Metadata (apiserver `pkg/apis/audit/v1/types.go`): one event per finished request,
 * and one when a long-running one starts. Kept in memory, the newest only.
 */
import type { RequestInfo } from '../kube/request-info.ts'
import type { Status } from '../kube/status.ts'
import type { World } from '../world.ts'
import type { Exchange } from './exchange.ts'
import { shownUser, type UserInfo } from './identity/user.ts'
import type { KubeObject } from './json.ts'
import type { Decision } from './rbac/attributes.ts'
import { uuid } from './uuid.ts'

export interface AuditUser {
  readonly username: string
  readonly uid?: string
  readonly groups?: readonly string[]
  readonly extra?: Readonly<Record<string, readonly string[]>>
}

export interface AuditEvent {
  readonly kind: 'Event'
  readonly apiVersion: 'audit.k8s.io/v1'
  readonly level: 'Metadata'
  readonly auditID: string
  readonly stage: 'ResponseStarted' | 'ResponseComplete'
  readonly requestURI: string
  readonly verb: string
  readonly user: AuditUser
  readonly impersonatedUser?: AuditUser
  readonly authenticationMetadata?: { readonly impersonationConstraint: string }
  readonly sourceIPs: readonly string[]
  readonly userAgent?: string
  readonly objectRef?: Readonly<Record<string, string>>
  readonly responseStatus?: Readonly<Record<string, unknown>>
  readonly requestReceivedTimestamp: string
  readonly stageTimestamp: string
  readonly annotations?: Readonly<Record<string, string>>
}

const KEPT_EVENTS = 10_000
const MAX_USER_AGENT = 1024

/** The newest events; older ones are forgotten. */
export class AuditLog {
  readonly #events: AuditEvent[] = []

  add(event: AuditEvent): void {
    this.#events.push(event)
    if (this.#events.length > KEPT_EVENTS) this.#events.shift()
  }

  events(): AuditEvent[] {
    return [...this.#events]
  }
}

/** What is learnt about one request on its way, and written down at its end. */
export class AuditRecord {
  readonly auditID: string
  readonly #world: World
  readonly #log: AuditLog
  readonly #exchange: Exchange
  readonly #info: RequestInfo
  readonly #received: string
  #user: AuditUser = { username: '' }
  #impersonated: Pick<AuditEvent, 'impersonatedUser' | 'authenticationMetadata'> = {}
  #annotations: Record<string, string> = {}
  #object: Record<string, string> = {}
  #success: object = {}

  constructor(world: World, log: AuditLog, exchange: Exchange, info: RequestInfo) {
    this.#world = world
    this.#log = log
    this.#exchange = exchange
    this.#info = info
    this.#received = microtime(world)
    this.auditID = exchange.headers.first('audit-id') || uuid(world)
  }

  authenticated(user: UserInfo): void {
    this.#user = shownUser(user)
  }

  impersonated(user: UserInfo, constraint: string): void {
    this.#impersonated = {
      impersonatedUser: shownUser(user),
      ...(constraint && { authenticationMetadata: { impersonationConstraint: constraint } }),
    }
  }

  decided({ isAllowed, reason }: Decision): void {
    this.#annotations = {
      'authorization.k8s.io/decision': isAllowed ? 'allow' : 'forbid',
      'authorization.k8s.io/reason': reason,
    }
  }

  /** The object as the client sent it: a create has no name in its URL. */
  about(object: KubeObject): void {
    const { name, namespace, uid, resourceVersion } = object.metadata
    const known = { name, namespace, uid, resourceVersion }
    this.#object = Object.fromEntries(
      Object.entries(known).filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
    )
  }

  started(code = 200): void {
    this.#write('ResponseStarted', { metadata: {}, code })
  }

  /** A Status that is the answer, but no refusal. */
  answered(status: { readonly status: string; readonly details: object }): void {
    this.#success = status
  }

  completed(code: number, failure?: Status): void {
    const {
      kind: _,
      apiVersion: __,
      ...status
    } = { ...(failure ?? { metadata: {}, ...this.#success }) } as Partial<Status>
    this.#write('ResponseComplete', { ...status, code })
  }

  #write(stage: AuditEvent['stage'], responseStatus: Record<string, unknown>): void {
    const { headers, target, remoteAddress } = this.#exchange
    const objectRef = this.#objectRef()
    const userAgent = headers.first('user-agent').slice(0, MAX_USER_AGENT)
    this.#log.add({
      kind: 'Event',
      apiVersion: 'audit.k8s.io/v1',
      level: 'Metadata',
      auditID: this.auditID,
      stage,
      requestURI: target,
      verb: this.#info.verb,
      user: this.#user,
      ...this.#impersonated,
      sourceIPs: sourceAddresses(
        headers.first('x-forwarded-for'),
        headers.first('x-real-ip'),
        remoteAddress,
      ),
      ...(userAgent && { userAgent }),
      ...(objectRef && { objectRef }),
      responseStatus,
      requestReceivedTimestamp: this.#received,
      stageTimestamp: microtime(this.#world),
      annotations: this.#annotations,
    })
  }

  #objectRef(): Record<string, string> | undefined {
    const { isResourceRequest, resource, namespace, name, apiGroup, apiVersion, subresource } =
      this.#info
    if (!isResourceRequest) return undefined
    const all = { resource, namespace, name, apiGroup, apiVersion, subresource }
    const known = Object.entries(all).filter(([, value]) => value !== '')
    return { ...this.#object, ...Object.fromEntries(known) }
  }
}

/** apimachinery `pkg/util/net/http.go` SourceIPs: forwarded addresses first, the peer last. */
function sourceAddresses(forwarded: string, real: string, peer: string): string[] {
  const claimed = forwarded
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '')
  return [...new Set([...(claimed.length > 0 ? claimed : real ? [real] : []), peer])]
}

function microtime(world: World): string {
  return world.now().toISOString().replace('Z', '000Z')
}
