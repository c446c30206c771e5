import { X509Certificate } from 'node:crypto'
import type { ProviderDetail } from '../directory/provider.ts'
import type { ProviderRecord } from '../directory/state.ts'
import { NotFoundError, UsageError } from '../errors.ts'
import { formatLink } from '../protocol/link.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import type { FleetSession } from './fleet-session.ts'
import { hubOfLink } from './invite.ts'

/** Which identity providers the fleet takes tokens of (PROTOCOL §11): signed by an administrator, shown to everybody. */

export interface Provider {
  readonly name: string
  readonly issuer: string
  readonly domain: string
  /** Seconds. */
  readonly maximumAge: number
  readonly hasOwnCa: boolean
  readonly people?: Omit<NonNullable<ProviderDetail['people']>, 'clientSecret'> & {
    readonly hasClientSecret: boolean
  }
  readonly workloads: ProviderDetail['workloads']
  /** What people and programs log in with. It opens nothing by itself. */
  readonly link: string
}

export type ProviderWish = Omit<ProviderDetail, 'action' | 'ca'> & {
  /** PEM. */
  readonly caPem?: string
}

export function listProviders(session: FleetSession): Provider[] {
  const { providers } = session.directory.state
  return [...providers.values()].map((record) => described(session, record))
}

/** @throws AccessDeniedError MCM_FORBIDDEN, UsageError, TrustError when it would have no effect */
export async function setProvider(session: FleetSession, wish: ProviderWish): Promise<Provider> {
  requireAdmin(session, 'change identity providers')
  requireSomebody(wish)
  const { caPem, name, issuer, domain, maximumAge, people, workloads } = wish
  const ca = caPem === undefined ? {} : { ca: derBase64(caPem) }
  const rest = { maximumAge, ...(people ? { people } : {}), workloads }
  const detail = { action: 'set' as const, name, issuer, domain, ...ca, ...rest }
  const after = await appendStatements(session, ({ key }) => [
    { type: 'oidc', detail, signers: [key] },
  ])
  return described(after, after.directory.state.providers.get(name)!)
}

/** Ends everybody whom its tokens admitted. @throws NotFoundError MCM_NOT_FOUND */
export async function removeProvider(session: FleetSession, name: string): Promise<Provider> {
  requireAdmin(session, 'change identity providers')
  const record = session.directory.state.providers.get(name)
  if (!record) throw unknownProvider(session, name)
  await appendStatements(session, ({ directory, key }) =>
    directory.state.providers.has(name)
      ? [{ type: 'oidc', detail: { action: 'remove', name }, signers: [key] }]
      : [],
  )
  return described(session, record)
}

function described(session: FleetSession, record: ProviderRecord): Provider {
  const { name, issuer, domain, maximumAge, people, workloads, caDer, detailHash } = record
  const { fleet } = session.state
  const link = formatLink({ kind: 'oidc', ...hubOfLink(session), fleet, detail: detailHash })
  const shown = people && describedPeople(people)
  const own = { maximumAge, hasOwnCa: caDer !== undefined, ...(shown ? { people: shown } : {}) }
  return { name, issuer, domain, ...own, workloads, link }
}

function describedPeople({ clientSecret, ...people }: NonNullable<ProviderDetail['people']>) {
  return { ...people, hasClientSecret: clientSecret !== undefined }
}

function requireSomebody({ people, workloads, name }: ProviderWish): void {
  if (people || workloads.length > 0) return
  throw new UsageError('MCM_USAGE', `provider ${name} would let in nobody`, {
    hint: 'give --client-id for people, or --workload for programs',
  })
}

function derBase64(pem: string): string {
  try {
    return new X509Certificate(pem).raw.toString('base64')
  } catch (cause) {
    throw new UsageError('MCM_BAD_FILE', 'the CA of the provider is no certificate in PEM', {
      cause,
    })
  }
}

function unknownProvider({ directory }: FleetSession, name: string): NotFoundError {
  const names = [...directory.state.providers.keys()].join(', ') || 'none'
  return new NotFoundError('MCM_NOT_FOUND', `there is no identity provider ${name}`, {
    hint: `there are: ${names}`,
  })
}
