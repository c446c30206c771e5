import { formatTime } from '../directory/time.ts'
import { UnreachableError } from '../errors.ts'
import type { Head } from '../protocol/messages.ts'
import { readCertificateFile } from './certificate-file.ts'
import { reachableClusters } from './cluster-lookup.ts'
import type { Device } from './device.ts'
import { offlineDirectory } from './directory-cache.ts'
import { withFleet } from './fleet-session.ts'
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
  }[]
}

/** @throws IdentityError MCM_NOT_LOGGED_IN, AccessDeniedError MCM_REVOKED, TrustError, StateError */
export async function whoami(device: Device): Promise<Identification> {
  const { home } = device
  const problem = await hubProblem(device)
  const state = await requireState(home)
  const directory = await offlineDirectory(home)
  const endpoints = directory.state.hubs.flatMap((hub) => hub.endpoints)
  const clusters = reachableClusters(directory, state.user).map(async ({ id, name }) => {
    const kept = await readCertificateFile(certificatePath(home, id))
    return { name, id, ...(kept ? { certificateUntil: formatTime(new Date(kept.notAfter)) } : {}) }
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

/** Only a hub that does not answer is passed over; what is wrong with it otherwise is an error. */
async function hubProblem(device: Device): Promise<string | undefined> {
  try {
    await withFleet(device, async () => undefined)
    return undefined
  } catch (error) {
    if (error instanceof UnreachableError) return error.message
    throw error
  }
}
