/**
 * Tokens of service accounts: TokenRequest issues them (kubernetes
 * `pkg/registry/core/serviceaccount/storage/token.go`), and one holds while it has not expired and its
 * account and the object it is bound to still exist (`pkg/serviceaccount/claims.go`).
 */
import type { World } from '../../world.ts'
import { type JsonObject, type KubeObject, numberAt, textAt, textsAt } from '../json.ts'
import { invalidValue } from '../objects/names.ts'
import { type Resource, resourceNamed } from '../objects/resources.ts'
import type { Storage } from '../objects/storage.ts'
import { badRequest, conflict, invalid, notFound } from '../refusals.ts'
import { uuid } from '../uuid.ts'
import type { TokenSigner } from './jwt.ts'
import { serviceAccountGroups, serviceAccountUser, type UserInfo } from './user.ts'

/** The audience, and the issuer, of tokens for the API itself. */
export const API_AUDIENCE = 'https://kubernetes.default.svc'

export interface TokenDeps {
  readonly world: World
  readonly storage: Storage
  readonly signer: TokenSigner
}

const GROUP = 'authentication.k8s.io'
const MINIMUM_SECONDS = 600
const MAXIMUM_SECONDS = 2 ** 32

/** Answers a TokenRequest. @throws Refusal 404 no such account or bound object; 400, 409, 422 */
export function issueToken(
  deps: TokenDeps,
  namespace: string,
  name: string,
  request: KubeObject,
): KubeObject {
  requireSameName(request, namespace, name)
  const account = deps.storage.get(resourceNamed('serviceaccounts'), namespace, name)
  if (!account) throw notFound({ group: '', resource: 'serviceaccounts' }, name)
  const seconds = lifetimeOf(request)
  const audiences = textsAt(request, 'spec', 'audiences')
  const asked = audiences.length > 0 ? audiences : [API_AUDIENCE]
  const now = Math.floor(deps.world.now().getTime() / 1000)
  const bound = boundObject(deps, account, request)
  const claims = claimsOf(account, bound, { aud: asked, iat: now, nbf: now, exp: now + seconds })
  const token = deps.signer.issue({ ...claims, jti: uuid(deps.world) })
  return answer(request, account, { asked, seconds, token, now })
}

/** Who a token stands for, undefined when it does not (any more). */
export function readToken(
  deps: TokenDeps,
  token: string,
  audience = API_AUDIENCE,
): UserInfo | undefined {
  const claims = deps.signer.read(token)
  const now = deps.world.now().getTime() / 1000
  if (!claims || now < numberAt(claims, 'nbf') || now >= numberAt(claims, 'exp')) return undefined
  if (!textsAt(claims, 'aud').includes(audience)) return undefined
  const about = claims['kubernetes.io'] as JsonObject
  const [namespace, name] = [textAt(about, 'namespace'), textAt(about, 'serviceaccount', 'name')]
  if (!isStillThere(deps.storage, 'serviceaccounts', namespace, about.serviceaccount as JsonObject))
    return undefined
  if (!isBoundObjectThere(deps.storage, namespace, about)) return undefined
  return {
    name: serviceAccountUser(namespace, name),
    groups: serviceAccountGroups(namespace),
    uid: textAt(about, 'serviceaccount', 'uid'),
    extra: extrasOf(about, textAt(claims, 'jti')),
  }
}

function requireSameName(request: KubeObject, namespace: string, name: string): void {
  for (const [field, wanted] of [
    ['name', name],
    ['namespace', namespace],
  ] as const) {
    const given = textAt(request, 'metadata', field)
    if (given === '' || given === wanted) continue
    const problem = `must match the service account ${field} if specified`
    throw invalid(GROUP, 'TokenRequest', name, [invalidValue(`metadata.${field}`, given, problem)])
  }
}

function lifetimeOf(request: KubeObject): number {
  const seconds = numberAt(request, 'spec', 'expirationSeconds')
  const isShort = seconds < MINIMUM_SECONDS
  if (!isShort && seconds <= MAXIMUM_SECONDS) return seconds
  const limit = isShort ? 'less than 10 minutes' : 'larger than 2^32 seconds'
  const problem = `may not specify a duration ${limit}`
  throw invalid(GROUP, 'TokenRequest', '', [
    invalidValue('spec.expirationSeconds', seconds, problem),
  ])
}

interface Bound {
  readonly key: 'pod' | 'secret' | 'node'
  readonly object: KubeObject
}

