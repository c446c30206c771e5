import { Directory } from '../directory/directory.ts'
import { signInviteProof } from '../directory/proofs.ts'
import { inviteSigningKey, type SigningKey } from '../directory/signing-key.ts'
import type { InviteRecord, UserRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { IdentityError, isMcmError, TrustError } from '../errors.ts'
import type { Link } from '../protocol/link.ts'
import { INVITE_EXPORTER_LABEL } from '../protocol/messages.ts'
import { type Draft, signDrafts } from './append.ts'
import { p256 } from './found-fleet.ts'
import {
  forgetAttempt,
  isRefusal,
  type LoggedIn,
  type LoginAttempt,
  storeDeviceKey,
} from './login-attempt.ts'
import { type PendingLogin, writePendingLogin } from './pending-login.ts'

type JoinLink = Link & { kind: 'join' }

const MAX_ATTEMPTS = 8

/**
 * Joins as the link's invited user: reads and verifies the whole directory first, then signs this device
 * into it with the invite key and the device key. The invite secret goes nowhere.
 * @throws IdentityError MCM_INVITE_USED MCM_INVITE_EXPIRED, TrustError
 */
export async function joinFleet(
  attempt: LoginAttempt,
  link: JoinLink,
  hubFleet: string | undefined,
): Promise<LoggedIn> {
  if (hubFleet !== link.fleet) throw otherFleet(link, hubFleet)
  const inviteKey = inviteSigningKey(link.secret, link.fleet)
  for (let tries = 1; ; tries++) {
    const directory = await readAsInvited(attempt, link, inviteKey)
    const joined = alreadyJoined(attempt, directory)
    if (joined) return joined
    const { user, invite } = requireInvite(attempt, directory, inviteKey)
    await prepare(attempt, link, user, inviteKey)
    try {
      return await append(attempt, directory, { user, invite, inviteKey })
    } catch (error) {
      // Somebody else's statement came first: the new directory decides what to do.
      const isConflict = isMcmError(error) && error.code === 'MCM_CONFLICT'
      if (isRefusal(error)) await forgetAttempt(attempt.device)
      if (!isConflict || tries === MAX_ATTEMPTS) throw error
    }
  }
}

async function readAsInvited(
  { device, connection }: LoginAttempt,
  link: JoinLink,
  inviteKey: SigningKey,
): Promise<Directory> {
  return device.progress.step('reading and verifying the directory', async () => {
    const invite = await signInviteProof(inviteKey, {
      fleet: link.fleet,
      exporter: connection.exporter(INVITE_EXPORTER_LABEL).toString('base64url'),
      time: formatTime(device.world.now()),
    })
    const query = { after: -1, details: 'all', invite } as const
    return Directory.restore(link.fleet, await connection.hub.directory(query))
  })
}

/** The answer to an earlier try was lost, and the hub had accepted it. */
function alreadyJoined(attempt: LoginAttempt, directory: Directory): LoggedIn | undefined {
  const owner = directory.state.deviceOwner(attempt.key.id)
  if (!owner || !directory.state.isLiveDevice(attempt.key.id)) return undefined
  return { directory, user: owner.user.name, deviceName: owner.device.name }
}

interface Invited {
  readonly user: UserRecord
  readonly invite: InviteRecord
}

function requireInvite(
  { device }: LoginAttempt,
  directory: Directory,
  inviteKey: SigningKey,
): Invited {
  const found = [...directory.state.users.values()]
    .flatMap((user) => user.invites.map((invite) => ({ user, invite })))
    .find(({ invite }) => invite.key === inviteKey.id)
  if (!found) throw unknownInvite()
  if (found.invite.used) throw usedInvite(found.user)
  if (device.world.now() > found.invite.expires) throw expired(found)
  return found
}

async function prepare(
  attempt: LoginAttempt,
  link: JoinLink,
  user: UserRecord,
  inviteKey: SigningKey,
): Promise<void> {
  const { device, key, options } = attempt
  const pending: PendingLogin = {
    fleet: link.fleet,
    user: user.name,
    device: { id: key.id, name: options.deviceName },
    secrets: device.secrets.kind,
    invite: inviteKey.id,
  }
  await storeDeviceKey(device, key)
  await writePendingLogin(device.home, pending)
}

async function append(
  attempt: LoginAttempt,
  directory: Directory,
  invited: Invited & { inviteKey: SigningKey },
): Promise<LoggedIn> {
  const { device, key, options, connection } = attempt
  const { user, invite, inviteKey } = invited
  const draft: Draft = {
    type: 'device',
    detail: { user: user.name, name: options.deviceName, key: p256(key) },
    invite: invite.seq,
    signers: [inviteKey, key],
  }
  const { statements, details } = await signDrafts(device.world, directory.head, [draft])
  const extended = await directory.extend({ statements, details })
  await device.progress.step('joining the fleet', () =>
    connection.hub.append({ statements, details }),
  )
  return { directory: extended, user: user.name, deviceName: options.deviceName }
}

function otherFleet(link: JoinLink, hubFleet: string | undefined): TrustError {
  const shown = hubFleet === undefined ? 'no fleet' : `fleet ${hubFleet}`
  return new TrustError(
    'MCM_DIRECTORY_INVALID',
    `the hub serves ${shown}, this link is for fleet ${link.fleet}`,
    { hint: 'ask whoever sent the link; nothing was written' },
  )
}

function unknownInvite(): IdentityError {
  return new IdentityError(
    'MCM_INVITE_EXPIRED',
    'the directory knows no such invite: it was revoked, or the link is of another fleet',
    { hint: 'ask an administrator for a new invite (mcm invite)' },
  )
}

function usedInvite(user: UserRecord): IdentityError {
  return new IdentityError('MCM_INVITE_USED', `this invite for ${user.name} was used already`, {
    hint: 'if that was not you, tell an administrator at once; otherwise ask for a new invite',
  })
}

function expired({ user, invite }: Invited): IdentityError {
  const when = formatTime(invite.expires)
  return new IdentityError(
    'MCM_INVITE_EXPIRED',
    `this invite for ${user.name} expired at ${when}`,
    {
      hint: `ask an administrator for a new one: mcm invite ${user.name}`,
    },
  )
}
