import type { EndedCertificates } from '../device/certificate-end.ts'
import type { CertificateList, CertificateRow } from '../device/certificate-list.ts'
import type { ClusterOutcome } from '../device/certificates.ts'
import type { CertificateUse } from '../protocol/messages.ts'
import type { Screen } from './screen.ts'
import { type Column, renderTable } from './table.ts'
import { plainLine } from './text.ts'

/** Certificates of many clusters as text. Each view takes the object that --json prints. */

export function viewCertificates(
  { certificates, problems }: CertificateList,
  screen: Screen,
): string {
  const table = tableOf(certificates, screen)
  return `${table === '' ? 'no certificates\n' : table}${problemLines(problems)}`
}

export function viewEnded(
  { action, certificates, problems }: EndedCertificates,
  screen: Screen,
): string {
  const table = tableOf(certificates, screen)
  return `${action}:\n${table === '' ? 'no certificate stood\n' : table}${problemLines(problems)}`
}

export function viewRenewed(outcomes: readonly ClusterOutcome[], screen: Screen): string {
  const columns: Column<ClusterOutcome>[] = [
    { title: 'cluster', cell: ({ name }) => name, isFixed: true },
    {
      title: 'certificate until',
      cell: ({ certificateUntil }) => certificateUntil ?? '-',
      isFixed: true,
    },
    { title: 'problem', cell: ({ problem }) => problem ?? '' },
  ]
  return renderTable(outcomes, columns, screen.width)
}

function tableOf(rows: readonly CertificateRow[], { width, style }: Screen): string {
  const columns: Column<CertificateRow>[] = [
    { title: 'cluster', cell: ({ cluster }) => cluster },
    { title: 'user', cell: ({ user }) => user },
    { title: 'device', cell: deviceText },
    { title: 'serial', cell: ({ serial }) => serial.slice(0, 8), isFixed: true },
    { title: 'issued', cell: ({ issued }) => issued, isFixed: true },
    { title: 'expires', cell: ({ expires }) => expires, isFixed: true },
    {
      title: 'state',
      cell: ({ state }) => state,
      style: (text, { state }) => (state === 'stands' ? style.green(text) : style.red(text)),
      isFixed: true,
    },
    { title: 'last used', cell: ({ lastUsed }) => (lastUsed ? useText(lastUsed) : '-') },
  ]
  return renderTable(rows, columns, width)
}

function deviceText({ device, isThis }: CertificateRow): string {
  const name = device.name ?? device.id.slice(0, 8)
  return isThis ? `${name} (this one)` : name
}

/** A hub may say what it likes. */
function useText({ time, address, addressByHub }: CertificateUse): string {
  if (address !== undefined) return `${time} ${address}`
  return addressByHub === undefined ? time : `${time} ${addressByHub}*`
}

function problemLines(problems: CertificateList['problems']): string {
  return problems.map(({ cluster, problem }) => `${cluster}: ${plainLine(problem)}\n`).join('')
}
