/** What metadata may hold (apimachinery `pkg/api/validation/objectmeta.go`). */
import type { KubeObject } from '../json.ts'
import type { Cause } from '../refusals.ts'
import { invalidValue, nameCauses, nameProblems, requiredValue } from './names.ts'
import type { NameRule } from './resources.ts'

const PART = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/
const ALNUM = 'must start and end with an alphanumeric character'
const NAME_PART =
  `name part must consist of alphanumeric characters, '-', '_' or '.', and ${ALNUM} (e.g. 'MyName',  or 'my.name',  ` +
  "or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
const LABEL_VALUE =
  `a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and ${ALNUM} ` +
  "(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
  "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

/** @param rule how this resource is named */
export function metadataCauses({ metadata }: KubeObject, rule: NameRule): readonly Cause[] {
  const { name = '' } = metadata
  const ofName =
    name === ''
      ? [requiredValue('metadata.name', 'name or generateName is required')]
      : nameCauses(name, rule, 'metadata.name')
  return [
    ...ofName,
    ...labelCauses(metadata.labels ?? {}),
    ...annotationCauses(metadata.annotations ?? {}),
  ]
}

function labelCauses(labels: Readonly<Record<string, string>>): readonly Cause[] {
  return Object.entries(labels).flatMap(([key, value]) =>
    [
      ...keyProblems(key, 'label').map((problem) => [key, problem]),
      ...valueProblems(value).map((problem) => [value, problem]),
    ].map(([what, problem]) => invalidValue('metadata.labels', what, problem!)),
  )
}

function annotationCauses(annotations: Readonly<Record<string, string>>): readonly Cause[] {
  return Object.keys(annotations).flatMap((key) =>
    keyProblems(key.toLowerCase(), 'annotation').map((problem) =>
      invalidValue('metadata.annotations', key, problem),
    ),
  )
}

function valueProblems(value: string): readonly string[] {
  const tooLong = value.length > 63 ? ['must be no more than 63 bytes'] : []
  return value === '' || PART.test(value) ? tooLong : [...tooLong, LABEL_VALUE]
}

/** A qualified name: an optional domain, a slash, a name. */
function keyProblems(key: string, what: 'label' | 'annotation'): readonly string[] {
  const parts = key.split('/')
  const name = parts.at(-1)!
  if (parts.length > 2)
    return [
      `a valid ${what} key ${NAME_PART.slice('name part '.length)} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ]
  const ofPrefix =
    parts.length === 2
      ? nameProblems(parts[0]!, 'subdomain').map((one) => `prefix part ${one}`)
      : []
  if (name === '') return [...ofPrefix, 'name part must be non-empty', NAME_PART]
  const tooLong = name.length > 63 ? ['name part must be no more than 63 bytes'] : []
  return [...ofPrefix, ...tooLong, ...(PART.test(name) ? [] : [NAME_PART])]
}
