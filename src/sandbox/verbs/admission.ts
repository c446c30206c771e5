/** What admission plugins that are always on refuse, and what the sandbox has to say of its limits. */
import type { ResourceContext } from '../context.ts'
import type { KubeObject } from '../json.ts'
import { resourceNamed } from '../objects/resources.ts'
import { forbidden, notFound } from '../refusals.ts'

/** The admission plugin NamespaceLifecycle. */
export function requireNamespace({ sandbox, resource }: ResourceContext, object: KubeObject): void {
  const { namespace: name, name: objectName = '' } = object.metadata
  if (name === undefined) return
  const namespaces = resourceNamed('namespaces')
  const namespace = sandbox.storage.get(namespaces, '', name)
  if (!namespace) throw notFound(namespaces, name)
  if (namespace.metadata.deletionTimestamp === undefined) return
  const why = `unable to create new content in namespace ${name} because it is being terminated`
  throw forbidden(resource, objectName, why)
}

/** The admission plugin ServiceAccount, as far as it refuses. */
export function requireServiceAccount(
  { sandbox, resource }: ResourceContext,
  object: KubeObject,
): void {
  if (resource.resource !== 'pods') return
  const { namespace = '', name = '' } = object.metadata
  const spec = object.spec as Record<string, string> | undefined
  const account = spec?.serviceAccountName || 'default'
  if (sandbox.storage.get(resourceNamed('serviceaccounts'), namespace, account)) return
  const missing = `serviceaccount "${account}" not found`
  throw forbidden(
    resource,
    name,
    `error looking up service account ${namespace}/${account}: ${missing}`,
  )
}

const PROTECTED = new Set(['default', 'kube-system', 'kube-public'])

/** The admission plugin NamespaceLifecycle. */
export function refuseProtected({ resource }: ResourceContext, object: KubeObject): void {
  const { name = '' } = object.metadata
  if (resource.resource === 'namespaces' && PROTECTED.has(name))
    throw forbidden(resource, name, 'this namespace may not be deleted')
}

/** What is stored and never acted upon is said so. */
export function warnOfLimits({ resource, exchange }: ResourceContext): void {
  if (resource.group === 'admissionregistration.k8s.io')
    exchange.addWarning(`the sandbox stores ${resource.resource} and does not enforce them`)
}
