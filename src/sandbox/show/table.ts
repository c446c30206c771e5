/** Server-side tables, which `kubectl get` prints (kubernetes `pkg/printers/internalversion/printers.go`). */
import type { KubeObject, ListMeta } from '../json.ts'
import type { Resource } from '../objects/resources.ts'
import type { Cell } from './cells.ts'
import { type Column, columnsOf } from './columns.ts'

/** @param objectFor what of an object goes along with its row */
export function tableOf(
  resource: Resource,
  items: readonly KubeObject[],
  metadata: ListMeta,
  objectFor: (object: KubeObject) => object | null,
  now: Date,
): object {
  const { columns, cells } = columnsOf(resource)
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: columns.map(definitionOf),
    rows: items.map((item) => ({
      cells: cells(item, now) satisfies readonly Cell[],
      object: objectFor(item),
    })),
  }
}

function definitionOf({ name, type, isWide }: Column): object {
  const format = name === 'Name' ? 'name' : ''
  return { name, type, format, description: '', priority: isWide ? 1 : 0 }
}
