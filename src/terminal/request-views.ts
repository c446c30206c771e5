import type { DecidedRequest } from '../device/request-decision.ts'
import type { RequestPolicy } from '../device/request-policy.ts'
import type { RequestSummary } from '../device/requests.ts'
import type { Screen } from './screen.ts'
import { type Column, renderFields, renderTable } from './table.ts'
import { plainLine } from './text.ts'

/** Access requests as text. Each view takes the object that --json prints. */

export function viewRequests(requests: readonly RequestSummary[], screen: Screen): string {
  if (requests.length === 0) return 'no access requests\n'
  const { style } = screen
  const columns: Column<RequestSummary>[] = [
    { title: 'id', cell: ({ id }) => String(id), isFixed: true },
    {
      title: 'status',
      cell: statusText,
      style: (text, { status }) =>
        status === 'waiting' ? style.yellow(text) : status === 'running' ? style.green(text) : text,
      isFixed: true,
    },
    { title: 'user', cell: ({ user }) => user },
    { title: 'role', cell: ({ role }) => role },
    { title: 'cluster', cell: ({ cluster }) => cluster },
    { title: 'namespace', cell: ({ namespace }) => namespace ?? '(all)' },
    { title: 'for', cell: ({ seconds }) => lengthText(seconds), isFixed: true },
    { title: 'until', cell: ({ until }) => until ?? '-', isFixed: true },
    { title: 'said by', cell: saidBy },
    { title: 'reason', cell: ({ reason }) => reason },
  ]
  return renderTable(requests, columns, screen.width)
}

/** Somebody's own, just made. */
export function viewRequest(request: RequestSummary): string {
  const { id, role, namespace, cluster, seconds, until } = request
  return renderFields({
    request: String(id),
    role: namespace === undefined ? role : `${role} in namespace ${namespace}`,
    cluster,
    for: lengthText(seconds),
    status: statusText(request),
    until,
    next: `an administrator: mcm requests approve ${id}`,
  })
}

export function viewDecided({ request, change }: DecidedRequest): string {
  const { id, user, role, namespace, cluster, until, needed, approvals } = request
  return renderFields({
    request: `${id} of ${user}`,
    role: namespace === undefined ? role : `${role} in namespace ${namespace}`,
    cluster,
    status: statusText(request),
    until,
    changed: change && (change.changed.join(', ') || 'nothing'),
    problem: change?.problem,
    next:
      request.status === 'waiting' && approvals.length < needed
        ? `another administrator: mcm requests approve ${id}`
        : undefined,
  })
}

/** One line each time it changes. */
export function viewRequestLine(request: RequestSummary): string {
  const { id, user, role, namespace, cluster, seconds, reason } = request
  const where = namespace === undefined ? cluster : `${namespace} of ${cluster}`
  const what = `${user} asks for ${role} at ${where} for ${lengthText(seconds)}: ${reason}`
  return plainLine(`${id} ${statusText(request)}: ${what}`)
}

/** What an approval would do, for whoever is asked. */
export function approvalText({ user, role, namespace, cluster, seconds, reason }: RequestSummary) {
  const where = namespace === undefined ? cluster : `${namespace} of ${cluster}`
  return plainLine(`this gives ${user} ${role} at ${where} for ${lengthText(seconds)} (${reason})`)
}

export function viewApprovals({ name, id, approvals }: RequestPolicy): string {
  const needed = approvals === 2 ? 'two approvals, of different people' : 'one approval'
  return renderFields({ cluster: `${name} (${id})`, 'access requests need': needed })
}

function statusText({ status, approvals, needed }: RequestSummary): string {
  return status === 'waiting' ? `waiting (${approvals.length} of ${needed})` : status
}

function saidBy({ approvals, end }: RequestSummary): string {
  const names = approvals.map(({ user }) => user)
  if (end?.by !== undefined) names.push(`${end.by} (${end.action})`)
  return names.join(', ') || '-'
}

const UNITS = [
  ['h', 3_600],
  ['m', 60],
  ['s', 1],
] as const

function lengthText(seconds: number): string {
  const [unit, size] = UNITS.find(([, each]) => seconds % each === 0)!
  return `${seconds / size}${unit}`
}
