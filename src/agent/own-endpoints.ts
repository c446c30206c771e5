/**
 * The agent's own endpoints on a session (docs/PROTOCOL.md §8): who am I, my certificates, renewal,
 * revocation, the next CAs. It decides nothing that RBAC can decide: whether somebody may revoke another
 * user or have the CAs replaced is asked of the API server.
 */

import { AGENT_NAMESPACE } from '../access/agent-rights.ts'
import type { Ceiling } from '../access/ceiling.ts'
import type { Identity } from '../access/identity.ts'
import type { ImpersonationForm, ImpersonatorList } from '../access/impersonator.ts'
import { AccessDeniedError, NotFoundError, UsageError } from '../errors.ts'
import type { Impersonation } from '../kube/impersonation.ts'
import type { UserCertificate } from '../pki/user-certificate.ts'
import {
  type AuthoritiesOrder,
  authoritiesOrderSchema,
  type ClusterFacts,
  type IssuedCertificate,
  type OfferedAuthorities,
  revocationSchema,
  type Whoami,
} from '../protocol/messages.ts'
import type { ResourceQuestion } from './access-review.ts'
import type { Standing } from './authenticate.ts'
import { identitySecretName } from './state-secret.ts'

export const OWN_PREFIX = '/.mcm/'
const CERTIFICATES = '/.mcm/v1/certificates'

export interface OwnEndpointSources {
  /** The cluster id. */
  readonly cluster: string
  /** What limits everybody here: the list of names, the ceiling, and which impersonation the server has. */
  protection(): Promise<Protection>
  readonly issuance: {
    renew(who: Identity, body: unknown): Promise<{ readonly certificate: string }>
  }
  readonly principals: {
    certificatesOf(user: string): IssuedCertificate[]
    revoke(order: RevocationOrder): Promise<unknown>
    secretName(user: string): string
    ownerOf(what: { readonly device: string } | { readonly serial: string }): string | undefined
  }
  readonly authorities: { offer(order: AuthoritiesOrder): Promise<OfferedAuthorities> }
  /** Asks the API server as the caller. */
  mayCaller(caller: Impersonation, question: ResourceQuestion): Promise<boolean>
}

export interface Protection {
  readonly names: ImpersonatorList
  /** Undefined: there is none, so nothing is allowed. */
  readonly ceiling: Ceiling | undefined
  /** Undefined: it cannot be told. */
  readonly server: ImpersonationForm | undefined
}

type RevocationOrder =
  | { readonly user: string }
  | { readonly device: string; readonly user?: string }
  | { readonly serial: string; readonly user?: string }

export interface OwnRequest {
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly standing: Standing
  readonly certificate: UserCertificate
  /** Reads the body as JSON. */
  body(): Promise<unknown>
}

/**
 * The JSON to answer with, status 200. @throws NotFoundError another path; any family for a refusal
 */
export async function answerOwn(
  sources: OwnEndpointSources,
  request: OwnRequest,
): Promise<unknown> {
  const { user } = request.certificate
  switch (`${request.method} ${request.path}`) {
    case 'GET /.mcm/v1/whoami':
      return whoami(sources.cluster, request)
    case 'GET /.mcm/v1/cluster':
      return clusterFacts(await sources.protection())
    case `GET ${CERTIFICATES}`:
      return sources.principals.certificatesOf(user)
    case `POST ${CERTIFICATES}`: {
      const issued = await sources.issuance.renew(request.standing.identity, await request.body())
      return { certificate: issued.certificate }
    }
    case 'POST /.mcm/v1/revocations':
      await revoke(sources, request)
      return {}
    case 'POST /.mcm/v1/authorities':
      return nextAuthorities(sources, request)
    default:
      throw new NotFoundError('MCM_NOT_FOUND', `there is no ${request.method} ${request.path}`)
  }
}

/**
 * Whether a target is the agent's own: `/.mcm` and everything below it, which never goes to the API
 * server.
 */
