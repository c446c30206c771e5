import type { Administrator } from '../device/admins.ts'
import type { ClusterChange } from '../device/cluster-bindings.ts'
import type { DirectoryVerdict, DirectoryView, StatementView } from '../device/directory-view.ts'
import type { Invite } from '../device/invite.ts'
import type { LoginResult } from '../device/login.ts'
import type { LoggedOut } from '../device/logout.ts'
import type { Revocation } from '../device/revoke.ts'
import type { Identification } from '../device/whoami.ts'
import type { Screen } from './screen.ts'
import { type Column, renderFields, renderTable } from './table.ts'

/** People, devices and the directory as text. Each view takes the object that --json prints. */

export function viewLogin(result: LoginResult, screen: Screen): string {
  const head = renderFields({
    user: withGroups(result.user, result.groups),
    device: `${result.device.name} (${result.device.id.slice(0, 8)})`,
    keys: keysSentence(result.keys),
    fleet: result.fleet,
  })
  if (result.clusters.length === 0) return `${head}\nno clusters yet\n`
  const columns: Column<LoginResult['clusters'][number]>[] = [
    { title: 'cluster', cell: ({ name }) => name, isFixed: true },
    { title: 'certificate until', cell: (row) => row.certificateUntil ?? '-', isFixed: true },
    ...(result.clusters.some(({ problem }) => problem !== undefined)
      ? [{ title: 'problem', cell: ({ problem }: { problem?: string }) => problem ?? '' }]
      : []),
  ]
  return `${head}\n${renderTable(result.clusters, columns, screen.width)}`
}

export function viewWhoami(who: Identification, screen: Screen): string {
  const head = renderFields({
    user: withGroups(who.user, who.groups),
    administrator: who.isAdmin ? 'yes' : 'no',
    device: `${who.device.name} (${who.device.id})`,
    keys: keysSentence(who.keys),
    fleet: who.fleet,
    directory: `statement ${who.directory.seq}, ${who.directory.hash}`,
    hub: who.hub.endpoints.join(', '),
    problem: who.hub.problem,
  })
  if (who.clusters.length === 0) return head
  const columns: Column<Identification['clusters'][number]>[] = [
    { title: 'cluster', cell: ({ name }) => name },
    { title: 'id', cell: ({ id }) => id, isFixed: true },
    { title: 'certificate until', cell: (row) => row.certificateUntil ?? '-', isFixed: true },
    ...(who.clusters.some(({ problem }) => problem !== undefined)
      ? [{ title: 'problem', cell: problemCell }]
      : []),
  ]
  return `${head}\n${renderTable(who.clusters, columns, screen.width)}`
}

function problemCell({ problem, hint }: Identification['clusters'][number]): string {
  return problem === undefined ? '' : `${problem}; try: ${hint}`
}

export function viewLogout({ deleted }: LoggedOut): string {
  if (deleted.length === 0) return 'nothing was here to delete\n'
  return ['deleted:', ...deleted.map((each) => `  ${each}`), ''].join('\n')
}

/** The link alone, so that it can be piped to where it is needed. */
export function viewInvite(invite: Invite): string {
  return `${invite.link.reveal()}\n`
}

export function viewChanges(changes: readonly ClusterChange[], screen: Screen): string {
  if (changes.length === 0) return ''
  const columns: Column<ClusterChange>[] = [
    { title: 'cluster', cell: ({ cluster }) => cluster, isFixed: true },
    { title: 'changed', cell: ({ changed }) => changed.join(', ') || 'nothing' },
    ...(changes.some(({ problem }) => problem !== undefined)
      ? [{ title: 'problem', cell: ({ problem }: ClusterChange) => problem ?? '' }]
      : []),
  ]
  return renderTable(changes, columns, screen.width)
}

export function viewAdmins(admins: readonly Administrator[], screen: Screen): string {
  if (admins.length === 0) return 'nothing to change\n'
  const columns: Column<Administrator>[] = [
    { title: 'user', cell: ({ user }) => user },
    { title: 'device', cell: ({ device }) => device ?? '(not for you)' },
    { title: 'id', cell: ({ id }) => id, isFixed: true },
  ]
  return renderTable(admins, columns, screen.width)
}

export function viewRevocation(revocation: Revocation, screen: Screen): string {
  const { user, device, clusters, approved = [] } = revocation
  const what = device ? `device ${device.name} of ${user}` : `user ${user}`
  const rest =
    approved.length === 0
      ? ''
      : `access that ${user} approved goes on: requests ${approved.join(', ')}; mcm requests end NUMBER takes it back\n`
  return `revoked: ${what}\n${viewChanges(clusters, screen)}${rest}`
}

export function viewDirectoryStatements(view: DirectoryView, screen: Screen): string {
  const columns: Column<StatementView>[] = [
    { title: 'seq', cell: ({ seq }) => String(seq), isFixed: true },
    { title: 'time', cell: ({ time }) => time, isFixed: true },
    { title: 'type', cell: ({ type }) => type, isFixed: true },
    { title: 'signed by', cell: ({ signedBy }) => signedBy.join(', ') },
    { title: 'about', cell: aboutCell, style: (text, row) => dimmed(text, row, screen) },
  ]
  return renderTable(view.statements, columns, screen.width)
}

export function viewVerdict(verdict: DirectoryVerdict): string {
  const { withoutEffect } = verdict
  return renderFields({
    verdict: 'the chain is whole and every signature holds',
    fleet: verdict.fleet,
    head: `statement ${verdict.head.seq}, ${verdict.head.hash}`,
    statements: String(verdict.statements),
    'details known': String(verdict.detailsKnown),
    'without effect':
      withoutEffect.length === 0
        ? undefined
        : withoutEffect.map(({ seq, why }) => `${seq} (${why})`).join(', '),
    source: verdict.source === 'hub' ? 'the hub, just now' : 'the copy on this machine',
  })
}

function aboutCell({ about, withoutEffect }: StatementView): string {
  if (about === undefined) return '(not for you)'
  return withoutEffect === undefined ? about : `${about}: without effect, ${withoutEffect}`
}

function dimmed(text: string, row: StatementView, { style }: Screen): string {
  return row.about === undefined || row.withoutEffect !== undefined ? style.dim(text) : text
}

function withGroups(user: string, groups: readonly string[]): string {
  return groups.length === 0 ? user : `${user} (${groups.join(', ')})`
}

function keysSentence(keys: 'keychain' | 'file'): string {
  return keys === 'keychain' ? 'in the keychain' : 'in files only you can read'
}
