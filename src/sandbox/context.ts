/** What every part of the sandbox may use, and what a request handler is given. */
import type { RequestInfo } from '../kube/request-info.ts'
import type { Log, World } from '../world.ts'
import type { AuditRecord } from './audit.ts'
import type { Exchange } from './exchange.ts'
import type { AuthenticationDeps } from './identity/authentication.ts'
import type { ModeMemory } from './identity/impersonation.ts'
import type { UserInfo } from './identity/user.ts'
import type { Resource } from './objects/resources.ts'
import type { Snapshots } from './objects/snapshots.ts'
import type { Storage } from './objects/storage.ts'
import type { SandboxNode } from './pods/node.ts'
import type { EscalationDeps } from './rbac/escalation.ts'

export interface Sandbox extends EscalationDeps, AuthenticationDeps {
  readonly world: World
  readonly log: Log
  readonly storage: Storage
  readonly snapshots: Snapshots
  readonly modes: ModeMemory
  /** Where the pods run. */
  readonly node: SandboxNode
  /** `v1.36.3` */
  readonly kubernetesVersion: string
}

export interface RequestContext {
  readonly sandbox: Sandbox
  readonly exchange: Exchange
  readonly info: RequestInfo
  /** Whom the request runs as. */
  readonly user: UserInfo
  readonly audit: AuditRecord
}

/** A request about a resource of the table. */
export interface ResourceContext extends RequestContext {
  readonly resource: Resource
}
