import { z } from 'zod'

/** Every JSON body between hub, agent and client, checked at the door (docs/PROTOCOL.md §5–§8). */

const key43 = z.string().regex(/^[A-Za-z0-9_-]{43}$/)
const time = z.iso.datetime()

export const headSchema = z.object({ seq: z.int().min(0), hash: key43 })
export type Head = z.infer<typeof headSchema>

/** An agent's head, and which details it lacks: a bit for each statement (§3.6), of 6 291 456 at most. */
export const namedHeadSchema = z.object({
  head: headSchema.nullable(),
  lacks: z
    .string()
    .regex(/^[A-Za-z0-9_-]*$/)
    .max(1 << 20),
  /** Whether the head that was named is in its chain; agents of before do not say. */
  knows: z.boolean().optional(),
})
export type NamedHead = z.infer<typeof namedHeadSchema>

export const detailEnvelopeSchema = z.object({
  seq: z.int().min(0),
  salt: z.string().max(64),
  text: z.string().max(65_536),
})
export type DetailEnvelope = z.infer<typeof detailEnvelopeSchema>

/** Statements travel as their exact text (§3.1). */
export const directoryPageSchema = z.object({
  head: headSchema.nullable(),
  statements: z.array(z.string().max(65_536)),
  details: z.array(detailEnvelopeSchema),
})
export type DirectoryPage = z.infer<typeof directoryPageSchema>

export const directoryAppendSchema = directoryPageSchema.omit({ head: true })
/** As JSON, of what a client brings an agent in one message (§3.6). */
export const MAX_BROUGHT_BYTES = 4 << 20
export type DirectoryAppend = z.infer<typeof directoryAppendSchema>

export const hubInfoSchema = z.object({
  version: z.string(),
  time,
  fleet: key43.optional(),
  /** Base64 DER; what it would show next (§12.3). */
  nextCertificate: z.string().max(24_576).optional(),
})
export type HubInfo = z.infer<typeof hubInfoSchema>

export const foundFleetSchema = directoryAppendSchema.extend({ token: z.string().max(128) })
export type FoundFleet = z.infer<typeof foundFleetSchema>

export const newClusterSchema = z.object({ name: z.string().max(63) })
export const newClusterAnswerSchema = z.object({
  id: z.string(),
  joinToken: z.string(),
  expires: time,
})
export type NewClusterAnswer = z.infer<typeof newClusterAnswerSchema>

export const joinSchema = z.object({
  joinToken: z.string().max(128),
  publication: z.string().max(16_384),
})
export type Join = z.infer<typeof joinSchema>

export const publicationAnswerSchema = z.object({ publication: z.string() })

export const agentPresenceSchema = z.object({
  replica: z.string(),
  version: z.string(),
  kubernetesVersion: z.string(),
  since: time,
  roundTripMs: z.number().nullable(),
})
export type AgentPresence = z.infer<typeof agentPresenceSchema>

export const presenceSchema = z.array(
  z.object({ id: z.string(), agents: z.array(agentPresenceSchema) }),
)
export type Presence = z.infer<typeof presenceSchema>

export const helloSchema = z.object({
  version: z.string().max(64),
  cluster: z.string(),
  replica: z.string().max(253),
  kubernetesVersion: z.string().max(64),
  directory: headSchema.nullable(),
})
export type Hello = z.infer<typeof helloSchema>

/** A token with its salt, and what the device is called (§11.3). */
export const shownTokenSchema = z.object({
  token: z.string().max(16_384),
  salt: z.string().max(64),
  name: z.string().max(128),
})
export type ShownToken = z.infer<typeof shownTokenSchema>

/** The same at the hub, whose connection is of that key. */
export const tokenAdmissionSchema = shownTokenSchema
  .omit({ name: true })
  .extend({ device: z.object({ key: z.unknown(), name: z.string().max(128) }) })
export type TokenAdmission = z.infer<typeof tokenAdmissionSchema>
export const admittedSchema = z.object({ user: z.string(), until: time })
export type Admitted = z.infer<typeof admittedSchema>

export const admittedDevicesSchema = z.array(
  z.object({
    id: key43,
    name: z.string(),
    user: z.string(),
    bot: z.boolean(),
    since: time,
    until: time,
  }),
)
export type AdmittedDevice = z.infer<typeof admittedDevicesSchema>[number]

