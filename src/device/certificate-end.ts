import type { AgentApi } from '../client/agent.ts'
import { type ClusterRecord, WHENEVER } from '../directory/state.ts'
import { EXIT_SOME_FAILED, NotFoundError, UsageError } from '../errors.ts'
import type { Revocation } from '../protocol/messages.ts'
import {
  type CertificateList,
  type CertificateRow,
  chosenClusters,
  listCertificates,
} from './certificate-list.ts'
import { withCluster } from './cluster-access.ts'
import { problemAt } from './cluster-problem.ts'
import { nameOfDevice, revocationOf } from './revocation-subject.ts'
import type { Traveller } from './way-to-agent.ts'

/**
 * Ending certificates at the agents that know them: revoked for good, or into the bin and out of it. The
 * directory is not changed: who is out of the whole fleet, `mcm revoke` says.
 */

/** What it is about: certificates, or a device, or a user. */
export interface EndingWish {
  /** Serials or fingerprints, or beginnings of them. */
  readonly certificates: readonly string[]
  /** Name or id of a device, or a beginning of the id. */
  readonly device?: string
  readonly user?: string
  /** As for `chosenClusters`. */
  readonly clusters: readonly string[]
}

/** What somebody should know before it is done. */
export interface Risk {
  /** high: it cannot be undone, and more than one certificate goes. */
  readonly level: 'low' | 'high'
  /** To be typed where it is high. */
  readonly name: string
  /** What is lost, one sentence each. */
  readonly lost: readonly string[]
}

/** Says no by throwing. */
export type AskFirst = (risk: Risk) => Promise<void>

export interface EndedCertificates {
  readonly action: 'revoked' | 'purged' | 'restored'
  readonly certificates: readonly CertificateRow[]
  readonly problems: CertificateList['problems']
}

/** 0 when every cluster was asked and told, else EXIT_SOME_FAILED. */
export function exitCodeOfCertificates({ problems }: Pick<CertificateList, 'problems'>): number {
  return problems.length > 0 ? EXIT_SOME_FAILED : 0
}

interface Order {
  readonly cluster: ClusterRecord
  readonly tell: (agent: AgentApi) => Promise<void>
}

/**
 * Revokes certificates, a device or a user, at the agents. One's own, or for whoever may delete Secrets of
 * the agent anybody's. @throws NotFoundError MCM_NOT_FOUND, UsageError MCM_USAGE; what `ask` throws
 */
export async function revokeCertificates(
  session: Traveller,
  wish: EndingWish,
  ask: AskFirst,
): Promise<EndedCertificates> {
  if (!isWish(wish)) throw noWish()
  const found = await findCertificates(session, wish, 'both')
  if (wish.certificates.length > 0) {
    requireSome(found, wish)
    const orders = each(session, found.certificates, (agent, serial) => agent.revoke({ serial }))
    await ask(riskOfRevoking(session, wish, found.certificates))
    return finish('revoked', session, found, orders)
  }
  const revocation = revocationOf(session, wish, found)
  const certificates = found.certificates.filter((row) => isOf(row, revocation))
  await ask(riskOfRevoking(session, wish, certificates, revocation))
  const orders = everywhere(session, wish, revocation)
  return finish('revoked', session, { ...found, certificates }, orders)
}

/** Into the bin: what is wished, or without a wish one's own that stand no more. @throws as above */
export async function purgeCertificates(
  session: Traveller,
  wish: EndingWish,
  ask: AskFirst,
): Promise<EndedCertificates> {
  const { certificates, problems } = await findCertificates(session, wish, 'list')
  const chosen = isWish(wish)
    ? certificates
    : certificates.filter(({ state }) => state !== 'stands')
  requireSome({ certificates: chosen, problems }, wish)
  await ask(riskOfPurging(chosen))
  const orders = each(session, chosen, (agent, serial) => agent.purge(serial))
  return finish('purged', session, { certificates: chosen, problems }, orders)
}

