/**
 * Services: their defaults, and the addresses and ports given to them (kubernetes
 * `pkg/apis/core/v1/defaults.go`, `pkg/registry/core/service/storage/alloc.go`). Nobody routes to them.
 */
import { at, type JsonObject, type KubeObject, listAt, numberAt, textAt, textsAt } from '../json.ts'
import { invalidValue, requiredValue } from '../objects/names.ts'
import { resourceNamed } from '../objects/resources.ts'
import type { Storage } from '../objects/storage.ts'
import type { Cause } from '../refusals.ts'
import type { KindRules } from './kind-rules.ts'

const NODE_PORTS = { first: 30_000, last: 32_767 }
const EXTERNAL_TYPES = new Set(['NodePort', 'LoadBalancer'])
const KEPT = ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy']

export const serviceRules: KindRules = {
  withDefaults: (service) => ({
    ...service,
    spec: withDefaults((service.spec ?? {}) as JsonObject),
  }),
  atCreation: (service, storage) => ({
    ...service,
    spec: withNodePorts(withAddress(service.spec as JsonObject, storage), storage),
    status: { loadBalancer: {} },
  }),
  atUpdate: (service, old, storage) => {
    const spec = { ...keptAddresses(service, old), ...(service.spec as JsonObject) }
    return {
      ...service,
      spec: withNodePorts(withOldNodePorts(spec, old), storage),
      status: old.status,
    }
  },
  problems: portProblems,
  updateProblems: addressProblems,
  isReturnedWhenDeleted: true,
}

function withDefaults(spec: JsonObject): JsonObject {
  const type = textAt(spec, 'type') || 'ClusterIP'
  const ports = listAt(spec, 'ports').map((port) => {
    const one = port as JsonObject
    return { protocol: 'TCP', ...one, targetPort: one.targetPort || one.port }
  })
  return {
    sessionAffinity: 'None',
    ...(type !== 'ExternalName' && { internalTrafficPolicy: 'Cluster' }),
    ...(EXTERNAL_TYPES.has(type) && { externalTrafficPolicy: 'Cluster' }),
    ...(type === 'LoadBalancer' && { allocateLoadBalancerNodePorts: true }),
    ...spec,
    type,
    ...(ports.length > 0 && { ports }),
  }
}

function withAddress(spec: JsonObject, storage: Storage): JsonObject {
  if (spec.type === 'ExternalName') return spec
  const clusterIP = textAt(spec, 'clusterIP') || freeAddress(storage)
  const families = { ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack' }
  return { ...spec, clusterIP, clusterIPs: [clusterIP], ...families }
}

/** The lowest free address of 10.96.0.0/16 from 10.96.0.10 on. */
function freeAddress(storage: Storage): string {
  const taken = new Set(services(storage).flatMap((one) => textsAt(one, 'spec', 'clusterIPs')))
  for (let index = 10; index < 65_535; index++) {
    const address = `10.96.${index >> 8}.${index & 255}`
    if (!taken.has(address)) return address
  }
  throw new Error('no service address is left')
}

function withNodePorts(spec: JsonObject, storage: Storage): JsonObject {
  if (!EXTERNAL_TYPES.has(textAt(spec, 'type'))) return spec
  const taken = new Set(
    services(storage).flatMap((one) =>
      listAt(one, 'spec', 'ports').map((port) => numberAt(port, 'nodePort')),
    ),
  )
  const ports = listAt(spec, 'ports').map((port) => {
    const nodePort = numberAt(port, 'nodePort') || freePort(taken)
    taken.add(nodePort)
    return { ...(port as JsonObject), nodePort }
  })
  return { ...spec, ports }
}

function freePort(taken: ReadonlySet<number>): number {
  for (let port = NODE_PORTS.first; port <= NODE_PORTS.last; port++)
    if (!taken.has(port)) return port
  throw new Error('no node port is left')
}

function services(storage: Storage): readonly KubeObject[] {
  return storage.list(resourceNamed('services'))
}

/** An update that leaves addresses out means them as they are. */
function keptAddresses(service: KubeObject, old: KubeObject): JsonObject {
  const left = KEPT.filter(
    (key) => at(service, 'spec', key) === undefined && at(old, 'spec', key) !== undefined,
  )
  return Object.fromEntries(left.map((key) => [key, at(old, 'spec', key)]))
}

function withOldNodePorts(spec: JsonObject, old: KubeObject): JsonObject {
  const before = listAt(old, 'spec', 'ports')
  const ports = listAt(spec, 'ports').map((port) => {
    const same = before.find((one) =>
      ['port', 'protocol'].every((key) => at(one, key) === at(port, key)),
    )
    const nodePort = numberAt(port, 'nodePort') || numberAt(same, 'nodePort')
    return nodePort === 0 ? port : { ...(port as JsonObject), nodePort }
  })
  return ports.length > 0 && EXTERNAL_TYPES.has(textAt(spec, 'type')) ? { ...spec, ports } : spec
}

function portProblems(service: KubeObject): readonly Cause[] {
  const isExternalName = textAt(service, 'spec', 'type') === 'ExternalName'
  const isHeadless = textAt(service, 'spec', 'clusterIP') === 'None'
  const needsPorts = !isExternalName && !isHeadless
  return needsPorts && listAt(service, 'spec', 'ports').length === 0
    ? [requiredValue('spec.ports')]
    : []
}

function addressProblems(service: KubeObject, old: KubeObject): readonly Cause[] {
  const [address, before] = [service, old].map((one) => textAt(one, 'spec', 'clusterIP'))
  const isExternalName = textAt(service, 'spec', 'type') === 'ExternalName'
  if (before === '' || address === before || isExternalName) return []
  return [invalidValue('spec.clusterIPs[0]', [address], 'may not change once set')]
}
