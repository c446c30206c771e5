/**
 * What every write does between decoding and storing (apiserver `pkg/registry/rest/create.go`,
 * `update.go`, `pkg/registry/generic/registry/store.go`).
 */
import type { ResourceContext } from '../context.ts'
import { isSameJson, type KubeObject, withMetadata } from '../json.ts'
import { rulesOf } from '../kinds/rules-of.ts'
import { metadataCauses } from '../objects/metadata.ts'
import { forbiddenTo, resourceAttributes } from '../rbac/attributes.ts'
import { refuseEscalation } from '../rbac/escalation.ts'
import { alreadyExists, badRequest, type Cause, internal, invalid } from '../refusals.ts'
import { uuid } from '../uuid.ts'
import { requireNamespace, requireServiceAccount, warnOfLimits } from './admission.ts'
import { removeIfFinished } from './finish.ts'
import { requireSameObject } from './preconditions.ts'
import { now } from './time.ts'

const NAME_LETTERS = 'bcdfghjklmnpqrstvwxz2456789'
const MAX_BASE_LENGTH = 58

/** Notes in `managedFields` who owns what of the finished object. */
export type Owned = (object: KubeObject) => KubeObject

/** Brings a new object to life; stores it unless it is a dry run. @throws Refusal */
export function bringToLife(
  context: ResourceContext,
  object: KubeObject,
  isDryRun: boolean,
  owned: Owned,
): KubeObject {
  const { resource, sandbox } = context
  const named = withIdentity(context, object)
  requireNamespace(context, named)
  const { name, namespace } = named.metadata
  context.audit.about(withMetadata(object, { name, namespace }))
  requireServiceAccount(context, named)
  const rules = rulesOf(resource)
  const filled = rules.withDefaults?.(named) ?? named
  const ours = owned(filled)
  const complete = rules.atCreation?.(ours, sandbox.storage) ?? ours
  refuseEscalation(sandbox, context.user, resource.resource, complete, undefined, context.info.name)
  requireValid(context, complete, [
    ...metadataCauses(complete, resource.nameRule),
    ...(rules.problems?.(complete) ?? []),
  ])
  if (sandbox.storage.get(resource, namespace ?? '', name ?? ''))
    throw alreadyExists(resource, name ?? '')
  warnOfLimits(context)
  return isDryRun ? complete : sandbox.storage.put(resource, complete)
}

/** What an update is made of; `old` is what is stored. */
export interface Replacement {
  readonly object: KubeObject
  readonly old: KubeObject
  /** '' for the object itself, else `status`. */
  readonly subresource: string
  readonly isDryRun: boolean
  readonly owned: Owned
  /** A PATCH that names no resourceVersion is never stale. */
  readonly isPatch: boolean
}

/** Puts a changed object in place of the old one; nothing is written when nothing changed. @throws Refusal */
export function replace(context: ResourceContext, change: Replacement): KubeObject {
  const { resource, sandbox } = context
  const { object, old, subresource } = change
  if (!change.isPatch) context.audit.about(object)
  requireSameObject(context, change)
  const rules = rulesOf(resource)
  const filled = withMetadata(rules.withDefaults?.(object) ?? object, systemMetadata(old))
  const ours = change.owned(filled)
  const kept =
    subresource === 'status'
      ? onlyStatus(ours, old)
      : (rules.atUpdate?.(ours, old, sandbox.storage) ?? ours)
  const updated = countGeneration(context, kept, old)
  if (isUnchanged(updated, old)) return old
  refuseEscalation(sandbox, context.user, resource.resource, updated, old, context.info.name)
  if (subresource === '')
    requireValid(context, updated, [
      ...metadataCauses(updated, resource.nameRule),
      ...(rules.problems?.(updated) ?? []),
      ...(rules.updateProblems?.(updated, old) ?? []),
    ])
  if (change.isDryRun) return updated
  return removeIfFinished(sandbox.storage, resource, sandbox.storage.put(resource, updated))
}

function withIdentity(context: ResourceContext, object: KubeObject): KubeObject {
  const { resource, info, sandbox } = context
  const { metadata } = object
  if (metadata.resourceVersion)
    throw internal('resourceVersion should not be set on objects to be created')
  const namespace = resource.isNamespaced ? info.namespace : undefined
  if (metadata.namespace && metadata.namespace !== (namespace ?? metadata.namespace))
    throw badRequest(
      'the namespace of the provided object does not match the namespace sent on the request',
    )
  const name = metadata.name || generateName(context, metadata.generateName ?? '')
  return withMetadata(object, {
    name,
    namespace,
    uid: uuid(sandbox.world),
    creationTimestamp: now(sandbox.world),
    generation: resource.hasGeneration ? 1 : undefined,
    deletionTimestamp: undefined,
    selfLink: undefined,
  })
}

function generateName({ sandbox }: ResourceContext, base: string): string {
  if (base === '') return ''
  const letters = [...sandbox.world.random(5)].map(
    (byte) => NAME_LETTERS[byte % NAME_LETTERS.length],
  )
  return base.slice(0, MAX_BASE_LENGTH) + letters.join('')
}

function requireValid(
  { resource }: ResourceContext,
  object: KubeObject,
  causes: readonly Cause[],
): void {
  const { name = '' } = object.metadata
  if (causes.length > 0) throw invalid(resource.group, resource.kind, name, causes)
}

function onlyStatus(object: KubeObject, old: KubeObject): KubeObject {
  return {
    ...old,
    metadata: { ...old.metadata, managedFields: object.metadata.managedFields ?? [] },
    status: object.status,
  }
}

/** What a client cannot change, whatever it sends. */
function systemMetadata(old: KubeObject) {
  const { name, namespace, uid, creationTimestamp, resourceVersion } = old.metadata
  const { generation, deletionTimestamp, deletionGracePeriodSeconds, generateName } = old.metadata
  const identity = { name, namespace, uid, creationTimestamp, resourceVersion, generateName }
  return {
    ...identity,
    generation,
    deletionTimestamp,
    deletionGracePeriodSeconds,
    selfLink: undefined,
  }
}

function countGeneration(
  { resource }: ResourceContext,
  object: KubeObject,
  old: KubeObject,
): KubeObject {
  if (!resource.hasGeneration || isSameJson(object.spec, old.spec)) return object
  return withMetadata(object, { generation: (old.metadata.generation ?? 0) + 1 })
}

function isUnchanged(object: KubeObject, old: KubeObject): boolean {
  const [left, right] = [object, old].map((one) =>
    withMetadata(one, { managedFields: untimed(one) }),
  )
  return isSameJson(left, right)
}

/** A manager's time alone is no change. */
function untimed({ metadata }: KubeObject) {
  return metadata.managedFields?.map(({ time: _, ...rest }) => rest) ?? []
}

/** Right to create by PUT or apply what is not there (apiserver `withAuthorization`). @throws Refusal 403 */
export function requireCreateRight(context: ResourceContext): void {
  const { info, user, resource, sandbox } = context
  const { namespace, name } = info
  const asked = {
    verb: 'create',
    apiGroup: resource.group,
    resource: resource.resource,
    namespace,
    name,
  }
  const attributes = resourceAttributes(user, asked)
  const { isAllowed, reason } = sandbox.authorize(attributes)
  if (!isAllowed) throw forbiddenTo(attributes, reason)
}
