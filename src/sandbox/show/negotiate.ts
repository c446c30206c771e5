/**
 * In which form an answer is wanted (apiserver `pkg/endpoints/handlers/negotiation/negotiate.go`): JSON, and of
 * objects also as a Table or as metadata only. Protobuf is never sent: every client that prefers it
 * accepts JSON as well.
 */
import { notAcceptable } from '../refusals.ts'

export type Form = 'Object' | 'Table' | 'PartialObjectMetadata'

const ACCEPTED = ['application/json']
const META = 'meta.k8s.io'

/** @throws Refusal 406 */
export function negotiate(accept: string): Form {
  const wanted = accept.trim() === '' ? ['*/*'] : accept.split(',')
  for (const range of wanted) {
    const form = formOf(range)
    if (form) return form
  }
  throw notAcceptable(ACCEPTED)
}

function formOf(range: string): Form | undefined {
  const [type = '', ...parameters] = range.split(';').map((part) => part.trim())
  if (!['application/json', 'application/*', '*/*'].includes(type.toLowerCase())) return undefined
  const named = new Map(parameters.map((one) => one.split('=') as [string, string]))
  const as = named.get('as')
  if (as === undefined || as === '') return 'Object'
  if (named.get('g') !== META || named.get('v') !== 'v1') return undefined
  if (as === 'Table') return 'Table'
  return as.startsWith('PartialObjectMetadata') ? 'PartialObjectMetadata' : undefined
}

/** Whether a discovery document is wanted in one piece (`apidiscovery.k8s.io/v2`). */
export function wantsAggregatedDiscovery(accept: string): boolean {
  const first = accept.split(',').find((range) => range.trim().startsWith('application/json')) ?? ''
  const parts = new Set(first.split(';').map((part) => part.trim()))
  return (
    parts.has('g=apidiscovery.k8s.io') && parts.has('v=v2') && parts.has('as=APIGroupDiscoveryList')
  )
}
