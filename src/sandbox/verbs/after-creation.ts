/** What the controllers would do at once: the default service account of a new namespace. */
import type { Sandbox } from '../context.ts'
import type { KubeObject } from '../json.ts'
import { type Resource, resourceNamed } from '../objects/resources.ts'
import { uuid } from '../uuid.ts'
import { now } from './time.ts'

export function afterCreation(
  { storage, world }: Pick<Sandbox, 'storage' | 'world'>,
  resource: Resource,
  object: KubeObject,
): void {
  if (resource.resource !== 'namespaces') return
  storage.put(resourceNamed('serviceaccounts'), {
    kind: 'ServiceAccount',
    apiVersion: 'v1',
    metadata: {
      name: 'default',
      namespace: object.metadata.name ?? '',
      uid: uuid(world),
      creationTimestamp: now(world),
    },
  })
}
