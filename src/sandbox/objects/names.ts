/** What may be a name (apimachinery `pkg/util/validation/validation.go`, `pkg/api/validate/content`). */
import type { Cause } from '../refusals.ts'
import type { NameRule } from './resources.ts'

const ALNUM = 'and must start and end with an alphanumeric character'
const SUBDOMAIN_SENTENCE =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', " +
  `${ALNUM} (e.g. 'example.com', regex used for validation is ` +
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
const LABEL_SENTENCE =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', " +
  `${ALNUM} (e.g. 'my-name',  or '123-abc', regex used for validation is ` +
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/

/** What is wrong with a name, as sentences; none when it may stand. */
export function nameProblems(name: string, rule: NameRule): readonly string[] {
  if (rule === 'pathSegment') return pathSegmentProblems(name)
  const [limit, pattern, sentence] =
    rule === 'subdomain'
      ? ([253, SUBDOMAIN, SUBDOMAIN_SENTENCE] as const)
      : ([63, LABEL, LABEL_SENTENCE] as const)
  const tooLong = name.length > limit ? [`must be no more than ${limit} bytes`] : []
  return pattern.test(name) ? tooLong : [...tooLong, sentence]
}

/** @param field `metadata.name` or another field that holds a name */
export function nameCauses(name: string, rule: NameRule, field: string): readonly Cause[] {
  return nameProblems(name, rule).map((problem) => invalidValue(field, name, problem))
}

/** `Invalid value: "x": why` (apimachinery `pkg/util/validation/field/errors.go`, as the next two). */
export function invalidValue(field: string, value: unknown, problem: string): Cause {
  const message = `Invalid value: ${JSON.stringify(value)}: ${problem}`
  return { reason: 'FieldValueInvalid', message, field }
}

export function notSupported(field: string, value: unknown, supported: readonly string[]): Cause {
  const list = supported.map((one) => JSON.stringify(one)).join(', ')
  const message = `Unsupported value: ${JSON.stringify(value)}: supported values: ${list}`
  return { reason: 'FieldValueNotSupported', message, field }
}

export function requiredValue(field: string, detail = ''): Cause {
  const message = detail === '' ? 'Required value' : `Required value: ${detail}`
  return { reason: 'FieldValueRequired', message, field }
}

function pathSegmentProblems(name: string): readonly string[] {
  if (name === '.' || name === '..') return [`may not be '${name}'`]
  return ['/', '%'].filter((one) => name.includes(one)).map((one) => `may not contain '${one}'`)
}
