import { createHash } from 'node:crypto'

/** Labels and annotations by which everything of mcm is found in a cluster. */

export const MANAGED_BY_LABEL = 'app.kubernetes.io/managed-by'
export const ROLE_LABEL = 'mcm.dev/role'
export const PRINCIPAL_LABEL = 'mcm.dev/principal'
export const GRANT_ANNOTATION = 'mcm.dev/grant'
/** Who approved the request that a binding answers, the last of them. */
export const APPROVER_ANNOTATION = 'mcm.dev/approver'
export const NICKNAME_ANNOTATION = 'mcm.dev/nickname'
export const DESCRIPTION_ANNOTATION = 'mcm.dev/description'

export const MANAGED_BY_MCM = { [MANAGED_BY_LABEL]: 'mcm' } as const

/** `kubectl get … -l` finds everything of mcm with it. */
export const MANAGED_BY_SELECTOR = `${MANAGED_BY_LABEL}=mcm`

const LABEL_VALUE = /^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/
const HASHED = /^sha256\.[0-9a-f]{40}$/

/**
 * A name as a label value: itself where it may stand in a label, else the start of its SHA-256. A name
 * that looks like such a hash is hashed too, so two names never share a value.
 */
export function labelValue(name: string): string {
  if (LABEL_VALUE.test(name) && !HASHED.test(name)) return name
  return `sha256.${createHash('sha256').update(name).digest('hex').slice(0, 40)}`
}
