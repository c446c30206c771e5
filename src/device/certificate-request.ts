import { z } from 'zod'
import { UsageError } from '../errors.ts'
import { isClusterId } from '../protocol/names.ts'

/** A request for a certificate as text, from a person to the owner of a cluster (PROTOCOL §10). Holds no secret. */

const VERSION = 1
const LABEL = 'MCM CERTIFICATE REQUEST'
const MAX_CHARACTERS = 65_536
const BLOCK = new RegExp(`-----BEGIN ${LABEL}-----([A-Za-z0-9+/=\\s]+)-----END ${LABEL}-----`)

const schema = z.strictObject({
  v: z.literal(VERSION),
  cluster: z.string().refine(isClusterId),
  device: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  csr: z.string().max(8_192),
  consent: z.string().regex(/^[A-Za-z0-9_-]{86}$/),
})

export interface CertificateRequest {
  /** The cluster id. */
  readonly cluster: string
  /** Key id of the device that asks. */
  readonly device: string
  /** PKCS #10 in PEM; only its key counts. */
  readonly csr: string
  /** The device's signature for cluster and key. */
  readonly consent: string
}

/** The block to send. */
export function formatCertificateRequest(request: CertificateRequest): string {
  const { cluster, device, csr, consent } = request
  const json = JSON.stringify({ v: VERSION, cluster, device, csr, consent })
  const lines =
    Buffer.from(json)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${LABEL}-----`, ...lines, `-----END ${LABEL}-----`, ''].join('\n')
}

/** The first block in a text, whatever stands around it. @throws UsageError MCM_BAD_FILE */
export function parseCertificateRequest(text: string): CertificateRequest {
  if (text.length > MAX_CHARACTERS) throw badRequest('it is over 64 KiB')
  const base64 = BLOCK.exec(text)?.[1]
  if (base64 === undefined) throw badRequest(`it holds no block ${LABEL}`)
  const value = jsonOf(base64)
  const version = (value as { v?: unknown } | null)?.v
  if (typeof version === 'number' && version > VERSION) throw newer(version)
  const result = schema.safeParse(value)
  if (!result.success) throw badRequest('its content is damaged')
  const { v: _, ...request } = result.data
  return request
}

function jsonOf(base64: string): unknown {
  try {
    return JSON.parse(Buffer.from(base64, 'base64').toString('utf8'))
  } catch {
    throw badRequest('its content is damaged')
  }
}

function badRequest(why: string): UsageError {
  return new UsageError('MCM_BAD_FILE', `this is no certificate request: ${why}`, {
    hint: 'ask for the whole text that mcm certs request prints, with its first and last line',
  })
}

function newer(version: number): UsageError {
  return new UsageError('MCM_BAD_FILE', `this request is of version ${version}, from a newer mcm`, {
    hint: 'update mcm',
  })
}
