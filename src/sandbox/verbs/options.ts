/** Parameters that writes share (apimachinery `pkg/apis/meta/v1/types.go`: CreateOptions and its kin). */
import type { Exchange } from '../exchange.ts'
import { notSupported } from '../objects/names.ts'
import { badRequest, invalid } from '../refusals.ts'

export type FieldValidation = 'Ignore' | 'Warn' | 'Strict'

export interface WriteOptions {
  readonly isDryRun: boolean
  readonly fieldValidation: FieldValidation
  readonly fieldManager: string
  readonly isForced: boolean | undefined
}

const MAX_MANAGER = 128

/** @param kind `CreateOptions`, for the message. @throws Refusal 400, 422 */
export function writeOptions(exchange: Exchange, kind: string): WriteOptions {
  const { query } = exchange
  const fieldValidation = query.get('fieldValidation') || 'Warn'
  if (!['Ignore', 'Warn', 'Strict'].includes(fieldValidation))
    throw unsupported(kind, 'fieldValidation', fieldValidation, ['', 'Ignore', 'Strict', 'Warn'])
  return {
    isDryRun: readDryRun(query.getAll('dryRun'), kind),
    fieldValidation: fieldValidation as FieldValidation,
    fieldManager: managerOf(exchange),
    isForced: readBoolean(query.get('force')),
  }
}

/** @throws Refusal 422 */
export function readDryRun(values: readonly string[], kind: string): boolean {
  const wrong = values.find((value) => value !== 'All')
  if (wrong !== undefined) throw unsupported(kind, 'dryRun', values, ['All'])
  return values.length > 0
}

/** The name fields are owned under: as said, else the program's name. */
function managerOf({ query, headers }: Exchange): string {
  const named = query.get('fieldManager') ?? ''
  if (named.length > MAX_MANAGER)
    throw badRequest(`fieldManager: Too long: may not be more than ${MAX_MANAGER} bytes`)
  return named || headers.first('user-agent').split('/')[0]!.slice(0, MAX_MANAGER) || 'unknown'
}

function readBoolean(text: string | null): boolean | undefined {
  if (text === null) return undefined
  return text.toLowerCase() !== 'false' && text !== '0'
}

function unsupported(kind: string, field: string, value: unknown, supported: readonly string[]) {
  return invalid('meta.k8s.io', kind, '', [notSupported(field, value, supported)])
}
