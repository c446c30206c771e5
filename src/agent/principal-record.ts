import { z } from 'zod'
import { type Admission, admissionSchema } from '../directory/admission.ts'
import { formatTime } from '../directory/time.ts'
import { AccessDeniedError, StateError } from '../errors.ts'
import {
  newStateSecret,
  principalSecretName,
  type StateSecret,
  secretValue,
  withValues,
} from './state-secret.ts'

/**
 * What one cluster remembers of one user: the certificates that stand, and what was revoked. Pure.
 * A certificate that is not in it is not on the allowlist.
 */
export interface PrincipalRecord {
  readonly user: string
  readonly certificates: readonly RecordedCertificate[]
  /** By key id; never forgotten. */
  readonly devices: Readonly<Record<string, RecordedDevice>>
  /**
   * When the user was revoked: whatever was theirs until then is over, a device of later is not.
   */
  readonly revoked?: Date
}

export interface RecordedCertificate {
  readonly fingerprint: string
  readonly serial: string
  readonly device: string
  readonly notBefore: Date
  readonly notAfter: Date
  /** Fingerprint of the CA that signed it; those of before this was written have none. */
  readonly authority?: string
  /** Fingerprint of the one that it takes the place of, until it is used for the first time. */
  readonly replaces?: string
  readonly revoked?: Date
  /** When a newer one took its place: no new request is let in from `REPLACED_OVERLAP_MS` later on. */
  readonly replaced?: Date
  /** It is in the bin. */
  readonly purged?: { readonly time: Date; readonly by: string }
}

export interface RecordedDevice {
  /** The end of the newest certificate it ever got. */
  readonly lastExpiry?: Date
  readonly revoked?: Date
  /** By which token it came, where it did (PROTOCOL §11.3). */
  readonly admission?: Admission
}

/** Whether certificates of the user CA with this fingerprint count now. */
export type CountingCas = (authority: string) => boolean

/** What to end: a whole user, one device, or one certificate. */
export type Ending = { readonly device: string } | { readonly serial: string } | 'everything'

/** For requests that are on their way with the old one when a new one comes. */
export const REPLACED_OVERLAP_MS = 5 * 60_000

const KEY = 'principal.json'
const VERSION = 1
/** More certificates of one device than this are not in use at once: the oldest leave the list. */
const MAX_CERTIFICATES_PER_DEVICE = 32
/** Ended certificates of one user that an agent which issues remembers: what it forgets is not on the list either. */
const MAX_ENDED_CERTIFICATES = 256
/** Half of what Kubernetes lets a Secret hold: a revocation always fits into the rest. */
const MAX_RECORD_BYTES = 512 * 1024
/** Keys that whoever comes by tokens has ended: each is remembered for good. */
const MAX_ENDED_DEVICES = 1_000
/** Of those the ones that were never here. */
const MAX_ENDED_STRANGERS = 64

const time = z.iso.datetime().transform((text) => new Date(text))
const keyId = z.string().regex(/^[A-Za-z0-9_-]{43}$/)
const schema = z.object({
  v: z.literal(VERSION),
  user: z.string().min(1),
  certificates: z.array(
    z.object({
      fingerprint: keyId,
      serial: z.string(),
      device: keyId,
      notBefore: time,
      notAfter: time,
      authority: keyId.optional(),
      replaces: keyId.optional(),
      revoked: time.optional(),
      replaced: time.optional(),
      purged: z.object({ time, by: z.string().min(1) }).optional(),
    }),
  ),
  devices: z.record(
    keyId,
    z.object({
      lastExpiry: time.optional(),
      revoked: time.optional(),
      admission: admissionSchema.optional(),
    }),
  ),
  revoked: time.optional(),
})

/** Nothing yet. */
export function newRecord(user: string): PrincipalRecord {
  return { user, certificates: [], devices: {} }
}

/** The record in a Secret. @throws StateError MCM_STATE_DAMAGED, and then nobody gets in by it */
export function readRecord(secret: StateSecret): PrincipalRecord {
  const result = schema.safeParse(jsonOf(secret))
  if (!result.success) throw damaged(secret)
  const { v: _, ...record } = result.data
  return record
}

/** The Secret that holds this record, in the place of `current` if there is one. */
export function recordSecret(
  cluster: string,
  record: PrincipalRecord,
  current: StateSecret | undefined,
): StateSecret {
  const values = { [KEY]: textOf(record) }
  if (current !== undefined) return withValues(current, values)
  return newStateSecret(principalSecretName(cluster, record.user), cluster, 'principal', values)
}

/**
 * With one more certificate, without those that have expired and the oldest beyond what one device
 * may hold. One that is there already stays as it is: two replicas may note the same.
 */
