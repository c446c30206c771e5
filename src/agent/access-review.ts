import { z } from 'zod'
import type { Upstream } from '../forward/upstream.ts'
import { type Impersonation, impersonationHeaders } from '../kube/impersonation.ts'
import { callUpstream } from './upstream-call.ts'

/** What is asked of the API server (authorization.k8s.io/v1 ResourceAttributes). */
export interface ResourceQuestion {
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly subresource?: string
  readonly name: string
  readonly namespace?: string
}

const TARGET = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
const answerSchema = z.object({
  status: z.object({
    allowed: z.boolean(),
    denied: z.boolean().optional(),
    evaluationError: z.string().optional(),
  }),
})

/**
 * Whether `caller` may do something, asked of the API server as the caller: everybody authenticated
 * may ask about themselves. Nothing is remembered. True only when it allows, does not deny, and met
 * no error.
 * @throws UnreachableError no answer; Error one that is no review
 */
export async function mayCaller(
  upstream: Upstream,
  caller: Impersonation,
  question: ResourceQuestion,
): Promise<boolean> {
  const body = Buffer.from(JSON.stringify(reviewOf(question)))
  const headers = ['Content-Type', 'application/json', 'Accept', 'application/json']
  headers.push('Content-Length', String(body.length))
  for (const [name, value] of impersonationHeaders(caller)) headers.push(name, value)
  const answer = await callUpstream(upstream, { method: 'POST', target: TARGET, headers, body })
  if (answer.status !== 201 && answer.status !== 200) return false
  const { status } = answerSchema.parse(JSON.parse(answer.body.toString('utf8')))
  return status.allowed && status.denied !== true && !status.evaluationError
}

function reviewOf(resourceAttributes: ResourceQuestion): object {
  return {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    spec: { resourceAttributes },
  }
}
