import { AGENT_NAMESPACE } from '../access/agent-rights.ts'
import { AccessDeniedError, NotFoundError, UsageError } from '../errors.ts'
import type { Impersonation } from '../kube/impersonation.ts'
import { binnedSchema, type IssuedCertificate, revocationSchema } from '../protocol/messages.ts'
import type { Log } from '../world.ts'
import type { ResourceQuestion } from './access-review.ts'
import type { LastUses } from './certificate-uses.ts'
import type { OwnRequest } from './own-endpoints.ts'
import type { RevocationOrder } from './principals.ts'

/**
 * Certificates as people see and end them (PROTOCOL §8.3): one's own, and everybody's for whoever may list or
 * delete the Secrets they are kept in, which the API server is asked as the caller.
 */
export interface OwnCertificateSources {
  readonly principals: {
    certificatesOf(user: string | undefined, where: 'list' | 'bin'): IssuedCertificate[]
    revoke(order: RevocationOrder): Promise<unknown>
    purge(order: { user: string; serial: string; by: string }): Promise<void>
    purgedBy(serial: string): string | undefined
    restore(order: { user: string; serial: string }): Promise<void>
    secretName(user: string): string
    ownerOf(what: { readonly device: string } | { readonly serial: string }): string | undefined
  }
  /** Whose a device is by the directory and by tokens, whether it ever was here or not. */
  deviceOwner(device: string): string | undefined
  /** Key ids of a user's devices, by the same. */
  devicesOf(user: string): readonly string[]
  readonly log: Log
  /** When each certificate was used last, by fingerprint, in every replica. */
  readonly uses: { last(): Promise<LastUses> }
  /** Asks the API server as the caller. */
  mayCaller(caller: Impersonation, question: ResourceQuestion): Promise<boolean>
}

/** @throws AccessDeniedError for everybody's without the right; UsageError MCM_BAD_REQUEST */
export async function listCertificates(
  sources: OwnCertificateSources,
  { query, standing, certificate }: OwnRequest,
): Promise<IssuedCertificate[]> {
  const of = query.get('of') ?? 'self'
  const where = query.get('in') ?? 'list'
  if ((of !== 'self' && of !== 'all') || (where !== 'list' && where !== 'bin'))
    throw new UsageError(
      'MCM_BAD_REQUEST',
      'certificates are of=all or one’s own, in=bin or listed',
    )
  if (of === 'all') await requireRightToList(sources, standing.impersonation)
  const user = of === 'all' ? undefined : certificate.user
  const uses = await sources.uses.last()
  return sources.principals.certificatesOf(user, where).map((each) => {
    const lastUsed = uses.get(each.fingerprint)
    return lastUsed ? { ...each, lastUsed } : each
  })
}

/** @throws UsageError, AccessDeniedError, NotFoundError, UnreachableError */
export async function revoke(sources: OwnCertificateSources, request: OwnRequest): Promise<void> {
  const parsed = revocationSchema.safeParse(await request.body())
  if (!parsed.success)
    throw new UsageError('MCM_BAD_REQUEST', 'a revocation names one device, serial or user')
  const order = parsed.data
  const owner = 'user' in order ? order.user : ownerFor(sources, request, order)
  const isOwn = !('user' in order) && owner === request.certificate.user
  const user = await requireOwner(sources, request, owner, isOwn)
  // By the ids: when they came is their own word, and may be later than this agent's now.
  const all = 'user' in order ? { devices: sources.devicesOf(user) } : {}
  await sources.principals.revoke({ ...order, user, ...all })
  noteEnding(sources, request, 'revoked', { ...order, user })
}

/**
 * The directory's word comes before that of the certificates here: a device may be ended before it ever comes. One that
 * nobody has becomes, so that it can be ended, one of a caller whom a token let in: it may come yet, and theirs
 * can be ended by no statement of their own. It concerns that caller's name only.
 */
