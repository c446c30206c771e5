/** Reads the audit log that a kube-apiserver writes: one audit.k8s.io/v1 Event per line. */
import { readFile } from 'node:fs/promises'

export interface AuditUser {
  readonly username: string
  readonly uid?: string
  readonly groups?: readonly string[]
  readonly extra?: Readonly<Record<string, readonly string[]>>
}

export interface AuditEvent {
  readonly auditID: string
  readonly level: string
  readonly stage: 'RequestReceived' | 'ResponseStarted' | 'ResponseComplete' | 'Panic'
  readonly requestURI: string
  readonly verb: string
  /** Who authenticated. */
  readonly user: AuditUser
  /** As whom the request ran, when that is somebody else. */
  readonly impersonatedUser?: AuditUser
  readonly authenticationMetadata?: { readonly impersonationConstraint?: string }
  readonly sourceIPs?: readonly string[]
  readonly userAgent?: string
  readonly objectRef?: {
    readonly resource?: string
    readonly namespace?: string
    readonly name?: string
    readonly subresource?: string
    readonly apiGroup?: string
    readonly apiVersion?: string
  }
  readonly responseStatus?: {
    readonly code?: number
    readonly status?: string
    readonly message?: string
    readonly reason?: string
  }
  readonly requestReceivedTimestamp: string
  readonly stageTimestamp: string
  readonly annotations?: Readonly<Record<string, string>>
}

/** One event per finished request, and one more when a long-running one starts to answer. */
export const AUDIT_POLICY = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
`

/** The same, and one event more for everything that arrives, also where nothing finishes it. */
export const AUDIT_POLICY_WITH_ARRIVALS = AUDIT_POLICY.replace(/omitStages: .*\n/, '')

/** Every event written so far, oldest first; a line still being written is left for the next call. */
export async function readAuditLog(path: string): Promise<AuditEvent[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  const complete = text.slice(0, text.lastIndexOf('\n') + 1)
  const lines = complete.split('\n').filter((line) => line !== '')
  return lines.map((line) => JSON.parse(line) as AuditEvent)
}
