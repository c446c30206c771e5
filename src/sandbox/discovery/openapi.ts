/**
 * OpenAPI documents out of the table of types: what kubectl needs to validate, to compute patches and to
 * explain (apiserver `pkg/endpoints/installer.go`, kube-openapi `pkg/builder3/`). Fields have no
 * descriptions.
 */
import { createHash } from 'node:crypto'
import type { JsonObject } from '../json.ts'
import { RESOURCES, type Resource } from '../objects/resources.ts'
import {
  type Field,
  type FieldType,
  kindType,
  type StructType,
  structNames,
  structType,
} from '../schema/types.ts'

type References = '#/components/schemas/' | '#/definitions/'

const INFO = { title: 'Kubernetes', version: 'sandbox' }
const PATCH_TYPES = [
  'json-patch+json',
  'merge-patch+json',
  'strategic-merge-patch+json',
  'apply-patch+yaml',
]

/** `api/v1`, `apis/apps/v1` → its resources. */
const documents = new Map<string, readonly Resource[]>()
for (const one of RESOURCES) {
  const path = one.group === '' ? `api/${one.version}` : `apis/${one.group}/${one.version}`
  documents.set(path, [...(documents.get(path) ?? []), one])
}

let index: object | undefined

/** `/openapi/v3`: where the documents are, under addresses that change when they do. */
export function openApiIndex(): object {
  index ??= {
    paths: Object.fromEntries([...documents.keys()].map((path) => [path, addressOf(path)])),
  }
  return index
}

function addressOf(path: string): object {
  const text = JSON.stringify(openApiGroup(path))
  const hash = createHash('sha512').update(text).digest('hex').toUpperCase()
  return { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` }
}

/** OpenAPI 3.0 of one group version, undefined for another. */
export function openApiGroup(path: string): object | undefined {
  const resources = documents.get(path)
  if (!resources) return undefined
  const names = new Set(resources.flatMap((one) => reachable(typeOf(one))))
  return {
    openapi: '3.0.0',
    info: INFO,
    paths: Object.assign(
      {},
      ...resources.filter((one) => one.isStored).map((one) => operations(one, path)),
    ),
    components: { schemas: schemasOf([...names], '#/components/schemas/') },
  }
}

/** OpenAPI 2.0 of everything, for clients that ask for it. */
export function openApiV2(): object {
  return {
    swagger: '2.0',
    info: INFO,
    paths: {},
    definitions: schemasOf(structNames(), '#/definitions/'),
  }
}

function typeOf({ group, version, kind }: Resource): StructType {
  return kindType(group, version, kind)!
}

function reachable(start: StructType): readonly string[] {
  const found = new Set<string>()
  const pending = [start.name]
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (found.has(name)) continue
    found.add(name)
    for (const field of structType(name).fields.values()) pending.push(...namesIn(field.type))
  }
  return [...found]
}

function namesIn(type: FieldType): readonly string[] {
  if (type.form === 'struct') return [type.name]
  return type.form === 'scalar' ? [] : namesIn(type.of)
}

function schemasOf(names: readonly string[], references: References): JsonObject {
  const sorted = [...names].sort()
  return Object.fromEntries(
    sorted.map((name) => [publishedName(name), schemaOf(structType(name), references)]),
  )
}

function publishedName(name: string): string {
  return name.startsWith('meta.v1.') ? `io.k8s.apimachinery.pkg.apis.${name}` : `io.k8s.api.${name}`
}

function schemaOf(type: StructType, references: References): JsonObject {
  const kinds = RESOURCES.filter((one) => typeOf(one).name === type.name)
  const fields = [...type.fields.values()]
  const identity = { apiVersion: { type: 'string' }, kind: { type: 'string' } }
  const own = Object.fromEntries(
    fields.map((field) => [field.name, fieldSchema(field, references)]),
  )
  const required = fields.filter((field) => field.isRequired).map((field) => field.name)
  return {
    type: 'object',
    properties: { ...(kinds.length > 0 && identity), ...own },
    ...(required.length > 0 && { required }),
    ...(type.isAtomic && { 'x-kubernetes-map-type': 'atomic' }),
    ...(kinds.length > 0 && { 'x-kubernetes-group-version-kind': kinds.map(kindOf) }),
  }
}

function fieldSchema(field: Field, references: References): JsonObject {
  return {
    ...schemaOfType(field.type, references),
    ...(field.patch.length > 0 && { 'x-kubernetes-patch-strategy': field.patch.join(',') }),
    ...(field.mergeKey !== undefined && { 'x-kubernetes-patch-merge-key': field.mergeKey }),
    ...(field.list !== undefined && { 'x-kubernetes-list-type': field.list }),
    ...(field.keys.length > 0 && { 'x-kubernetes-list-map-keys': field.keys }),
    ...(field.isAtomicMap && { 'x-kubernetes-map-type': 'atomic' }),
    ...(field.defaultText !== undefined && { default: field.defaultText }),
  }
}

function schemaOfType(type: FieldType, references: References): JsonObject {
  if (type.form === 'struct') return referenceTo(type.name, references)
  if (type.form === 'list') return { type: 'array', items: schemaOfType(type.of, references) }
  if (type.form === 'map')
    return { type: 'object', additionalProperties: schemaOfType(type.of, references) }
  return SCALARS[type.name] ?? { type: 'string' }
}

/** In 3.0 a reference stands alone, so that rules can stand beside it. */
function referenceTo(name: string, references: References): JsonObject {
  const reference = { $ref: `${references}${publishedName(name)}` }
  return references === '#/definitions/' ? reference : { allOf: [reference] }
}

const SCALARS: Readonly<Record<string, JsonObject>> = {
  bool: { type: 'boolean' },
  int32: { type: 'integer', format: 'int32' },
  int64: { type: 'integer', format: 'int64' },
  float64: { type: 'number', format: 'double' },
  bytes: { type: 'string', format: 'byte' },
  strings: { type: 'array', items: { type: 'string' } },
  time: { type: 'string', format: 'date-time' },
  microtime: { type: 'string', format: 'date-time' },
  intorstring: { type: 'string', format: 'int-or-string' },
  fields: { type: 'object' },
  raw: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
}

function kindOf({ group, version, kind }: Resource): JsonObject {
  return { group, version, kind }
}

/** Only what clients look for: which parameters writes take, and which patches. */
function operations(one: Resource, path: string): JsonObject {
  const collection = one.isNamespaced
    ? `/${path}/namespaces/{namespace}/${one.resource}`
    : `/${path}/${one.resource}`
  const kind = { 'x-kubernetes-group-version-kind': kindOf(one) }
  const answers = { responses: { '200': { description: 'OK' } } }
  const parameter = (name: string) => ({
    name,
    in: 'query',
    schema: { type: 'string', uniqueItems: true },
  })
  const parameters = ['dryRun', 'fieldManager', 'fieldValidation'].map(parameter)
  const write = (action: string) => ({
    ...kind,
    ...answers,
    parameters,
    'x-kubernetes-action': action,
  })
  const content = Object.fromEntries(
    PATCH_TYPES.map((type) => [`application/${type}`, { schema: { type: 'object' } }]),
  )
  return {
    [collection]: { post: write('post') },
    [`${collection}/{name}`]: {
      get: { ...kind, ...answers, 'x-kubernetes-action': 'get' },
      put: write('put'),
      patch: {
        ...write('patch'),
        parameters: [...parameters, parameter('force')],
        requestBody: { content },
      },
    },
  }
}
