import { tokenJudge } from '../client/provider-token.ts'
import { type Admission, admissionSchema, plainDeviceName } from '../directory/admission.ts'
import { withAdmitted } from '../directory/admitted-directory.ts'
import type { Directory } from '../directory/directory.ts'
import { formatTime } from '../directory/time.ts'
import { IdentityError, NotFoundError, UnreachableError } from '../errors.ts'
import { keyId, publicJwk } from '../protocol/keys.ts'
import type { AdmittedDevice, DetailEnvelope, TokenAdmission } from '../protocol/messages.ts'
import type { World } from '../world.ts'
import type { Book } from './book.ts'
import type { Peer } from './peer.ts'
import type { AdmissionRecord, HubStore } from './store.ts'

/**
 * People whom a token lets in (PROTOCOL §11.3), as far as this hub is concerned: it keeps strangers away from
 * agents. What it believes counts nowhere else. Invariant: whoever was told that they are in is in
 * after a restart as well.
 */
export interface Guests {
  /** The phone book, with those who are admitted at this moment. */
  readonly directory: Directory
  /**
   * Lets the peer's own key in. @throws IdentityError MCM_TOKEN_REFUSED MCM_DEVICE_UNKNOWN,
   * AccessDeniedError, UnreachableError
   */
  admit(peer: Peer, shown: TokenAdmission): Promise<Admission>
  /** What an `oidc` statement that stands says, for whoever knows its hash. @throws NotFoundError */
  providerDetail(hash: string): DetailEnvelope
  /** Who is admitted now. */
  list(): AdmittedDevice[]
  /** Lets a device in no longer, whatever token it brings. */
  end(device: string): Promise<void>
}

/** Whoever waits for a provider that does not answer keeps nobody else from coming in. */
const MAX_JUDGED_AT_ONCE = 8

interface GuestDeps {
  readonly world: World
  readonly book: Book
  readonly store: HubStore
  proxyFor(target: URL): string | undefined
}

export async function openGuests({ world, book, store, proxyFor }: GuestDeps): Promise<Guests> {
  const admitted = withAdmitted(() => world.now())
  const judge = tokenJudge({ now: () => world.now(), proxyFor })
  let admissions: readonly Admission[] = (await store.readAdmissions()).flatMap(readAdmission)
  const endedDevices = new Set(await store.readEndedDevices())
  let underWay = 0
  const directory = () => admitted(book.current, admissions)

  async function judged(peer: Peer, { token, salt, device }: TokenAdmission): Promise<Admission> {
    const key = publicJwk(device.key)
    if (!key || keyId(key) !== peer.key) throw otherKey()
    const { fleet, state } = book.current
    const holder = { fleet: fleet ?? '', device: peer.key, token, salt }
    const { identity, ...rest } = await judge.judge(state.providers.values(), holder)
    return {
      ...rest,
      ...identity,
      device: { id: peer.key, key, name: plainDeviceName(device.name) },
    }
  }

  async function keep(admission: Admission): Promise<void> {
    const now = world.now()
    await store.writeAdmission(recordOf(admission), formatTime(now))
    const others = admissions.filter(
      ({ device, until }) => device.id !== admission.device.id && until > now,
    )
    admissions = [...others, admission]
  }

  return {
    get directory() {
      return directory()
    },
    async admit(peer, shown) {
      if (endedDevices.has(peer.key ?? '')) throw endedDevice()
      if (underWay >= MAX_JUDGED_AT_ONCE) throw busy()
      underWay += 1
      try {
        const admission = await judged(peer, shown)
        const tried = book.current.admitting([...admissions, admission]).state
        if (!tried.isLiveDevice(admission.device.id)) throw ended(admission)
        if (endedDevices.has(admission.device.id)) throw endedDevice()
        await keep(admission)
        return admission
      } finally {
        underWay -= 1
      }
    },
    providerDetail(hash) {
      const { state, details } = book.current
      const provider = [...state.providers.values()].find((each) => each.detailHash === hash)
      const detail = provider && details.get(provider.seq)
      if (detail) return detail
      throw noProvider()
    },
    async end(device) {
      endedDevices.add(device)
      await store.endAdmission(device)
      admissions = admissions.filter((each) => each.device.id !== device)
    },
    list() {
      const { state } = directory()
      return admissions
        .filter(({ device }) => state.isLiveDevice(device.id))
        .map(({ device, user, bot, tokenTime, until }) => ({
          id: device.id,
          name: device.name,
          user,
          bot,
          since: formatTime(tokenTime),
          until: formatTime(until),
        }))
    },
  }
}

function recordOf(admission: Admission): AdmissionRecord {
  const { device, until } = admission
  return { device: device.id, until: formatTime(until), json: JSON.stringify(admission) }
}

/** One that cannot be read lets nobody in; its owner logs in again. */
function readAdmission({ json }: AdmissionRecord): Admission[] {
  const parsed = admissionSchema.safeParse(JSON.parse(json))
  return parsed.success ? [parsed.data] : []
}

function otherKey(): IdentityError {
  return new IdentityError('MCM_DEVICE_UNKNOWN', 'the connection is of another key than the device')
}

function ended({ user }: Admission): IdentityError {
  return new IdentityError('MCM_TOKEN_REFUSED', `${user} or this device of theirs was revoked`, {
    hint: 'ask an administrator: mcm grant brings a user back who was revoked',
  })
}

function endedDevice(): IdentityError {
  return new IdentityError('MCM_TOKEN_REFUSED', 'this device was ended by its owner', {
    hint: 'mcm logout, then mcm login --oidc makes a new one of this machine',
  })
}

function noProvider(): NotFoundError {
  return new NotFoundError(
    'MCM_NOT_FOUND',
    'this link is of an identity provider that is no more',
    {
      hint: 'ask an administrator for the link of today: mcm oidc',
    },
  )
}

function busy(): UnreachableError {
  return new UnreachableError('MCM_LIMIT', 'the hub is busy judging other tokens', {
    hint: 'try again in a moment',
  })
}