function boundObject(deps: TokenDeps, account: KubeObject, request: KubeObject): Bound | undefined {
  const reference = request.spec && (request.spec as JsonObject).boundObjectRef
  if (!reference) return undefined
  const { kind = '', name = '', apiVersion = '' } = reference as Record<string, string>
  const resource = BOUND.get(`${apiVersion}/${kind}`)
  if (!resource)
    throw badRequest(`cannot bind token to object of type ${gvkText(apiVersion, kind)}`)
  const namespace = resource.isNamespaced ? (account.metadata.namespace ?? '') : ''
  const object = deps.storage.get(resource, namespace, name)
  if (!object) throw notFound(resource, name)
  requireBindable(account, object, textAt(reference, 'uid'))
  return { key: resource.singular as Bound['key'], object }
}

const BOUND: ReadonlyMap<string, Resource> = new Map(
  ['pods', 'secrets', 'nodes'].map(resourceNamed).map((one) => [`v1/${one.kind}`, one]),
)

function gvkText(apiVersion: string, kind: string): string {
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion]
  return `${group}/${version}, Kind=${kind}`
}

function requireBindable(account: KubeObject, object: KubeObject, uid: string): void {
  const { name = '' } = account.metadata
  if (object.kind === 'Pod' && textAt(object, 'spec', 'serviceAccountName') !== name)
    throw badRequest(
      `cannot bind token for serviceaccount "${name}" to pod running with different serviceaccount name.`,
    )
  if (uid === '' || uid === object.metadata.uid) return
  const why =
    `the UID in the bound object reference (${uid}) does not match the UID in record. ` +
    'The object might have been deleted and then recreated'
  throw conflict({ group: '', resource: object.kind }, object.metadata.name ?? '', why)
}

function claimsOf(account: KubeObject, bound: Bound | undefined, standard: JsonObject): JsonObject {
  const { namespace = '', name = '' } = account.metadata
  const reference = (object: KubeObject) => ({
    name: object.metadata.name,
    uid: object.metadata.uid,
  })
  const nodeName = bound?.key === 'pod' ? textAt(bound.object, 'spec', 'nodeName') : ''
  return {
    ...standard,
    iss: API_AUDIENCE,
    sub: serviceAccountUser(namespace, name),
    'kubernetes.io': {
      namespace,
      serviceaccount: reference(account),
      ...(bound && { [bound.key]: reference(bound.object) }),
      ...(nodeName && { node: { name: nodeName } }),
    },
  }
}

function answer(
  request: KubeObject,
  account: KubeObject,
  made: { asked: readonly string[]; seconds: number; token: string; now: number },
): KubeObject {
  const { name, namespace, uid } = account.metadata
  const at = (seconds: number) => new Date(seconds * 1000).toISOString().replace('.000Z', 'Z')
  const spec = request.spec as JsonObject | undefined
  return {
    kind: 'TokenRequest',
    apiVersion: `${GROUP}/v1`,
    metadata: {
      name,
      namespace,
      uid,
      creationTimestamp: at(made.now),
      managedFields: request.metadata.managedFields,
    } as KubeObject['metadata'],
    spec: {
      audiences: made.asked,
      expirationSeconds: made.seconds,
      boundObjectRef: spec?.boundObjectRef ?? null,
    },
    status: { token: made.token, expirationTimestamp: at(made.now + made.seconds) },
  }
}

function isBoundObjectThere(storage: Storage, namespace: string, about: JsonObject): boolean {
  if (about.pod) return isStillThere(storage, 'pods', namespace, about.pod as JsonObject)
  if (about.secret) return isStillThere(storage, 'secrets', namespace, about.secret as JsonObject)
  if (about.node) return isStillThere(storage, 'nodes', '', about.node as JsonObject)
  return true
}

function isStillThere(
  storage: Storage,
  resource: string,
  namespace: string,
  reference: JsonObject,
): boolean {
  const object = storage.get(resourceNamed(resource), namespace, textAt(reference, 'name'))
  return object !== undefined && object.metadata.uid === reference.uid
}

/** Keys of `pkg/serviceaccount/util.go`. */
function extrasOf(about: JsonObject, jti: string): ReadonlyMap<string, readonly string[]> {
  const pairs: [string, string][] = [
    ['credential-id', `JTI=${jti}`],
    ['pod-name', textAt(about, 'pod', 'name')],
    ['pod-uid', textAt(about, 'pod', 'uid')],
    ['node-name', textAt(about, 'node', 'name')],
    ['node-uid', textAt(about, 'node', 'uid')],
  ]
  const known = pairs.filter(([, value]) => value !== '')
  return new Map(known.map(([key, value]) => [`authentication.kubernetes.io/${key}`, [value]]))
}
