/**
 * Questions about rights and identities: asked by POST, answered in `status`, never kept (kubernetes
 * `pkg/registry/authorization/`, `pkg/registry/authentication/`).
 */
import type { ResourceContext } from '../context.ts'
import { userOfToken } from '../identity/authentication.ts'
import { API_AUDIENCE } from '../identity/service-account-tokens.ts'
import { shownUser, type UserInfo } from '../identity/user.ts'
import { at, type JsonObject, type KubeObject, textAt, textsAt, withMetadata } from '../json.ts'
import { invalidValue } from '../objects/names.ts'
import { updatedBy } from '../patch/field-managers.ts'
import { type Attributes, resourceAttributes } from '../rbac/attributes.ts'
import type { Rule } from '../rbac/rules.ts'
import { badRequest, invalid } from '../refusals.ts'
import { answerJson } from '../show/answer.ts'
import { decodeBody } from '../verbs/decode-body.ts'
import { writeOptions } from '../verbs/options.ts'
import { now } from '../verbs/time.ts'

type Review = (context: ResourceContext, review: KubeObject) => KubeObject

const REVIEWS: Readonly<Record<string, Review>> = {
  selfsubjectreviews: whoAmI,
  tokenreviews: reviewToken,
  selfsubjectaccessreviews: (context, review) => reviewAccess(context, review, context.user),
  subjectaccessreviews: (context, review) => reviewAccess(context, review, subjectOf(review)),
  localsubjectaccessreviews: reviewLocalAccess,
  selfsubjectrulesreviews: listRules,
}

/** @throws Refusal 400, 422 */
export async function answerReview(context: ResourceContext): Promise<number> {
  const { exchange, resource, sandbox } = context
  const options = writeOptions(exchange, 'CreateOptions')
  const review = await decodeBody(context, resource, options.fieldValidation)
  const by = { resource, manager: options.fieldManager, subresource: '', world: sandbox.world }
  const owned = updatedBy(by, undefined, review)
  answerJson(context, 201, REVIEWS[resource.resource]!(context, owned))
  return 201
}

function whoAmI({ sandbox, user }: ResourceContext, review: KubeObject): KubeObject {
  const timed = withMetadata(review, { creationTimestamp: now(sandbox.world) })
  return { ...timed, status: { userInfo: shownUser(user) } }
}

function reviewToken({ sandbox }: ResourceContext, review: KubeObject): KubeObject {
  const token = textAt(review, 'spec', 'token')
  if (token === '') throw badRequest('token is required for TokenReview in authentication')
  const asked = textsAt(review, 'spec', 'audiences')
  const audiences = asked.length > 0 ? asked : [API_AUDIENCE]
  const accepted = audiences.filter(
    (audience) => userOfToken(sandbox, token, audience) !== undefined,
  )
  const user = userOfToken(sandbox, token, accepted[0])
  if (!user || accepted.length === 0)
    return { ...review, status: { user: {}, error: 'invalid bearer token' } }
  return { ...review, status: { authenticated: true, user: shownUser(user), audiences: accepted } }
}

function reviewAccess(context: ResourceContext, review: KubeObject, user: UserInfo): KubeObject {
  const { isAllowed, reason } = context.sandbox.authorize(questionIn(review, user))
  return { ...review, status: { allowed: isAllowed, ...(reason && { reason }) } }
}

function reviewLocalAccess(context: ResourceContext, review: KubeObject): KubeObject {
  const asked = textAt(review, 'spec', 'resourceAttributes', 'namespace')
  const { namespace } = context.info
  if (asked !== namespace)
    throw wrong('spec.resourceAttributes.namespace', asked, 'must match metadata.namespace')
  return reviewAccess(context, withMetadata(review, { namespace }), subjectOf(review))
}

function questionIn(review: KubeObject, user: UserInfo): Attributes {
  const resource = at(review, 'spec', 'resourceAttributes')
  const other = at(review, 'spec', 'nonResourceAttributes')
  if ((resource === undefined) === (other === undefined))
    throw wrong(
      'spec.resourceAttributes',
      resource ?? null,
      'exactly one of nonResourceAttributes or resourceAttributes must be specified',
    )
  const verb = textAt(resource ?? other, 'verb')
  const path = textAt(other, 'path')
  if (other !== undefined) return resourceAttributes(user, { verb, path, isResourceRequest: false })
  const text = (key: string) => textAt(resource, key)
  return resourceAttributes(user, {
    verb,
    apiGroup: text('group'),
    resource: text('resource'),
    subresource: text('subresource'),
    namespace: text('namespace'),
    name: text('name'),
  })
}

function subjectOf(review: KubeObject): UserInfo {
  const [name, uid] = [textAt(review, 'spec', 'user'), textAt(review, 'spec', 'uid')]
  const groups = textsAt(review, 'spec', 'groups')
  if (name === '' && groups.length === 0)
    throw wrong('spec.user', name, 'at least one of user or group must be specified')
  const extra = Object.entries((at(review, 'spec', 'extra') ?? {}) as JsonObject)
  return {
    name,
    groups,
    uid,
    extra: new Map(extra.map(([key, values]) => [key, values as readonly string[]])),
  }
}

function listRules({ sandbox, user }: ResourceContext, review: KubeObject): KubeObject {
  const namespace = textAt(review, 'spec', 'namespace')
  if (namespace === '') throw badRequest('no namespace on request')
  const { rules, errors } = sandbox.resolver.rulesFor(user, namespace)
  const status = {
    resourceRules: rules.filter((rule) => rule.resources.length > 0).map(resourceRule),
    nonResourceRules: rules
      .filter((rule) => rule.nonResourceURLs.length > 0)
      .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
    incomplete: false,
    ...(errors.length > 0 && { evaluationError: errors.join(', ') }),
  }
  return { ...review, metadata: {}, spec: {}, status }
}

function resourceRule({ verbs, apiGroups, resources, resourceNames }: Rule): JsonObject {
  return { verbs, apiGroups, resources, ...(resourceNames.length > 0 && { resourceNames }) }
}

function wrong(field: string, value: unknown, problem: string) {
  return invalid('authorization.k8s.io', '', '', [invalidValue(field, value, problem)])
}