function ownerFor(
  { principals, deviceOwner }: OwnCertificateSources,
  { standing, certificate }: OwnRequest,
  order: { readonly device: string } | { readonly serial: string },
): string | undefined {
  if (!('device' in order)) return principals.ownerOf(order)
  const known = deviceOwner(order.device) ?? principals.ownerOf(order)
  return known ?? (standing.isAdmitted ? certificate.user : undefined)
}

/** The audit has the path of a request, and what it ended is in the body. */
function noteEnding(
  { log }: OwnCertificateSources,
  { certificate }: OwnRequest,
  how: 'revoked' | 'purged' | 'restored',
  what: { readonly user: string; readonly device?: string; readonly serial?: string },
): void {
  const { user, device, fingerprint } = certificate
  const { user: of, ...rest } = what
  const by = { by: user, byDevice: device, byCertificate: fingerprint }
  log.info('certificate_ended', { how, user: of, ...rest, ...by })
}

/** @throws as `revoke` */
export async function purge(sources: OwnCertificateSources, request: OwnRequest): Promise<void> {
  const serial = await serialIn(request)
  const owner = sources.principals.ownerOf({ serial })
  const isOwn = owner === request.certificate.user
  const user = await requireOwner(sources, request, owner, isOwn)
  await sources.principals.purge({ user, serial, by: request.certificate.user })
  noteEnding(sources, request, 'purged', { user, serial })
}

/** What somebody else has put into the bin is not for its owner to take out. @throws as `revoke` */
export async function restore(sources: OwnCertificateSources, request: OwnRequest): Promise<void> {
  const serial = await serialIn(request)
  const { user: caller } = request.certificate
  const owner = sources.principals.ownerOf({ serial })
  const isOwn = owner === caller && sources.principals.purgedBy(serial) === caller
  const user = await requireOwner(sources, request, owner, isOwn)
  if (sources.principals.purgedBy(serial) === undefined)
    throw new NotFoundError('MCM_NOT_FOUND', 'no such certificate is in the bin')
  await sources.principals.restore({ user, serial })
  noteEnding(sources, request, 'restored', { user, serial })
}

async function serialIn(request: OwnRequest): Promise<string> {
  const parsed = binnedSchema.safeParse(await request.body())
  if (parsed.success) return parsed.data.serial
  throw new UsageError('MCM_BAD_REQUEST', 'the serial of one certificate is wanted')
}

/**
 * Whose it is would tell a stranger something, so the right is asked before it is said that nobody owns it.
 */
async function requireOwner(
  sources: OwnCertificateSources,
  { standing }: OwnRequest,
  owner: string | undefined,
  isOwn: boolean,
): Promise<string> {
  if (!isOwn) await requireRightToEnd(sources, standing.impersonation, owner ?? '')
  if (owner !== undefined) return owner
  throw new NotFoundError('MCM_NOT_FOUND', 'no certificate here is of that device or serial')
}

/** Whoever may delete the Secret with a user’s certificates may end them. */
async function requireRightToEnd(
  sources: OwnCertificateSources,
  caller: Impersonation,
  user: string,
): Promise<void> {
  const name = user === '' ? '' : sources.principals.secretName(user)
  if (await sources.mayCaller(caller, onSecrets('delete', name))) return
  throw new AccessDeniedError('MCM_FORBIDDEN', 'you may revoke your own devices only', {
    hint: `revoking others needs the right to delete Secrets in namespace ${AGENT_NAMESPACE}`,
  })
}

async function requireRightToList(
  sources: OwnCertificateSources,
  caller: Impersonation,
): Promise<void> {
  if (await sources.mayCaller(caller, onSecrets('list', ''))) return
  throw new AccessDeniedError('MCM_FORBIDDEN', 'you may see your own certificates only', {
    hint: `everybody’s need the right to list Secrets in namespace ${AGENT_NAMESPACE}`,
  })
}

function onSecrets(verb: string, name: string): ResourceQuestion {
  return { verb, group: '', resource: 'secrets', namespace: AGENT_NAMESPACE, name }
}