/** Out of the bin, as they were. @throws as above */
export async function restoreCertificates(
  session: Traveller,
  wish: EndingWish,
): Promise<EndedCertificates> {
  if (!isWish(wish)) throw noWish()
  const found = await findCertificates(session, wish, 'bin')
  requireSome(found, wish)
  const orders = each(session, found.certificates, (agent, serial) => agent.restore(serial))
  return finish('restored', session, found, orders)
}

/** One's own that fit, and where none does everybody's. */
async function findCertificates(
  session: Traveller,
  { certificates, device, user, clusters }: EndingWish,
  where: 'list' | 'bin' | 'both',
): Promise<CertificateList> {
  for (const text of certificates) requireLongEnough(text)
  const query = { clusters, ...(user === undefined ? {} : { user }) }
  const bins = where === 'both' ? [false, true] : [where === 'bin']
  const isWanted = (row: CertificateRow) =>
    (certificates.length === 0 || certificates.some((text) => isCertificate(row, text))) &&
    (device === undefined || row.device.id.startsWith(device) || row.device.name === device)
  const listed = async (all: boolean) => {
    const lists = await Promise.all(
      bins.map((bin) => listCertificates(session, { ...query, all, bin })),
    )
    const found = lists.flatMap((list) => list.certificates).filter(isWanted)
    for (const text of certificates) requireOne(found, text)
    const problems = new Map(
      lists.flatMap((list) => list.problems.map((each) => [each.cluster, each] as const)),
    )
    return { certificates: found, problems: [...problems.values()] }
  }
  const own = await listed(false)
  const isOwnAffair = certificates.length === 0 && device === undefined
  return own.certificates.length > 0 || isOwnAffair || user !== undefined ? own : listed(true)
}

const MIN_CHARACTERS = 6

function requireLongEnough(text: string): void {
  if (text.length >= MIN_CHARACTERS) return
  throw new UsageError('MCM_USAGE', `${JSON.stringify(text)} may begin more than one serial`, {
    hint: `give ${MIN_CHARACTERS} characters of a serial or fingerprint, as mcm certs shows them`,
  })
}

function isCertificate({ serial, fingerprint }: CertificateRow, text: string): boolean {
  return serial.startsWith(text.toLowerCase()) || fingerprint.startsWith(text)
}

/** Whoever types a beginning means one certificate. @throws UsageError MCM_USAGE */
function requireOne(rows: readonly CertificateRow[], text: string): void {
  const fitting = rows.filter((row) => isCertificate(row, text))
  const serials = new Set(fitting.map(({ serial }) => serial))
  if (serials.size <= 1) return
  throw new UsageError('MCM_USAGE', `${serials.size} certificates begin with ${text}`, {
    hint: `give more of one: ${[...serials].slice(0, 8).join(', ')}`,
  })
}

function isOf({ device, user }: CertificateRow, revocation: Revocation): boolean {
  if ('device' in revocation) return device.id === revocation.device
  return 'user' in revocation && user === revocation.user
}

function each(
  { directory }: Traveller,
  rows: readonly CertificateRow[],
  tell: (agent: AgentApi, serial: string) => Promise<void>,
): Order[] {
  return rows.map(({ clusterId, serial }) => ({
    cluster: directory.state.clusters.get(clusterId)!,
    tell: (agent) => tell(agent, serial),
  }))
}

function everywhere(session: Traveller, wish: EndingWish, revocation: Revocation): Order[] {
  return placesOf(session, wish, revocation).map((cluster) => ({
    cluster,
    tell: (agent) => agent.revoke(revocation),
  }))
}

/** Those named. Otherwise of a device those that its user may reach, if the directory tells: others know nothing of it. */
function placesOf(
  session: Traveller,
  { clusters }: EndingWish,
  revocation: Revocation,
): readonly ClusterRecord[] {
  const places = chosenClusters(session, clusters)
  const { state } = session.directory
  const owner = 'device' in revocation ? state.deviceOwner(revocation.device) : undefined
  if (clusters.length > 0 || !owner) return places
  const theirs = places.filter(({ id }) => state.isMember(owner.user.name, id, WHENEVER))
  return theirs.length > 0 ? theirs : places
}