export function withCertificate(
  record: PrincipalRecord,
  certificate: RecordedCertificate,
  now: Date,
): PrincipalRecord {
  const { device, notAfter, fingerprint } = certificate
  if (record.certificates.some((each) => each.fingerprint === fingerprint)) return record
  const known = record.devices[device]
  const lastExpiry = later(known?.lastExpiry, notAfter)
  const standing = record.certificates.filter((each) => each.notAfter > now)
  // An ended one does not give way to these: where the owner issues, only this record says that it is.
  const own = standing.filter((each) => each.device === device && isStanding(each))
  const dropped = new Set(own.slice(0, Math.max(0, own.length + 1 - MAX_CERTIFICATES_PER_DEVICE)))
  const { replaces, ...facts } = certificate
  const isReplacing = standing.some(isOfDevice(replaces, device))
  return {
    ...record,
    certificates: [
      ...standing.filter((each) => !dropped.has(each)),
      isReplacing ? certificate : facts,
    ],
    devices: { ...record.devices, [device]: { ...known, lastExpiry } },
  }
}

/**
 * With what a token admits, in place of an older one of the same device, and without devices whose own are over:
 * programs come with a new key each time.
 */
export function withAdmission(
  record: PrincipalRecord,
  admission: Admission,
  now: Date,
): PrincipalRecord {
  const { id } = admission.device
  const standing = Object.entries(record.devices).filter(([, device]) => !isOver(device, now))
  const known = record.devices[id]
  if (!known && endedCount(record) >= MAX_ENDED_DEVICES) throw tooManyEnded(record)
  const isOlder = known?.admission && known.admission.tokenTime >= admission.tokenTime
  const device = isOlder ? known : { ...known, admission }
  return { ...record, devices: { ...Object.fromEntries(standing), [id]: device } }
}

/**
 * Without the devices that tokens admitted longest ago, and their certificates, where it would be too large;
 * `device` stays. Or one person's many keys would leave no room for their revocation.
 */
export function withRoom(record: PrincipalRecord, device: string): PrincipalRecord {
  if (Buffer.byteLength(textOf(record)) <= MAX_RECORD_BYTES) return record
  const oldest = Object.entries(record.devices)
    .flatMap(([id, { admission, revoked }]) =>
      admission && !revoked && id !== device ? [{ id, at: admission.tokenTime.getTime() }] : [],
    )
    .sort((a, b) => a.at - b.at)[0]
  if (!oldest) return record
  const gone = oldest.id
  const { [gone]: _, ...devices } = record.devices
  const certificates = record.certificates.filter((each) => each.device !== gone)
  return withRoom({ ...record, certificates, devices }, device)
}

/**
 * Without the ended certificates issued longest ago, beyond 256. Only for an agent that issues: there not to be on
 * the list is to be refused. Or somebody could renew and end their own until nothing more can be written.
 */
export function withoutOldEnded(record: PrincipalRecord): PrincipalRecord {
  const ended = record.certificates.filter((each) => !isStanding(each))
  if (ended.length <= MAX_ENDED_CERTIFICATES) return record
  const dropped = new Set(ended.slice(0, ended.length - MAX_ENDED_CERTIFICATES))
  return { ...record, certificates: record.certificates.filter((each) => !dropped.has(each)) }
}

/** A record that fills its half of the Secret takes no more. @throws AccessDeniedError MCM_LIMIT */
export function requireRoom(record: PrincipalRecord): void {
  if (Buffer.byteLength(textOf(record)) <= MAX_RECORD_BYTES) return
  throw new AccessDeniedError('MCM_LIMIT', `${record.user} has too many certificates here`, {
    hint: 'wait until some of them have expired, or let an administrator revoke devices that are gone',
  })
}

/** The tokens' word on a user's devices. */
export function admissionsIn({ user, devices }: PrincipalRecord): Admission[] {
  return Object.entries(devices).flatMap(([id, { admission }]) =>
    admission && admission.user === user && admission.device.id === id ? [admission] : [],
  )
}

/**
 * With something ended, at `now` unless it was before, and without what has expired. A device's end is that of its
 * certificates, which need no mark of their own; of one that a token admitted only its end stays. So a full
 * record has room for it. `others`: devices of the user that never were here and end with everything.
 * @throws AccessDeniedError MCM_LIMIT when too many devices were ended that were never here
 */
export function withEnding(
  record: PrincipalRecord,
  ending: Ending,
  now: Date,
  others: readonly string[] = [],
): PrincipalRecord {
  const isEnded = ({ serial }: RecordedCertificate) =>
    ending !== 'everything' && 'serial' in ending && ending.serial === serial
  const ended = endedDevices(record, ending, others)
  if (ending !== 'everything') for (const id of ended) requireRoomFor(record, id)
  const forgotten = new Set(ended.filter((id) => record.devices[id]?.admission))
  const certificates = record.certificates
    .filter(({ notAfter, device }) => notAfter > now && !forgotten.has(device))
    .map((each) => (isEnded(each) ? { ...each, revoked: each.revoked ?? now } : each))
  const devices = Object.fromEntries(
    ended.map((id) => {
      const { admission: _, ...known } = record.devices[id] ?? {}
      return [id, { ...known, revoked: known.revoked ?? now }]
    }),
  )
  return {
    ...record,
    certificates,
    devices: { ...record.devices, ...devices },
    ...(ending === 'everything' ? { revoked: now } : {}),
  }
}

