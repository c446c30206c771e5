import { formatTime } from '../directory/time.ts'
import { UnreachableError } from '../errors.ts'
import type { Head } from '../protocol/messages.ts'
import { type CertificateCheck, checkCertificate } from './certificate-check.ts'
import { readCertificateFile } from './certificate-file.ts'
import { reachableClusters } from './cluster-lookup.ts'
import type { Device } from './device.ts'
import { offlineDirectory } from './directory-cache.ts'
import { type FleetSession, withFleet } from './fleet-session.ts'
import { certificatePath } from './home.ts'
import { requireState } from './state.ts'

/** Who this device is, as the directory has it; also without a hub. */
export interface Identification {
  readonly user: string
  readonly groups: readonly string[]
  readonly isAdmin: boolean
  readonly device: { readonly id: string; readonly name: string }
  readonly keys: 'keychain' | 'file'
  readonly fleet: string
  readonly directory: Head
  readonly hub: { readonly endpoints: readonly string[]; readonly problem?: string }
  readonly clusters: readonly {
    readonly name: string
    readonly id: string
    /** RFC 3339; absent: no certificate kept here. */
    readonly certificateUntil?: string
    /** Whether its agent accepts it now; absent when that could not be asked. */
    readonly isAccepted?: boolean
    /** Why not, and what to do. */
    readonly problem?: string
    readonly hint?: string
  }[]
}

/** @throws IdentityError MCM_NOT_LOGGED_IN, AccessDeniedError MCM_REVOKED, TrustError, StateError */
export async function whoami(device: Device): Promise<Identification> {
  const { home } = device
  const { problem, checks } = await askHub(device)
  const state = await requireState(home)
  const directory = await offlineDirectory(home)
  const endpoints = directory.state.hubs.flatMap((hub) => hub.endpoints)
  const clusters = reachableClusters(directory, state.user).map(async ({ id, name }) => {
    const kept = await readCertificateFile(certificatePath(home, id))
    const until = kept ? { certificateUntil: formatTime(new Date(kept.notAfter)) } : {}
    return { name, id, ...until, ...checks.get(id) }
  })
  return {
    user: state.user,
    groups: directory.state.users.get(state.user)?.groups ?? [],
    isAdmin: directory.state.admins.has(state.device.id),
    device: state.device,
    keys: state.secrets,
    fleet: state.fleet,
    directory: state.head,
    hub: {
      endpoints: endpoints.length > 0 ? endpoints : state.hub.endpoints,
      ...(problem === undefined ? {} : { problem }),
    },
    clusters: await Promise.all(clusters),
  }
}

interface HubAnswer {
  /** Why no hub answers. */
  readonly problem?: string
  /** By cluster id; what agents say of the certificates kept here. */
  readonly checks: ReadonlyMap<string, CertificateCheck>
}

/** Only a hub that does not answer is passed over; what is wrong with it otherwise is an error. */
async function askHub(device: Device): Promise<HubAnswer> {
  try {
    return { checks: await withFleet(device, askAgents) }
  } catch (error) {
    if (error instanceof UnreachableError) return { problem: error.message, checks: new Map() }
    throw error
  }
}

async function askAgents(session: FleetSession): Promise<Map<string, CertificateCheck>> {
  const checks = new Map<string, CertificateCheck>()
  const clusters = reachableClusters(session.directory, session.state.user)
  const ask = clusters.map(async (cluster) => {
    const check = await checkCertificate(session, cluster)
    if (check) checks.set(cluster.id, check)
  })
  await session.device.progress.step('asking the agents of your clusters', () => Promise.all(ask))
  return checks
}