export const enrolmentSchema = z.object({
  csr: z.string().max(8_192),
  proof: z.string().max(8_192),
  oidc: shownTokenSchema.optional(),
  replaces: key43.optional(),
  head: headSchema.optional(),
})
export const issuedSchema = z.object({ certificate: z.string() })

/** The latest request that was let in on a certificate; the address in the words of the audit (§8.3). */
export const certificateUseSchema = z.object({
  time,
  address: z.string().max(64).optional(),
  addressByHub: z.string().max(64).optional(),
})
export type CertificateUse = z.infer<typeof certificateUseSchema>

export const issuedCertificateSchema = z.object({
  fingerprint: key43,
  serial: z.string(),
  user: z.string(),
  device: key43,
  notBefore: time,
  notAfter: time,
  revoked: time.optional(),
  replaced: time.optional(),
  purged: time.optional(),
  lastUsed: certificateUseSchema.optional(),
})
export type IssuedCertificate = z.infer<typeof issuedCertificateSchema>

export const whoamiSchema = z.object({
  user: z.string(),
  groups: z.array(z.string()),
  cluster: z.string(),
  device: key43,
  certificate: z.object({ fingerprint: key43, notBefore: time, notAfter: time }),
  impersonates: z.object({ user: z.string(), groups: z.array(z.string()) }),
})
export type Whoami = z.infer<typeof whoamiSchema>

/** How an agent stands to the directory (§3.6). */
export const directoryFactsSchema = z.object({
  head: headSchema.nullable(),
  /** When an admin last signed that this is the directory. */
  confirmed: time.optional(),
  /** Seconds; older than that nobody is let in. */
  maximumAge: z.int().positive().optional(),
  /** The highest head that somebody named and nobody has shown. */
  heard: z.object({ head: headSchema, since: time }).optional(),
  /** What a client had to bring, since no hub did. */
  withheld: z.object({ head: headSchema, since: time }).optional(),
})
export type DirectoryFacts = z.infer<typeof directoryFactsSchema>

const impersonationForm = z.enum(['legacy', 'constrained'])
/** What limits everybody in a cluster, as its agent says. Absent: no ceiling; the server could not be asked. */
export const clusterFactsSchema = z.object({
  impersonation: z.object({
    list: impersonationForm,
    isUnrestricted: z.boolean(),
    server: impersonationForm.optional(),
  }),
  ceiling: z.string().optional(),
  directory: directoryFactsSchema.optional(),
  /** How long certificates of bots may live, in seconds. */
  botMaximumLife: z.int().positive().optional(),
})
export type ClusterFacts = z.infer<typeof clusterFactsSchema>

/** The next CAs of a cluster (§12.1), base64 DER; asked for with the owner's user CA where the owner issues. */
export const authoritiesOrderSchema = z.object({ userCa: z.string().max(24_576).optional() })
export type AuthoritiesOrder = z.infer<typeof authoritiesOrderSchema>
export const offeredAuthoritiesSchema = z.object({
  serverCa: z.string().max(24_576),
  userCa: z.string().max(24_576),
})
export type OfferedAuthorities = z.infer<typeof offeredAuthoritiesSchema>

export const revocationSchema = z.union([
  z.object({ device: key43 }),
  z.object({ user: z.string() }),
  z.object({ serial: z.string() }),
])
export type Revocation = z.infer<typeof revocationSchema>

/** What goes into the bin, or comes out of it. */
export const binnedSchema = z.object({ serial: z.string().max(64) })

/** The payload of an invite proof (§5.1), of a publication (§7) and of an enrolment proof (§8). */
export const inviteProofSchema = z.strictObject({
  purpose: z.literal('mcm invite v1'),
  fleet: key43,
  exporter: key43,
  time,
})
export const INVITE_EXPORTER_LABEL = 'EXPORTER-mcm-invite-v1'
export const publicationPayloadSchema = z.object({
  purpose: z.literal('mcm register v1'),
  cluster: z.string(),
  serverCa: z.string(),
  userCa: z.string(),
  agentKey: z.record(z.string(), z.string()),
})
export const enrolmentProofSchema = z.object({
  purpose: z.literal('mcm enrol v1'),
  cluster: z.string(),
  csr: key43,
  exporter: key43,
  time,
})
export const ENROLMENT_EXPORTER_LABEL = 'EXPORTER-mcm-enrol-v1'
