import { isMcmError } from '../errors.ts'
import { Refusal } from '../forward/refusal.ts'
import { type Status, statusOf } from '../kube/status.ts'

/** What a caller is told of any error: a Status for kubectl, and the code for clients of ours. */
export function ownStatusOf(error: unknown): Status & { readonly mcm?: { readonly code: string } } {
  if (error instanceof Refusal) return error.status
  const status = statusOf(error)
  return isMcmError(error) ? { ...status, mcm: { code: error.code } } : status
}
