import type { AppliedAccess } from '../device/access-apply.ts'
import type { AccessDocument, ChangeLine, ClusterDocument } from '../device/access-document.ts'
import type { StandingAccess, StandingGrant } from '../device/access-show.ts'
import type { Group, GroupsSet, Person } from '../device/people.ts'
import type { RoleSummary } from '../device/roles.ts'
import { viewChanges } from './fleet-views.ts'
import type { Screen } from './screen.ts'
import { type Column, renderTable } from './table.ts'
import { plainLine } from './text.ts'

/** Access as text. Each view takes the object that --json prints. */

const SIGNS = { add: '+', change: '~', remove: '-' } as const

/** Per cluster what would be added, changed and removed; nothing for clusters that are as declared. */
export function viewAccessDiff(document: AccessDocument, screen: Screen): string {
  const { clusters, summary } = document
  const parts = [
    ...clusters.flatMap((cluster) => clusterLines(cluster, screen)),
    ...peopleLines(document, screen),
  ]
  const { add, change, remove } = summary
  const end =
    add + change + remove === 0
      ? 'as declared'
      : `${add} to add, ${change} to change, ${remove} to remove`
  const unseen = clusters.filter(({ problems }) => problems.length > 0).length
  const seen = unseen === 0 ? '' : `; ${unseen} of ${clusters.length} clusters have problems`
  return `${[...parts, end + seen].join('\n')}\n`
}

function clusterLines(cluster: ClusterDocument, { style }: Screen): string[] {
  const { changes, kept, problems } = cluster
  if (changes.length + kept.length + problems.length === 0) return []
  const paint = { add: style.green, change: style.yellow, remove: style.red }
  return [
    style.bold(cluster.cluster),
    ...changes.map((line) => paint[line.action](`  ${changeText(line)}`)),
    ...kept.map((grant) => style.dim(`    ${plainLine(grant)} (not declared, kept: it is yours)`)),
    ...problems.map((problem) => style.red(`  ! ${plainLine(problem)}`)),
  ]
}

function changeText({ action, kind, name, namespace, about, differs }: ChangeLine): string {
  const place = namespace === undefined ? name : `${namespace}/${name}`
  const why = differs ? ` [${differs.join(', ')}]` : ''
  return plainLine(`${SIGNS[action]} ${kind} ${place}${about === '' ? '' : `: ${about}`}${why}`)
}

function peopleLines({ people, unknown, undeclared }: AccessDocument, { style }: Screen): string[] {
  if (people.length + unknown.length + undeclared.length === 0) return []
  const groups = (sign: string, names: readonly string[]) => names.map((name) => `${sign}${name}`)
  return [
    style.bold('people'),
    ...people.map(({ user, added, removed, nickname }) => {
      const named = nickname === undefined ? [] : [`called ${JSON.stringify(nickname)}`]
      const what = [...groups('-', removed), ...groups('+', added), ...named].join(' ')
      return style.yellow(plainLine(`  ~ ${user}: ${what}`))
    }),
    ...unknown.map((user) =>
      style.dim(plainLine(`    ${user} is not in the fleet: mcm invite ${user}`)),
    ),
    ...undeclared.map((user) =>
      style.dim(plainLine(`    ${user} is not declared: in the fleet, without rights`)),
    ),
  ]
}

export function viewApplied(applied: AppliedAccess, screen: Screen): string {
  const { style } = screen
  const lines = applied.clusters.flatMap(({ cluster, changed, problems }) => {
    const done = changed.length === 0 ? 'nothing to change' : `${changed.length} changed`
    return [
      `${style.bold(cluster)}: ${done}`,
      ...problems.map((problem) => style.red(`  ! ${plainLine(problem)}`)),
    ]
  })
  const people = applied.people.length > 0 ? [`people: ${applied.people.join(', ')}`] : []
  const late = applied.problems.map((problem) => style.red(`! ${plainLine(problem)}`))
  return `${[...lines, ...people.map(plainLine), ...late].join('\n')}\n`
}

export function viewAccess(access: StandingAccess, screen: Screen): string {
  const { grants, problems } = access
  const columns: Column<StandingGrant>[] = [
    { title: 'cluster', cell: ({ cluster }) => cluster, isFixed: true },
    { title: 'who', cell: ({ subject }) => `${subject.kind} ${subject.name}` },
    ...optional(grants, 'nickname', ({ nickname }) => nickname),
    { title: 'role', cell: ({ role }) => role },
    { title: 'namespace', cell: ({ namespace }) => namespace ?? '(all)' },
    ...optional(grants, 'until', ({ expires }) => expires),
    ...optional(grants, 'gives nothing', ({ without }) => without),
  ]
  const failed = problems.map(({ cluster, problem }) =>
    screen.style.red(`! ${cluster}: ${plainLine(problem)}\n`),
  )
  const table = renderTable(grants, columns, screen.width)
  return `${table || 'nothing is granted\n'}${failed.join('')}`
}

function optional<Row>(
  rows: readonly Row[],
  title: string,
  cell: (row: Row) => string | undefined,
): Column<Row>[] {
  if (rows.every((row) => cell(row) === undefined)) return []
  return [{ title, cell: (row) => cell(row) ?? '' }]
}

export function viewPeople(people: readonly Person[], screen: Screen): string {
  if (people.length === 0) return 'nobody yet\n'
  const columns: Column<Person>[] = [
    { title: 'name', cell: ({ name }) => name },
    ...optional(people, 'nickname', ({ nickname }) => nickname),
    { title: 'groups', cell: ({ groups }) => groups.join(', ') },
    { title: 'devices', cell: ({ devices }) => String(devices), isFixed: true },
    { title: 'admin', cell: ({ isAdmin }) => (isAdmin ? 'yes' : ''), isFixed: true },
    {
      title: 'status',
      cell: ({ status }) => status,
      style: (text, { status }) => (status === 'revoked' ? screen.style.red(text) : text),
    },
  ]
  return renderTable(people, columns, screen.width)
}

export function viewGroups(groups: readonly Group[], screen: Screen): string {
  if (groups.length === 0) return 'no groups yet\n'
  const columns: Column<Group>[] = [
    { title: 'name', cell: ({ name }) => name },
    { title: 'users', cell: ({ users }) => users.join(', ') },
    { title: 'clusters', cell: ({ clusters }) => clusters.join(', ') },
  ]
  return renderTable(groups, columns, screen.width)
}

export function viewGroupsSet(set: GroupsSet, screen: Screen): string {
  const groups = set.groups.join(', ') || 'no group'
  return `${plainLine(`${set.user} is in ${groups}`)}\n${viewChanges(set.clusters, screen)}`
}

export function viewRoles(roles: readonly RoleSummary[], screen: Screen): string {
  const columns: Column<RoleSummary>[] = [
    { title: 'name', cell: ({ name }) => name, isFixed: true },
    { title: 'kind', cell: ({ kind }) => kind, isFixed: true },
    { title: 'description', cell: ({ description }) => description },
    { title: 'clusters', cell: ({ clusters }) => clusters?.join(', ') ?? '(all)' },
  ]
  return renderTable(roles, columns, screen.width)
}
