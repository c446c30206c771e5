/** Which columns a resource has, and what stands in them. */
import { at, isJsonObject, type Json, type KubeObject, listAt, numberAt, textAt } from '../json.ts'
import type { Resource } from '../objects/resources.ts'
import {
  ageOf,
  type Cell,
  eventCells,
  jobDuration,
  jobStatus,
  nameOf,
  nodeCells,
  orNone,
  paramKind,
  selectorText,
  serviceCells,
  subjectCells,
  templateCells,
} from './cells.ts'
import { podCells } from './pod-cells.ts'

export interface Column {
  readonly name: string
  readonly type: 'string' | 'integer'
  readonly isWide: boolean
}

export interface Columns {
  readonly columns: readonly Column[]
  cells(object: KubeObject, now: Date): readonly Cell[]
}

type Cells = (object: KubeObject, now: Date) => readonly Cell[]

/** `|` separates columns, `+` before a name marks one of `-o wide`, `#` a number. */
function define(names: string, cells: Cells): Columns {
  const columns = names.split('|').map((text): Column => {
    const isWide = text.startsWith('+')
    const bare = isWide ? text.slice(1) : text
    const isNumber = bare.startsWith('#')
    return { name: isNumber ? bare.slice(1) : bare, type: isNumber ? 'integer' : 'string', isWide }
  })
  return { columns, cells }
}

const sizeOf = (value: Json | undefined) => (isJsonObject(value) ? Object.keys(value).length : 0)

const bindings = define('Name|Role|Age|+Users|+Groups|+ServiceAccounts', (object, now) => {
  const role = `${textAt(object, 'roleRef', 'kind')}/${textAt(object, 'roleRef', 'name')}`
  return [nameOf(object), role, ageOf(object, now), ...subjectCells(object)]
})
const roles = define('Name|Created At', (object) => [
  nameOf(object),
  object.metadata.creationTimestamp ?? '',
])

const BY_RESOURCE: Readonly<Record<string, Columns>> = {
  pods: define(
    'Name|Ready|Status|Restarts|Age|+IP|+Node|+Nominated Node|+Readiness Gates',
    podCells,
  ),
  namespaces: define('Name|Status|Age', (object, now) => [
    nameOf(object),
    textAt(object, 'status', 'phase'),
    ageOf(object, now),
  ]),
  nodes: define(
    'Name|Status|Roles|Age|Version|+Internal-IP|+External-IP|+OS-Image|+Kernel-Version|+Container-Runtime',
    nodeCells,
  ),
  configmaps: define('Name|Data|Age', (object, now) => [
    nameOf(object),
    sizeOf(object.data) + sizeOf(object.binaryData),
    ageOf(object, now),
  ]),
  secrets: define('Name|Type|Data|Age', (object, now) => [
    nameOf(object),
    textAt(object, 'type'),
    sizeOf(object.data),
    ageOf(object, now),
  ]),
  services: define('Name|Type|Cluster-IP|External-IP|Port(s)|Age|+Selector', serviceCells),
  events: define(
    'Last Seen|Type|Reason|Object|+Subobject|+Source|Message|+First Seen|+Count|+Name',
    eventCells,
  ),
  deployments: define(
    'Name|Ready|Up-to-date|Available|Age|+Containers|+Images|+Selector',
    (object, now) => [
      nameOf(object),
      `${numberAt(object, 'status', 'readyReplicas')}/${numberAt(object, 'spec', 'replicas')}`,
      numberAt(object, 'status', 'updatedReplicas'),
      numberAt(object, 'status', 'availableReplicas'),
      ageOf(object, now),
      ...templateCells(object),
      selectorText(at(object, 'spec', 'selector')),
    ],
  ),
  jobs: define(
    'Name|Status|Completions|Duration|Age|+Containers|+Images|+Selector',
    (object, now) => [
      nameOf(object),
      jobStatus(object),
      `${numberAt(object, 'status', 'succeeded')}/${numberAt(object, 'spec', 'completions') || 1}`,
      jobDuration(object, now),
      ageOf(object, now),
      ...templateCells(object),
      selectorText(at(object, 'spec', 'selector')),
    ],
  ),
  networkpolicies: define('Name|Pod-Selector|Age', (object, now) => [
    nameOf(object),
    orNone(selectorText(at(object, 'spec', 'podSelector'))),
    ageOf(object, now),
  ]),
  poddisruptionbudgets: define(
    'Name|Min Available|Max Unavailable|#Allowed Disruptions|Age',
    (object, now) => [
      nameOf(object),
      String(at(object, 'spec', 'minAvailable') ?? 'N/A'),
      String(at(object, 'spec', 'maxUnavailable') ?? 'N/A'),
      numberAt(object, 'status', 'disruptionsAllowed'),
      ageOf(object, now),
    ],
  ),
  leases: define('Name|Holder|Age', (object, now) => [
    nameOf(object),
    textAt(object, 'spec', 'holderIdentity'),
    ageOf(object, now),
  ]),
  roles,
  clusterroles: roles,
  rolebindings: bindings,
  clusterrolebindings: bindings,
  validatingadmissionpolicies: define('Name|#Validations|ParamKind|Age', (object, now) => [
    nameOf(object),
    listAt(object, 'spec', 'validations').length,
    paramKind(object),
    ageOf(object, now),
  ]),
  validatingadmissionpolicybindings: define('Name|PolicyName|ParamRef|Age', (object, now) => [
    nameOf(object),
    textAt(object, 'spec', 'policyName'),
    textAt(object, 'spec', 'paramRef', 'name')
      ? `*/${textAt(object, 'spec', 'paramRef', 'name')}`
      : '<unset>',
    ageOf(object, now),
  ]),
}

const DEFAULT = define('Name|Age', (object, now) => [nameOf(object), ageOf(object, now)])

export function columnsOf({ resource }: Resource): Columns {
  return BY_RESOURCE[resource] ?? DEFAULT
}
