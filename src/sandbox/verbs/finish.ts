/** The end of objects: at once, or when their last finalizer is gone; a namespace takes its content along. */
import { type KubeObject, withMetadata } from '../json.ts'
import { RESOURCES, type Resource, resourceNamed } from '../objects/resources.ts'
import type { Storage } from '../objects/storage.ts'

const NAMESPACED = RESOURCES.filter((one) => one.isNamespaced && one.isStored)

/** Marks an object with finalizers as being deleted, takes any other away. @returns its last state */
export function endObject(
  storage: Storage,
  resource: Resource,
  object: KubeObject,
  deletionTimestamp: string,
): KubeObject {
  const { finalizers = [], deletionTimestamp: already } = object.metadata
  if (already !== undefined && finalizers.length > 0) return object
  const marked = withMetadata(object, { deletionTimestamp, deletionGracePeriodSeconds: 0 })
  if (finalizers.length > 0) return storage.put(resource, marked)
  if (resource.resource === 'namespaces')
    return endNamespace(storage, resource, marked, deletionTimestamp)
  return takeAway(storage, resource, resource.resource === 'pods' ? counted(marked) : object)
}

/** A pod's end is an event of its own: it counts a generation (`pkg/registry/rest/delete.go`). */
function counted(pod: KubeObject): KubeObject {
  return withMetadata(pod, { generation: (pod.metadata.generation ?? 0) + 1 })
}

/** After an update: an object being deleted goes with its last finalizer. */
export function removeIfFinished(
  storage: Storage,
  resource: Resource,
  object: KubeObject,
): KubeObject {
  const { deletionTimestamp, finalizers = [] } = object.metadata
  if (deletionTimestamp === undefined || finalizers.length > 0) return object
  return takeAway(storage, resource, object)
}

function takeAway(storage: Storage, resource: Resource, object: KubeObject): KubeObject {
  const removed = storage.remove(resource, object)
  const { namespace } = object.metadata
  if (namespace !== undefined) removeIfEmpty(storage, namespace)
  return removed
}

function endNamespace(
  storage: Storage,
  resource: Resource,
  namespace: KubeObject,
  deletionTimestamp: string,
): KubeObject {
  const terminating = storage.put(resource, { ...namespace, status: { phase: 'Terminating' } })
  const { name = '' } = namespace.metadata
  for (const inside of NAMESPACED)
    for (const object of storage.list(inside, name))
      endObject(storage, inside, object, deletionTimestamp)
  removeIfEmpty(storage, name)
  return terminating
}

/** A namespace that is ending goes with the last object in it. */
function removeIfEmpty(storage: Storage, name: string): void {
  const namespaces = resourceNamed('namespaces')
  const namespace = storage.get(namespaces, '', name)
  if (namespace?.metadata.deletionTimestamp === undefined) return
  const isEmpty = NAMESPACED.every((inside) => storage.list(inside, name).length === 0)
  if (isEmpty) storage.remove(namespaces, namespace)
}
