/**
 * The agent's own endpoints on a session (docs/PROTOCOL.md §8): who am I, certificates and their ends, the
 * directory that the caller knows, the next CAs. It decides nothing that RBAC can decide: whether somebody may
 * revoke another user or have the CAs replaced is asked of the API server.
 */

import { AGENT_NAMESPACE } from '../access/agent-rights.ts'
import type { Ceiling } from '../access/ceiling.ts'
import type { ImpersonationForm, ImpersonatorList } from '../access/impersonator.ts'
import { AccessDeniedError, NotFoundError, UsageError } from '../errors.ts'
import {
  type AuthoritiesOrder,
  authoritiesOrderSchema,
  type ClusterFacts,
  type DirectoryAppend,
  directoryAppendSchema,
  type Head,
  headSchema,
  MAX_BROUGHT_BYTES,
  type OfferedAuthorities,
  type Whoami,
} from '../protocol/messages.ts'
import type { DirectoryWitness } from './directory-witness.ts'
import type { IssuePolicy } from './issue-policy.ts'
import {
  listCertificates,
  type OwnCertificateSources,
  purge,
  restore,
  revoke,
} from './own-certificates.ts'
import type { OwnRequest } from './own-request.ts'
import { identitySecretName } from './state-secret.ts'

export const OWN_PREFIX = '/.mcm/'

export interface OwnEndpointSources extends OwnCertificateSources {
  /** The cluster id. */
  readonly cluster: string
  /** What limits everybody here: the list of names, the ceiling, and which impersonation the server has. */
  protection(): Promise<Protection>
  readonly authorities: { offer(order: AuthoritiesOrder): Promise<OfferedAuthorities> }
  readonly witness: DirectoryWitness
  readonly policy: IssuePolicy
}

export interface Protection {
  readonly names: ImpersonatorList
  /** Undefined: there is none, so nothing is allowed. */
  readonly ceiling: Ceiling | undefined
  /** Undefined: it cannot be told. */
  readonly server: ImpersonationForm | undefined
}

/**
 * The JSON to answer with, status 200. @throws NotFoundError another path; any family for a refusal
 */
export async function answerOwn(
  sources: OwnEndpointSources,
  request: OwnRequest,
): Promise<unknown> {
  const { user, device } = request.certificate
  switch (`${request.method} ${request.path}`) {
    case 'GET /.mcm/v1/whoami':
      return whoami(sources.cluster, request)
    case 'GET /.mcm/v1/cluster':
      return clusterFacts(await sources.protection(), sources)
    case 'POST /.mcm/v1/head':
      return sources.witness.hear(user, await headIn(request))
    case 'POST /.mcm/v1/directory':
      return { head: await sources.witness.take({ user, device }, () => appendIn(request)) }
    case 'GET /.mcm/v1/certificates':
      return listCertificates(sources, request)
    case 'POST /.mcm/v1/revocations':
      await revoke(sources, request)
      return {}
    case 'POST /.mcm/v1/authorities':
      return nextAuthorities(sources, request)
    case 'POST /.mcm/v1/purges':
      await purge(sources, request)
      return {}
    case 'POST /.mcm/v1/restorations':
      await restore(sources, request)
      return {}
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

function clusterFacts(
  { names, ceiling, server }: Protection,
  { witness, policy }: Pick<OwnEndpointSources, 'witness' | 'policy'>,
): ClusterFacts {
  const list = names.isConstrained ? 'constrained' : 'legacy'
  return {
    impersonation: {
      list,
      isUnrestricted: names.isUnrestricted,
      ...(server === undefined ? {} : { server }),
    },
    ...(ceiling === undefined ? {} : { ceiling: ceiling.name }),
    directory: witness.facts(),
    botMaximumLife: policy.botMaximumLifeSeconds,
  }
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
  if (!parsed.success)
    throw new UsageError('MCM_BAD_REQUEST', 'the request for new CAs is not understood')
  const offered = await sources.authorities.offer(parsed.data)
  const { user: by, device: byDevice, fingerprint: byCertificate } = request.certificate
  sources.log.info('authorities_ordered', { by, byDevice, byCertificate })
  return offered
}

async function headIn(request: OwnRequest): Promise<Head> {
  const parsed = headSchema.safeParse(await request.body())
  if (parsed.success) return parsed.data
  throw new UsageError('MCM_BAD_REQUEST', 'a head is a number and a hash')
}

async function appendIn(request: OwnRequest): Promise<DirectoryAppend> {
  const parsed = directoryAppendSchema.safeParse(await request.body(MAX_BROUGHT_BYTES))
  if (parsed.success) return parsed.data
  throw new UsageError('MCM_BAD_REQUEST', 'the directory is not understood')
}

function time(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`
}
