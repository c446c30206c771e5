/** The simple kinds of the core group. */
import {
  at,
  isSameJson,
  type JsonObject,
  type KubeObject,
  listAt,
  textAt,
  textsAt,
  withMember,
  withMetadata,
} from '../json.ts'
import { invalidValue, requiredValue } from '../objects/names.ts'
import { resourceNamed } from '../objects/resources.ts'
import type { Storage } from '../objects/storage.ts'
import type { Cause } from '../refusals.ts'
import type { KindRules } from './kind-rules.ts'

export const namespaceRules: KindRules = {
  withDefaults: (namespace) => {
    const { name = '', labels } = namespace.metadata
    return withMetadata(namespace, { labels: { ...labels, 'kubernetes.io/metadata.name': name } })
  },
  atCreation: (namespace) => ({
    ...namespace,
    spec: { finalizers: ['kubernetes'] },
    status: { phase: 'Active' },
  }),
  atUpdate: (namespace, old) => ({ ...namespace, spec: old.spec, status: old.status }),
  isReturnedWhenDeleted: true,
}

export const configMapRules: KindRules = {
  problems: (object) => tooLarge(object, ['data', 'binaryData']),
  updateProblems: (object, old) => immutableData(object, old),
}

export const secretRules: KindRules = {
  withDefaults: (secret) => {
    const { stringData, ...rest } = secret
    const encoded = Object.entries((stringData ?? {}) as JsonObject).map(([key, value]) => [
      key,
      Buffer.from(String(value)).toString('base64'),
    ])
    const data = { ...(secret.data as JsonObject), ...Object.fromEntries(encoded) }
    const hasData = Object.keys(data).length > 0
    return {
      ...rest,
      ...(hasData && { data }),
      type: textAt(secret, 'type') || 'Opaque',
    } as KubeObject
  },
  problems: (secret) => tooLarge(secret, ['data']),
  updateProblems: (object, old) => [
    ...(object.type === old.type ? [] : [invalidValue('type', object.type, 'field is immutable')]),
    ...immutableData(object, old),
  ],
}

export const serviceAccountRules: KindRules = { isReturnedWhenDeleted: true }

export const nodeRules: KindRules = {
  atCreation: (node) => ({ ...node, spec: withTaint((node.spec ?? {}) as JsonObject) }),
  atUpdate: (node, old) => withMember(node, 'status', old.status),
}

/** The admission plugin TaintNodesByCondition. */
function withTaint(spec: JsonObject): JsonObject {
  const key = 'node.kubernetes.io/not-ready'
  const taints = listAt(spec, 'taints')
  if (taints.some((one) => textAt(one, 'key') === key)) return spec
  return { ...spec, taints: [...taints, { key, effect: 'NoSchedule' }] }
}

export const eventRules: KindRules = {
  isCreatedByUpdate: true,
  problems: (event) => {
    const about = textAt(event, 'involvedObject', 'namespace') || 'default'
    const { namespace } = event.metadata
    if (namespace === about) return []
    const problem = 'does not match event.namespace'
    return [
      invalidValue(
        'involvedObject.namespace',
        textAt(event, 'involvedObject', 'namespace'),
        problem,
      ),
    ]
  },
}

export const serviceRules: KindRules = {
  withDefaults: (service) => {
    const spec = (service.spec ?? {}) as JsonObject
    const type = textAt(spec, 'type') || 'ClusterIP'
    const fixed = type === 'ExternalName' ? {} : { internalTrafficPolicy: 'Cluster' }
    const ports = listAt(spec, 'ports').map((port) => {
      const one = port as JsonObject
      const targetPort = one.targetPort || one.port
      return { protocol: 'TCP', ...one, targetPort }
    })
    const shownPorts = ports.length > 0 ? { ports } : {}
    return { ...service, spec: { sessionAffinity: 'None', ...fixed, ...spec, type, ...shownPorts } }
  },
  atCreation: (service, storage) => ({
    ...service,
    spec: withAddress(service.spec as JsonObject, storage),
    status: { loadBalancer: {} },
  }),
  atUpdate: (service, old) => {
    const kept = ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy'].filter(
      (key) => at(service, 'spec', key) === undefined && at(old, 'spec', key) !== undefined,
    )
    const addresses = Object.fromEntries(kept.map((key) => [key, at(old, 'spec', key)]))
    return {
      ...service,
      spec: { ...(service.spec as JsonObject), ...addresses },
      status: old.status,
    }
  },
  problems: (service) => {
    const needsPorts =
      textAt(service, 'spec', 'type') !== 'ExternalName' &&
      textAt(service, 'spec', 'clusterIP') !== 'None'
    return needsPorts && listAt(service, 'spec', 'ports').length === 0
      ? [requiredValue('spec.ports')]
      : []
  },
  updateProblems: (service, old) => {
    const [address, before] = [service, old].map((one) => textAt(one, 'spec', 'clusterIP'))
    if (before === '' || address === before || textAt(service, 'spec', 'type') === 'ExternalName')
      return []
    return [invalidValue('spec.clusterIPs[0]', [address], 'may not change once set')]
  },
  isReturnedWhenDeleted: true,
}

function withAddress(spec: JsonObject, storage: Storage): JsonObject {
  if (spec.type === 'ExternalName') return spec
  const clusterIP = textAt(spec, 'clusterIP') || freeAddress(storage)
  const families = { ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack' }
  return { ...spec, clusterIP, clusterIPs: [clusterIP], ...families }
}

/** The lowest free address of 10.96.0.0/16 from 10.96.0.10 on. */
function freeAddress(storage: Storage): string {
  const taken = new Set(
    storage.list(resourceNamed('services')).flatMap((one) => textsAt(one, 'spec', 'clusterIPs')),
  )
  for (let index = 10; index < 65_535; index++) {
    const address = `10.96.${index >> 8}.${index & 255}`
    if (!taken.has(address)) return address
  }
  throw new Error('no service address is left')
}

const MAX_DATA_BYTES = 1024 * 1024

/** All values together; base64 counts as what it stands for. */
function tooLarge(object: KubeObject, keys: readonly string[]): readonly Cause[] {
  const sizes = keys.flatMap((key) =>
    Object.values((object[key] ?? {}) as JsonObject).map((value) => {
      const isText = key === 'data' && object.kind === 'ConfigMap'
      return Buffer.byteLength(String(value), isText ? 'utf8' : 'base64')
    }),
  )
  if (sizes.reduce((sum, size) => sum + size, 0) <= MAX_DATA_BYTES) return []
  const message = `Too long: may not be more than ${MAX_DATA_BYTES} bytes`
  return [
    { reason: 'FieldValueTooLong', message, field: object.kind === 'ConfigMap' ? '[]' : 'data' },
  ]
}

function immutableData(object: KubeObject, old: KubeObject): readonly Cause[] {
  if (old.immutable !== true) return []
  const fields = ['immutable', 'data', 'binaryData'].filter(
    (key) => !isSameJson(object[key], old[key]),
  )
  return fields.map((field) => ({
    reason: 'FieldValueForbidden',
    message: 'Forbidden: field is immutable when `immutable` is set',
    field,
  }))
}
