/** The discovery documents, out of the table of resources. */
import { groupVersionOf, RESOURCES, type Resource, type Subresource } from '../objects/resources.ts'

const groups = [
  ...new Set(RESOURCES.map(({ group }) => group).filter((group) => group !== '')),
].sort()

function resourcesOf(group: string, version?: string): readonly Resource[] {
  return RESOURCES.filter(
    (one) => one.group === group && (version === undefined || one.version === version),
  )
}

function versionsOf(group: string): readonly string[] {
  return [...new Set(resourcesOf(group).map(({ version }) => version))]
}

/** `/` */
export function rootPaths(): object {
  const ofGroups = groups.flatMap((group) => [
    `/apis/${group}`,
    ...versionsOf(group).map((version) => `/apis/${group}/${version}`),
  ])
  const health = ['/healthz', '/livez', '/readyz']
  return {
    paths: [
      '/api',
      '/api/v1',
      '/apis',
      ...ofGroups,
      ...health,
      '/openapi/v2',
      '/openapi/v3',
      '/version',
    ].sort(),
  }
}

/** `/apis` */
export function apiGroups(): object {
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups.map(groupDocument) }
}

/** `/apis/GROUP`, undefined for a group that is not served. */
export function apiGroup(group: string): object | undefined {
  if (!groups.includes(group)) return undefined
  return { kind: 'APIGroup', apiVersion: 'v1', ...groupDocument(group) }
}

function groupDocument(name: string) {
  const versions = versionsOf(name).map((version) => ({
    groupVersion: `${name}/${version}`,
    version,
  }))
  return { name, versions, preferredVersion: versions[0]! }
}

/** `APIResourceList` of one version. */
export function apiResources(group: string, version: string): object | undefined {
  const resources = resourcesOf(group, version)
  if (resources.length === 0) return undefined
  const groupVersion = groupVersionOf({ group, version })
  const entries = resources.flatMap((one) => [
    entryOf(one),
    ...one.subresources.map((sub) => subEntryOf(one, sub)),
  ])
  return {
    kind: 'APIResourceList',
    ...(group !== '' && { apiVersion: 'v1' }),
    groupVersion,
    resources: entries,
  }
}

function entryOf(one: Resource): object {
  const { resource: name, singular: singularName, isNamespaced: namespaced, kind, verbs } = one
  return { name, singularName, namespaced, kind, verbs, ...named(one) }
}

function named({ shortNames, categories }: Resource): object {
  return {
    ...(shortNames.length > 0 && { shortNames }),
    ...(categories.length > 0 && { categories }),
  }
}

function subEntryOf(parent: Resource, sub: Subresource): object {
  const name = `${parent.resource}/${sub.name}`
  const kind = sub.kind?.group ? sub.kind : { kind: sub.kind?.kind ?? parent.kind }
  return { name, singularName: '', namespaced: parent.isNamespaced, ...kind, verbs: sub.verbs }
}

/** `APIGroupDiscoveryList` (KEP-3352): of the core group, or of all the others. */
export function aggregatedDiscovery(isCore: boolean): object {
  const items = (isCore ? [''] : groups).map((group) => ({
    metadata: group === '' ? {} : { name: group },
    versions: versionsOf(group).map((version) => ({
      version,
      resources: resourcesOf(group, version).map(discoveryOf),
      freshness: 'Current',
    })),
  }))
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items,
  }
}

function discoveryOf(one: Resource): object {
  const subresources = one.subresources.map((sub) => ({
    subresource: sub.name,
    responseKind: kindOf(sub.kind ?? { group: '', version: '', kind: one.kind }),
    verbs: sub.verbs,
  }))
  return {
    resource: one.resource,
    responseKind: kindOf({ group: '', version: '', kind: one.kind }),
    scope: one.isNamespaced ? 'Namespaced' : 'Cluster',
    singularResource: one.singular,
    verbs: one.verbs,
    ...named(one),
    ...(subresources.length > 0 && { subresources }),
  }
}

function kindOf({
  group,
  version,
  kind,
}: {
  group: string
  version: string
  kind: string
}): object {
  return { group, version, kind }
}