export function isOwnPath(path: string): boolean {
  return path === '/.mcm' || path.startsWith(OWN_PREFIX)
}

function whoami(cluster: string, { standing, certificate }: OwnRequest): Whoami {
  const { user, groups, device, fingerprint, notBefore, notAfter } = certificate
  const { impersonation } = standing
  return {
    user,
    groups: [...groups],
    cluster,
    device,
    certificate: { fingerprint, notBefore: time(notBefore), notAfter: time(notAfter) },
    impersonates: { user: impersonation.user, groups: [...impersonation.groups] },
  }
}

function clusterFacts({ names, ceiling, server }: Protection): ClusterFacts {
  const list = names.isConstrained ? 'constrained' : 'legacy'
  return {
    impersonation: {
      list,
      isUnrestricted: names.isUnrestricted,
      ...(server === undefined ? {} : { server }),
    },
    ...(ceiling === undefined ? {} : { ceiling: ceiling.name }),
  }
}

async function revoke(sources: OwnEndpointSources, request: OwnRequest): Promise<void> {
  const parsed = revocationSchema.safeParse(await request.body())
  if (!parsed.success)
    throw new UsageError('MCM_BAD_REQUEST', 'a revocation names one device, serial or user')
  const order = parsed.data
  const owner = 'user' in order ? order.user : ownerFor(sources, request, order)
  const isOwn = !('user' in order) && owner === request.certificate.user
  // Whose it is would tell a stranger something, so the right is asked before it is said that
  // nobody owns it.
  if (!isOwn) await requireRight(sources, request.standing, owner ?? '')
  if (owner === undefined)
    throw new NotFoundError('MCM_NOT_FOUND', 'no certificate here is of that device or serial')
  await sources.principals.revoke({ ...order, user: owner })
}

/**
 * A device that nobody has here becomes, so that it can be ended, one of a caller whom a token let in: it may come
 * yet, and theirs can be ended by no statement of their own. It concerns that caller's name only.
 */
function ownerFor(
  { principals }: OwnEndpointSources,
  { standing, certificate }: OwnRequest,
  order: { readonly device: string } | { readonly serial: string },
): string | undefined {
  const known = principals.ownerOf(order)
  const mayCome = 'device' in order && standing.isAdmitted
  return known ?? (mayCome ? certificate.user : undefined)
}

/** Whoever may change the Secret that holds the CAs may have them replaced (PROTOCOL §12.1). */
async function nextAuthorities(
  sources: OwnEndpointSources,
  request: OwnRequest,
): Promise<OfferedAuthorities> {
  const name = identitySecretName(sources.cluster)
  const place = { group: '', resource: 'secrets', namespace: AGENT_NAMESPACE, name }
  const { impersonation } = request.standing
  if (!(await sources.mayCaller(impersonation, { verb: 'update', ...place })))
    throw new AccessDeniedError('MCM_FORBIDDEN', 'you may not replace the CAs of this cluster', {
      hint: `it takes the right to update Secret ${name} in namespace ${AGENT_NAMESPACE}`,
    })
  const parsed = authoritiesOrderSchema.safeParse(await request.body())
  if (parsed.success) return sources.authorities.offer(parsed.data)
  throw new UsageError('MCM_BAD_REQUEST', 'the request for new CAs is not understood')
}

/** Whoever may delete the Secret with a user's certificates may revoke that user. */
async function requireRight(sources: OwnEndpointSources, standing: Standing, user: string) {
  const name = user === '' ? '' : sources.principals.secretName(user)
  const question = {
    verb: 'delete',
    group: '',
    resource: 'secrets',
    namespace: AGENT_NAMESPACE,
    name,
  }
  if (await sources.mayCaller(standing.impersonation, question)) return
  throw new AccessDeniedError('MCM_FORBIDDEN', 'you may revoke your own devices only', {
    hint: `revoking others needs the right to delete Secrets in namespace ${AGENT_NAMESPACE}`,
  })
}

function time(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`
}
