/** The simple kinds of the core group. */
import {
  isSameJson,
  type JsonObject,
  type KubeObject,
  listAt,
  textAt,
  withMember,
  withMetadata,
} from '../json.ts'
import { invalidValue } from '../objects/names.ts'
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