async function finish(
  action: EndedCertificates['action'],
  session: Traveller,
  { certificates, problems }: CertificateList,
  orders: readonly Order[],
): Promise<EndedCertificates> {
  // Whoever ends themselves is let bring nothing more.
  const isOneself = certificates.some(({ user }) => user === session.state.user)
  const unbrought = action === 'revoked' && !isOneself ? new Map<string, string>() : undefined
  const more = await Promise.all(orders.map((order) => tellAgent(session, order, unbrought)))
  const lacking = [...(unbrought ?? [])].map(([cluster, problem]) => ({ cluster, problem }))
  return { action, certificates, problems: [...problems, ...more.flat(), ...lacking] }
}

async function tellAgent(
  session: Traveller,
  { cluster, tell }: Order,
  unbrought: Map<string, string> | undefined,
): Promise<CertificateList['problems']> {
  const note = (why: string) => void unbrought?.set(cluster.name, why)
  try {
    await withCluster(session, cluster, ({ agent }) => tell(agent), unbrought && note)
    return []
  } catch (error) {
    return [problemAt(cluster, error)]
  }
}

function riskOfRevoking(
  session: Traveller,
  wish: EndingWish,
  rows: readonly CertificateRow[],
  revocation?: Revocation,
): Risk {
  const lost = rows.map(
    (row) => `${describe(row)}: it opens nothing any more, what runs on it is cut`,
  )
  const { certificates, device, user } = wish
  if (revocation === undefined) {
    const after =
      'its device gets another one by mcm certs renew there, or when it is time to renew'
    return { level: 'low', name: certificates[0]!, lost: [...lost, after] }
  }
  const where = placesOf(session, wish, revocation)
    .map(({ name }) => name)
    .join(', ')
  const forever =
    device === undefined
      ? `${user} gets no certificate at ${where} with any device there is today, only with a new one`
      : `${nameOfDevice(session, revocation)} never gets a certificate at ${where} again`
  return { level: 'high', name: device ?? user ?? '', lost: [...lost, forever] }
}

function riskOfPurging(rows: readonly CertificateRow[]): Risk {
  const ending = rows.filter(({ state }) => state === 'stands' || state === 'replaced')
  const lost = ending.map((row) => `${describe(row)}: what runs on it is cut`)
  const bin = `${rows.length} go into the bin: mcm certs restore brings them back until they expire`
  return { level: 'low', name: rows[0]!.serial, lost: [...lost, bin] }
}

function describe({ serial, user, device, cluster, lastUsed }: CertificateRow): string {
  const used = lastUsed ? `last used ${lastUsed.time}` : 'never used'
  return `${serial.slice(0, 8)} of ${user} on ${device.name ?? device.id.slice(0, 8)} at ${cluster} (${used})`
}

function isWish({ certificates, device, user }: EndingWish): boolean {
  return certificates.length > 0 || device !== undefined || user !== undefined
}

function noWish(): UsageError {
  return new UsageError('MCM_USAGE', 'nothing is named', {
    hint: 'name a serial or fingerprint as mcm certs shows it, or --device or --user',
  })
}

function requireSome({ certificates, problems }: CertificateList, wish: EndingWish): void {
  if (certificates.length > 0) return
  const what = wish.certificates.join(', ') || wish.device || wish.user
  const none = what === undefined ? 'all your certificates stand' : `no certificate fits ${what}`
  throw new NotFoundError('MCM_NOT_FOUND', none, {
    hint: hintFor(problems, 'mcm certs lists them'),
  })
}

/** What to try: where clusters could not be asked, that. */
function hintFor(problems: CertificateList['problems'], otherwise: string): string {
  const unasked = problems.map(({ cluster, problem }) => `${cluster}: ${problem}`).join('; ')
  return unasked === '' ? otherwise : `not everybody could be asked: ${unasked}`
}
