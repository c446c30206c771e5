/** Label and field selectors (apimachinery `pkg/labels/selector.go`, `pkg/fields/selector.go`). */
import { messageOf } from '../../errors.ts'
import { labelSelector as readLabelSelector } from '../../kube/label-selector.ts'
import { at, type KubeObject } from '../json.ts'
import { badRequest } from '../refusals.ts'
import type { Resource } from './resources.ts'

export type Selector = (object: KubeObject) => boolean

/** @throws Refusal 400 */
export function labelSelector(text: string): Selector {
  try {
    const holds = readLabelSelector(text)
    return (object) => holds(object.metadata.labels ?? {})
  } catch (error) {
    throw badRequest(messageOf(error))
  }
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
