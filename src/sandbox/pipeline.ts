/**
 * The way of one request, in kube-apiserver's order (apiserver `pkg/server/config.go`
 * DefaultBuildHandlerChain): authentication, audit, impersonation, authorization, then its handler.
 */
import { isLongRunning, requestInfo } from '../kube/request-info.ts'
import { failureStatus } from '../kube/status.ts'
import { type AuditLog, AuditRecord } from './audit.ts'
import type { Sandbox } from './context.ts'
import { dispatch } from './dispatch.ts'
import type { Exchange } from './exchange.ts'
import { authenticate } from './identity/authentication.ts'
import { impersonate } from './identity/impersonation.ts'
import type { UserInfo } from './identity/user.ts'
import { wantedUser } from './identity/wanted-user.ts'
import { hasConstrainedImpersonation } from './kubernetes-version.ts'
import { attributesOf, forbiddenTo } from './rbac/attributes.ts'
import { Refusal } from './refusals.ts'
import { PlainRefusal } from './streams/upgrade.ts'

const SWITCHED = 101

type RequestInfo = ReturnType<typeof requestInfo>

/** Answers one request, whatever happens, and writes its audit event. */
export async function handle(sandbox: Sandbox, log: AuditLog, exchange: Exchange): Promise<void> {
  const info = requestInfo(exchange.method, exchange.target)
  const audit = new AuditRecord(sandbox.world, log, exchange, info)
  exchange.setHeader('audit-id', audit.auditID)
  try {
    const user = admit(sandbox, audit, exchange, info)
    if (isLongRunning(info) && !exchange.upgrade) audit.started()
    void exchange.upgrade?.switched.then(() => audit.started(SWITCHED))
    const code = await dispatch({ sandbox, exchange, info, user, audit })
    audit.completed(exchange.upgrade?.hasSwitched ? SWITCHED : code)
  } catch (error) {
    refuse(sandbox, exchange, audit, error)
  }
}

/** Who the request runs as, once it is allowed to run. @throws Refusal 400, 401, 403 */
function admit(
  sandbox: Sandbox,
  audit: AuditRecord,
  exchange: Exchange,
  info: RequestInfo,
): UserInfo {
  const sender = authenticate(sandbox, exchange.headers, info.path)
  audit.authenticated(sender)
  const user = actingUser(sandbox, audit, exchange, info, sender)
  const attributes = attributesOf(user, info)
  const decision = sandbox.authorize(attributes)
  audit.decided(decision)
  if (!decision.isAllowed) throw forbiddenTo(attributes, decision.reason)
  return user
}

function actingUser(
  sandbox: Sandbox,
  audit: AuditRecord,
  exchange: Exchange,
  info: RequestInfo,
  sender: UserInfo,
): UserInfo {
  const isConstrained = hasConstrainedImpersonation(sandbox.kubernetesVersion)
  const wanted = wantedUser(exchange.headers, isConstrained)
  if (!wanted) return sender
  const asked = attributesOf(sender, info)
  const { authorize, modes } = sandbox
  const { user, constraint } = impersonate(authorize, wanted, asked, isConstrained, modes)
  audit.impersonated(user, constraint)
  return user
}

function refuse(sandbox: Sandbox, exchange: Exchange, audit: AuditRecord, error: unknown): void {
  if (error instanceof PlainRefusal) {
    exchange.respond(error.code, 'text/plain; charset=utf-8', error.message)
    audit.completed(error.code)
    return
  }
  const refusal = error instanceof Refusal ? error : internalError(sandbox, exchange, error)
  if (refusal.retryAfter !== undefined)
    exchange.setHeader('retry-after', String(refusal.retryAfter))
  const { status } = refusal
  exchange.respond(status.code, 'application/json', `${JSON.stringify(status)}\n`)
  audit.completed(status.code, status)
}

function internalError(sandbox: Sandbox, exchange: Exchange, error: unknown): Refusal {
  if (!exchange.signal.aborted)
    sandbox.log.error('sandbox.request.failed', { target: exchange.target, error })
  return new Refusal(
    failureStatus(500, 'InternalError', 'Internal error occurred: a bug in the sandbox'),
  )
}
