import { z } from 'zod'
import { UsageError } from '../errors.ts'
import { NAMESPACE } from '../kube/namespace.ts'
import { isClusterId, isClusterName, isPrincipalName } from '../protocol/names.ts'
import { MAX_REQUEST_SECONDS, MIN_REQUEST_SECONDS } from './access-request.ts'
import { MAX_BOT_LIFETIME_SECONDS, MIN_BOT_LIFETIME_SECONDS } from './bot-lifetime.ts'
import { type OidcDetail, oidcDetail as oidc } from './provider.ts'
import { parseTime } from './time.ts'

/**
 * What statements are about (PROTOCOL §3.2). A detail has one text: the JSON of exactly these members in
 * this order. So nobody can read a second `user` in it that we did not see.
 */

const MAX_GROUPS = 512
const MAX_ENDPOINTS = 16
const MAX_LABELS = 64

/** Text that people wrote and terminals show: no controls, of the cursor or of the direction. */
const plainText = (maxLength: number) =>
  z
    .string()
    .max(maxLength)
    .regex(/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]*$/u)

const LABEL_NAME =
  /^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?$/
const LABEL_VALUE = /^([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?$/
const ENDPOINT = /^(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.-]{1,253}):([1-9]\d{0,4})$/
/** No prefix may lead into the names that Kubernetes keeps for itself. */
const PREFIX = /^(?!system:|kube:)[a-z][a-z0-9.-]{0,30}:$/

/** Stands for one grant that ends (PROTOCOL §3.5); no certificate can name it. */
const TIMED_GROUP = /^grant:[0-9a-f]{16}$/

const principal = z.string().refine(isPrincipalName)
const keyId = z.string().regex(/^[A-Za-z0-9_-]{43}$/)
const coordinate = z.string().regex(/^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/)
const clusterId = z.string().refine(isClusterId)
const time = z.string().refine((text) => parseTime(text) !== undefined)
const endpoint = z.string().refine(isEndpoint)
const endpoints = z.array(endpoint).max(MAX_ENDPOINTS)
const derBase64 = z
  .string()
  .min(4)
  .max(24_576)
  .refine((text) => Buffer.from(text, 'base64').toString('base64') === text)
const p256Key = z.strictObject({
  crv: z.literal('P-256'),
  kty: z.literal('EC'),
  x: coordinate,
  y: coordinate,
})
const labels = z
  .record(z.string().regex(LABEL_NAME), z.string().regex(LABEL_VALUE))
  .refine((map) => Object.keys(map).length <= MAX_LABELS)

const fleet = z.strictObject({
  fleetKey: p256Key,
  user: principal,
  device: z.strictObject({ key: p256Key, name: plainText(128) }),
})
const admin = z.strictObject({ action: z.enum(['add', 'remove']), user: principal, key: keyId })
const hub = z
  .strictObject({
    endpoints,
    privateEndpoints: endpoints,
    certificate: derBase64,
    previous: z.strictObject({ certificate: derBase64, until: time }).optional(),
  })
  .refine((detail) => detail.endpoints.length + detail.privateEndpoints.length > 0)
const cluster = z.strictObject({
  id: clusterId,
  name: z.string().refine(isClusterName),
  labels,
  serverCa: derBase64,
  userCa: derBase64,
  agentKey: keyId,
  issuer: z.enum(['agent', 'local']),
  prefix: z.string().regex(PREFIX),
  direct: z.strictObject({ sessions: endpoint, enrolment: endpoint }).optional(),
  previous: z.strictObject({ serverCa: derBase64, userCa: derBase64, until: time }).optional(),
  approvals: z.literal(2).optional(),
})
const invite = z
  .strictObject({
    user: principal,
    groups: z.array(principal).max(MAX_GROUPS),
    expires: time,
    bot: z.boolean(),
    lifetime: z.int().min(MIN_BOT_LIFETIME_SECONDS).max(MAX_BOT_LIFETIME_SECONDS).optional(),
  })
  .refine(({ bot, lifetime }) => bot || lifetime === undefined)
const subject = z.strictObject({ kind: z.enum(['user', 'group']), name: principal })
const member = z.strictObject({
  action: z.enum(['add', 'remove']),
  subject,
  cluster: clusterId,
  expires: time.optional(),
})
const device = z.strictObject({ user: principal, name: plainText(128), key: p256Key })
const reason = plainText(512)
const revoke = z.union([
  z.strictObject({ user: principal, reason }),
  z.strictObject({ device: keyId, reason }),
  z.strictObject({ cluster: clusterId, reason }),
])
const removal = z.strictObject({ device: keyId, reason })
const groups = z.strictObject({
  user: principal,
  groups: z.array(principal).max(MAX_GROUPS),
  nickname: plainText(128).optional(),
})
const grant = z.strictObject({
  subject,
  cluster: clusterId,
  group: z.string().regex(TIMED_GROUP),
  expires: time,
})

const confirm = z.strictObject({})
/** The whole name of a ClusterRole: one segment of a path (Kubernetes' ValidatePathSegmentName). */
const roleName = plainText(253).regex(/^(?!\.{1,2}$)[^/%\s]+$/)
const request = z.strictObject({
  cluster: clusterId,
  user: principal,
  role: roleName,
  namespace: z.string().regex(NAMESPACE).optional(),
  seconds: z.int().min(MIN_REQUEST_SECONDS).max(MAX_REQUEST_SECONDS),
  reason: reason.min(1),
})
const approval = z.strictObject({
  action: z.enum(['approve', 'deny', 'end']),
  request: z.int().min(1),
  needed: z.literal(2).optional(),
})

const SCHEMAS = {
  fleet,
  admin,
  hub,
  cluster,
  invite,
  member,
  device,
  revoke,
  groups,
  grant,
  oidc,
  removal,
  confirm,
  request,
  approval,
}

export type StatementType = keyof typeof SCHEMAS
export const STATEMENT_TYPES = Object.keys(SCHEMAS) as [StatementType, ...StatementType[]]

export type FleetDetail = z.infer<typeof fleet>
export type AdminDetail = z.infer<typeof admin>
export type HubDetail = z.infer<typeof hub>
export type ClusterDetail = z.infer<typeof cluster>
/** Where a cluster's agent listens itself, `HOST:PORT` each (PROTOCOL §8.1). */
export type DirectAddress = NonNullable<ClusterDetail['direct']>
export type InviteDetail = z.infer<typeof invite>
export type MemberDetail = z.infer<typeof member>
export type MemberSubject = z.infer<typeof subject>
export type DeviceDetail = z.infer<typeof device>
export type RevokeDetail = z.infer<typeof revoke>
export type RemovalDetail = z.infer<typeof removal>
export type GroupsDetail = z.infer<typeof groups>
export type GrantDetail = z.infer<typeof grant>
export type RequestDetail = z.infer<typeof request>
export type ApprovalDetail = z.infer<typeof approval>

export type Detail =
  | { readonly type: 'fleet'; readonly detail: FleetDetail }
  | { readonly type: 'admin'; readonly detail: AdminDetail }
  | { readonly type: 'hub'; readonly detail: HubDetail }
  | { readonly type: 'cluster'; readonly detail: ClusterDetail }
  | { readonly type: 'invite'; readonly detail: InviteDetail }
  | { readonly type: 'member'; readonly detail: MemberDetail }
  | { readonly type: 'device'; readonly detail: DeviceDetail }
  | { readonly type: 'revoke'; readonly detail: RevokeDetail }
  | { readonly type: 'groups'; readonly detail: GroupsDetail }
  | { readonly type: 'grant'; readonly detail: GrantDetail }
  | { readonly type: 'oidc'; readonly detail: OidcDetail }
  | { readonly type: 'removal'; readonly detail: RemovalDetail }
  | { readonly type: 'confirm'; readonly detail: Readonly<Record<string, never>> }
  | { readonly type: 'request'; readonly detail: RequestDetail }
  | { readonly type: 'approval'; readonly detail: ApprovalDetail }

/** The one text of a detail, for signing. @throws UsageError MCM_BAD_REQUEST */
export function detailText({ type, detail }: Detail): string {
  const result = SCHEMAS[type].safeParse(detail)
  if (result.success) return JSON.stringify(result.data)
  const [issue] = result.error.issues
  const where = [type, ...(issue?.path ?? [])].join('.')
  throw new UsageError('MCM_BAD_REQUEST', `${where} cannot be signed: ${issue?.message}`)
}

/** The detail in a text, or undefined when the text is not the one that this detail has. */
export function parseDetail(type: StatementType, text: string): Detail | undefined {
  try {
    const detail = SCHEMAS[type].parse(JSON.parse(text))
    return JSON.stringify(detail) === text ? ({ type, detail } as Detail) : undefined
  } catch {
    return undefined
  }
}

function isEndpoint(text: string): boolean {
  const port = ENDPOINT.exec(text)?.[2]
  return port !== undefined && Number(port) <= 65_535
}
