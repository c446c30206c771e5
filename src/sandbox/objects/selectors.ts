/** Label and field selectors (apimachinery `pkg/labels/selector.go`, `pkg/fields/selector.go`). */
import { at, type KubeObject, member } from '../json.ts'
import { badRequest } from '../refusals.ts'
import type { Resource } from './resources.ts'

export type Selector = (object: KubeObject) => boolean

export const EVERYTHING: Selector = () => true

/** @throws Refusal 400 */
export function labelSelector(text: string): Selector {
  if (text.trim() === '') return EVERYTHING
  const requirements = splitRequirements(text).map(readRequirement)
  return (object) => requirements.every((one) => one(object.metadata.labels ?? {}))
}

type LabelTest = (labels: Readonly<Record<string, string>>) => boolean

const KEY = '([A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?)'
const VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/
const EXISTS = new RegExp(`^(!?)\\s*${KEY}$`)
const IN = new RegExp(`^${KEY}\\s+(in|notin)\\s*\\(([^()]*)\\)$`)
const COMPARES = new RegExp(`^${KEY}\\s*(==|=|!=|<|>)\\s*(\\S*)$`)

/** Commas within parentheses do not separate. */
function splitRequirements(text: string): string[] {
  return text.split(/,(?![^(]*\))/).map((part) => part.trim())
}

function readRequirement(text: string): LabelTest {
  const exists = EXISTS.exec(text)
  if (exists) return (labels) => (labelOf(labels, exists[2]!) !== undefined) === (exists[1] === '')
  const set = IN.exec(text)
  if (set)
    return inSet(
      set[1]!,
      set[3] === 'in',
      set[4]!.split(',').map((one) => one.trim()),
    )
  const compare = COMPARES.exec(text)
  if (!compare) throw badRequest(`unable to parse requirement: ${requirementProblem(text)}`)
  const [, key = '', , operator = '', value = ''] = compare
  if (operator === '<' || operator === '>') return compareNumber(key, operator, value)
  return inSet(key, operator !== '!=', [value])
}

function requirementProblem(text: string): string {
  if (text.startsWith('!')) return `found '${text.slice(1).trim()[0] ?? ''}', expected: identifier`
  const [, , second] = /^(\S+)\s+(\S+)/.exec(text) ?? []
  if (second === undefined) return `found '${text}', expected: !, identifier, or 'end of string'`
  return `found '${second}', expected: in, notin, =, ==, !=, gt, lt`
}

/** Absent labels satisfy `!=` and `notin`. */
function inSet(key: string, isIn: boolean, values: readonly string[]): LabelTest {
  const wrong = values.find((value) => !VALUE.test(value) || value.length > 63)
  if (wrong !== undefined)
    throw badRequest(`unable to parse requirement: values[0][${key}]: Invalid value: "${wrong}"`)
  return (labels) => {
    const label = labelOf(labels, key)
    return (label !== undefined && values.includes(label)) === isIn
  }
}

function compareNumber(key: string, operator: string, value: string): LabelTest {
  const limit = Number(value)
  if (!/^\d+$/.test(value))
    throw badRequest(
      `unable to parse requirement: values[0][${key}]: Invalid value: "${value}": for 'Gt', 'Lt' operators, the value must be an integer`,
    )
  return (labels) => {
    const label = labelOf(labels, key)
    if (label === undefined || !/^-?\d+$/.test(label)) return false
    return operator === '>' ? Number(label) > limit : Number(label) < limit
  }
}

function labelOf(labels: Readonly<Record<string, string>>, key: string): string | undefined {
  const value = member(labels, key)
  return typeof value === 'string' ? value : undefined
}

/** @throws Refusal 400 a malformed selector, or a field this resource cannot be selected by */
export function fieldSelector(text: string, resource: Resource): Selector {
  const terms = splitFields(text).map((term) => readTerm(term, resource))
  return (object) => terms.every((term) => term(object))
}

/** Commas may be escaped with a backslash. */
function splitFields(text: string): string[] {
  return text.split(/(?<!\\),/).filter((term) => term !== '')
}

function readTerm(term: string, resource: Resource): Selector {
  const match = /^(.*?)(!=|==|=)(.*)$/s.exec(term)
  if (!match) throw badRequest(`invalid selector: '${term}'; can't understand '${term}'`)
  const [, label = '', operator, raw = ''] = match
  const path = pathOf(label, resource)
  const wanted = raw.replace(/\\([\\,=])/g, '$1')
  return (object) => (fieldText(object, path) === wanted) === (operator !== '!=')
}

function pathOf(label: string, resource: Resource): readonly string[] {
  if (label === 'metadata.name') return ['metadata', 'name']
  if (label === 'metadata.namespace' && resource.isNamespaced) return ['metadata', 'namespace']
  if (Object.hasOwn(resource.fieldLabels, label)) return resource.fieldLabels[label]!.split('.')
  throw badRequest(unknownLabel(label, resource))
}

/** Kinds with fields of their own word it themselves (kubernetes `pkg/apis/core/v1/conversion.go`). */
function unknownLabel(label: string, resource: Resource): string {
  if (Object.keys(resource.fieldLabels).length > 0) return `field label not supported: ${label}`
  return `"${label}" is not a known field selector: only "metadata.name", "metadata.namespace"`
}

function fieldText(object: KubeObject, path: readonly string[]): string {
  const value = at(object, ...path)
  if (value === undefined || value === null) return path.at(-1) === 'unschedulable' ? 'false' : ''
  return String(value)
}