/**
 * With a certificate in use: what it takes the place of is replaced, and what that one would have replaced had it been
 * used.
 */
export function withSuccessor(
  record: PrincipalRecord,
  fingerprint: string,
  now: Date,
): PrincipalRecord {
  const successor = record.certificates.find((each) => each.fingerprint === fingerprint)
  if (successor?.replaces === undefined) return record
  const { replaces, ...facts } = successor
  const settled = withEach(
    record,
    (each) => each === successor,
    () => facts,
  )
  const isIt = isOfDevice(replaces, successor.device)
  const marked = withEach(settled, isIt, (each) => ({ ...each, replaced: each.replaced ?? now }))
  return withSuccessor(marked, replaces, now)
}

/**
 * With a certificate in the bin; one that is there already stays as it is, unless somebody else wants it there, too:
 * then its owner may not take it out any more.
 */
export function withPurged(
  record: PrincipalRecord,
  serial: string,
  by: string,
  now: Date,
): PrincipalRecord {
  const isIt = (each: RecordedCertificate) => each.serial === serial
  return withEach(record, isIt, ({ purged, ...each }) => {
    const isKept = purged && by === record.user
    return { ...each, purged: isKept ? purged : { time: purged?.time ?? now, by } }
  })
}

/** With a certificate out of the bin, as it was: one that was revoked is. */
export function withRestored(record: PrincipalRecord, serial: string): PrincipalRecord {
  const isIt = (each: RecordedCertificate) => each.serial === serial
  return withEach(record, isIt, ({ purged: _, ...each }) => each)
}

function withEach(
  record: PrincipalRecord,
  isIt: (certificate: RecordedCertificate) => boolean,
  change: (certificate: RecordedCertificate) => RecordedCertificate,
): PrincipalRecord {
  const certificates = record.certificates.map((each) => (isIt(each) ? change(each) : each))
  return { ...record, certificates }
}

function isOfDevice(fingerprint: string | undefined, device: string) {
  return (each: RecordedCertificate) => each.fingerprint === fingerprint && each.device === device
}

/** Neither revoked by itself nor in the bin. */
export function isStanding({ revoked, purged }: RecordedCertificate): boolean {
  return !revoked && !purged
}

function isOver({ admission, lastExpiry, revoked }: RecordedDevice, now: Date): boolean {
  if (!admission || revoked || admission.until > now) return false
  return lastExpiry === undefined || lastExpiry <= now
}

function endedDevices(
  record: PrincipalRecord,
  ending: Ending,
  others: readonly string[],
): string[] {
  if (ending === 'everything') return [...new Set([...Object.keys(record.devices), ...others])]
  return 'device' in ending ? [ending.device] : []
}

function endedCount({ devices }: PrincipalRecord): number {
  return Object.values(devices).filter(({ revoked }) => revoked).length
}

function requireRoomFor(record: PrincipalRecord, device: string): void {
  if (Object.hasOwn(record.devices, device)) return
  const strangers = Object.values(record.devices).filter((each) => !each.lastExpiry)
  if (strangers.length >= MAX_ENDED_STRANGERS) throw tooManyEnded(record)
}

function later(a: Date | undefined, b: Date): Date {
  return a !== undefined && a > b ? a : b
}

function textOf(record: PrincipalRecord): string {
  return JSON.stringify({ v: VERSION, ...record }, writeTime)
}

/** JSON gets Dates as texts already; ours have no fractions. */
function writeTime(_key: string, value: unknown): unknown {
  const isTime = typeof value === 'string' && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value)
  return isTime ? formatTime(new Date(value)) : value
}

function jsonOf(secret: StateSecret): unknown {
  try {
    return JSON.parse(secretValue(secret, KEY)?.toString('utf8') ?? '')
  } catch {
    return undefined
  }
}

function tooManyEnded({ user }: PrincipalRecord): AccessDeniedError {
  return new AccessDeniedError('MCM_LIMIT', `${user} has ended too many devices here`, {
    hint: 'ask an administrator: mcm devices remove ID --user USER, or mcm revoke USER',
  })
}

function damaged({ metadata }: StateSecret): StateError {
  return new StateError('MCM_STATE_DAMAGED', `Secret ${metadata.name} cannot be read`, {
    hint: `nobody gets in by it; to start afresh, kubectl -n mcm-system delete secret ${metadata.name}`,
  })
}
