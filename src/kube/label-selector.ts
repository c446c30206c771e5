import { UsageError } from '../errors.ts'

/**
 * Label selectors as kubectl and the API server read them (apimachinery `pkg/labels/selector.go`):
 * `env=prod,region!=eu,tier in (a,b),!old`. Pure.
 */

type Labels = Readonly<Record<string, unknown>>
export type LabelTest = (labels: Labels) => boolean

/** All requirements have to hold; an empty selector selects everything. @throws UsageError MCM_BAD_REQUEST */
export function labelSelector(text: string): LabelTest {
  if (text.trim() === '') return () => true
  const requirements = splitRequirements(text).map(readRequirement)
  return (labels) => requirements.every((holds) => holds(labels))
}

const KEY = '([A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?)'
const VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/
const EXISTS = new RegExp(`^(!?)\\s*${KEY}$`)
const IN = new RegExp(`^${KEY}\\s+(in|notin)\\s*\\(([^()]*)\\)$`)
const COMPARES = new RegExp(`^${KEY}\\s*(==|=|!=|<|>)\\s*(\\S*)$`)
const MAX_VALUE_LENGTH = 63

/** Commas within parentheses do not separate. */
function splitRequirements(text: string): string[] {
  return text.split(/,(?![^(]*\))/).map((part) => part.trim())
}

function readRequirement(text: string): LabelTest {
  const exists = EXISTS.exec(text)
  if (exists) return (labels) => (labelOf(labels, exists[2]!) !== undefined) === (exists[1] === '')
  const set = IN.exec(text)
  if (set) {
    const values = set[4]!.split(',').map((value) => value.trim())
    return inSet(set[1]!, set[3] === 'in', values)
  }
  const compare = COMPARES.exec(text)
  if (!compare) throw unreadable(requirementProblem(text))
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
  const wrong = values.find((value) => !VALUE.test(value) || value.length > MAX_VALUE_LENGTH)
  if (wrong !== undefined) throw unreadable(`values[0][${key}]: Invalid value: "${wrong}"`)
  return (labels) => {
    const label = labelOf(labels, key)
    return (label !== undefined && values.includes(label)) === isIn
  }
}

function compareNumber(key: string, operator: string, value: string): LabelTest {
  const limit = Number(value)
  if (!/^\d+$/.test(value))
    throw unreadable(
      `values[0][${key}]: Invalid value: "${value}": for 'Gt', 'Lt' operators, the value must be an integer`,
    )
  return (labels) => {
    const label = labelOf(labels, key)
    if (label === undefined || !/^-?\d+$/.test(label)) return false
    return operator === '>' ? Number(label) > limit : Number(label) < limit
  }
}

/** Own members only: `constructor` is a label like any other. */
function labelOf(labels: Labels, key: string): string | undefined {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined
  return typeof value === 'string' ? value : undefined
}

/** In the words of the API server. */
function unreadable(problem: string): UsageError {
  return new UsageError('MCM_BAD_REQUEST', `unable to parse requirement: ${problem}`)
}
