/** Whether a write means the object that is stored (apiserver `pkg/registry/rest/update.go`, `delete.go`). */
import type { ResourceContext } from '../context.ts'
import type { KubeObject } from '../json.ts'
import { rulesOf } from '../kinds/rules-of.ts'
import { invalidValue } from '../objects/names.ts'
import { badRequest, conflict, invalid, STALE } from '../refusals.ts'

/** What a DELETE may insist on; '' where it does not. */
export interface DeletePreconditions {
  readonly uid: string
  readonly resourceVersion: string
}

/** @throws Refusal 400 an object that is to be put under a name and has none */
export function requireName({ metadata }: KubeObject, nameInUrl: string): void {
  if (metadata.name) return
  throw badRequest(
    `the name of the object (${nameInUrl} based on URL) was undeterminable: name must be provided`,
  )
}

/** Same name, same uid, and not older than what is stored. */
export function requireSameObject(
  context: ResourceContext,
  {
    object,
    old,
    isPatch,
  }: { readonly object: KubeObject; readonly old: KubeObject; readonly isPatch: boolean },
): void {
  const { resource, info } = context
  const { name = '', namespace, uid, resourceVersion } = object.metadata
  if (!isPatch) requireName(object, info.name)
  if (name !== '' && name !== info.name)
    throw badRequest(
      `the name of the object (${name}) does not match the name on the URL (${info.name})`,
    )
  if (namespace && old.metadata.namespace !== undefined && namespace !== old.metadata.namespace)
    throw badRequest(
      'the namespace of the provided object does not match the namespace sent on the request',
    )
  if (uid && uid !== old.metadata.uid)
    throw conflict(resource, info.name, wrongUid(context, uid, old))
  if (resourceVersion && resourceVersion !== old.metadata.resourceVersion)
    throw conflict(resource, info.name, STALE)
  if (resourceVersion || isPatch || !rulesOf(resource).isUpdateConditional) return
  const cause = invalidValue('metadata.resourceVersion', 0, 'must be specified for an update')
  throw invalid(resource.group, resource.resource, info.name, [cause])
}

/** The sentence of etcd3's store (apiserver `pkg/storage/etcd3/store.go`). */
function wrongUid({ resource, info }: ResourceContext, uid: string, old: KubeObject): string {
  const { namespace } = old.metadata
  const key = ['/registry', resource.resource, ...(namespace ? [namespace] : []), info.name].join(
    '/',
  )
  const detail = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`
  return `StorageError: invalid object, Code: 4, Key: ${key}, ResourceVersion: 0, AdditionalErrorMsg: ${detail}`
}

/** @throws Refusal 409 */
export function requirePreconditions(
  { resource }: ResourceContext,
  options: DeletePreconditions,
  object: KubeObject,
): void {
  const { name = '', uid, resourceVersion } = object.metadata
  const of = { group: resource.group, resource: resource.kind }
  if (options.uid !== '' && options.uid !== uid)
    throw conflict(of, name, mismatch('UID', options.uid, uid, 'deleted and then recreated'))
  const asked = options.resourceVersion
  if (asked !== '' && asked !== resourceVersion)
    throw conflict(of, name, mismatch('ResourceVersion', asked, resourceVersion, 'modified'))
}

function mismatch(what: string, asked: string, found: string | undefined, fate: string): string {
  const problem = `the ${what} in the precondition (${asked}) does not match the ${what} in record (${found})`
  return `${problem}. The object might have been ${fate}`
}
