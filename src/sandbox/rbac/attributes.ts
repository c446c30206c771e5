/** The question an authorizer is asked (apiserver `pkg/authorization/authorizer/interfaces.go`). */
import type { RequestInfo } from '../../kube/request-info.ts'
import type { UserInfo } from '../identity/user.ts'
import { forbidden, type Refusal } from '../refusals.ts'

export interface Attributes {
  readonly user: UserInfo
  readonly verb: string
  readonly isResourceRequest: boolean
  readonly apiGroup: string
  readonly resource: string
  readonly subresource: string
  readonly namespace: string
  readonly name: string
  readonly path: string
}

export interface Decision {
  readonly isAllowed: boolean
  readonly reason: string
}

export type Authorize = (attributes: Attributes) => Decision

export function attributesOf(user: UserInfo, info: RequestInfo): Attributes {
  const { verb, isResourceRequest, apiGroup, resource, subresource, namespace, name, path } = info
  return { user, verb, isResourceRequest, apiGroup, resource, subresource, namespace, name, path }
}

/** A question about a resource, everything unsaid being empty. */
export function resourceAttributes(
  user: UserInfo,
  about: Partial<Attributes> & { readonly verb: string },
): Attributes {
  const none = { apiGroup: '', resource: '', subresource: '', namespace: '', name: '', path: '' }
  return { ...none, isResourceRequest: true, ...about, user }
}

/** The 403 of a refused request (apiserver `pkg/endpoints/handlers/responsewriters/errors.go`). */
export function forbiddenTo(attributes: Attributes, reason: string): Refusal {
  const sentence = sanitize(sentenceOf(attributes))
  const why = reason === '' ? sentence : `${sentence}: ${reason}`
  const of = { group: attributes.apiGroup, resource: attributes.resource }
  return forbidden(of, attributes.name, why)
}

function sentenceOf(attributes: Attributes): string {
  const { verb, subresource, namespace, path } = attributes
  const user = JSON.stringify(attributes.user.name)
  if (!attributes.isResourceRequest)
    return `User ${user} cannot ${verb} path ${JSON.stringify(path)}`
  const resource = subresource ? `${attributes.resource}/${subresource}` : attributes.resource
  const scope = namespace ? `in the namespace ${JSON.stringify(namespace)}` : 'at the cluster scope'
  const group = JSON.stringify(attributes.apiGroup)
  return `User ${user} cannot ${verb} resource "${resource}" in API group ${group} ${scope}`
}

function sanitize(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
