import type { ResourceContext } from '../context.ts'
import { fieldSelector, labelSelector, type Selector } from '../objects/selectors.ts'

/** What a list, watch or deletecollection selects. @throws Refusal 400 */
export function selectorsOf({ exchange, resource, info }: ResourceContext): Selector {
  const byLabel = labelSelector(exchange.query.get('labelSelector') ?? '')
  const byField = fieldSelector(exchange.query.get('fieldSelector') ?? '', resource)
  const isNamed = info.name !== ''
  return (object) =>
    byLabel(object) && byField(object) && (!isNamed || object.metadata.name === info.name)
}
