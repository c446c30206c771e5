import type { OwnedDevice, RemovedDevice } from '../device/devices.ts'
import type { Screen } from './screen.ts'
import { type Column, renderTable } from './table.ts'
import { plainLine } from './text.ts'

/** Devices as text. */

export function viewDevices(devices: readonly OwnedDevice[], screen: Screen): string {
  const columns: Column<OwnedDevice>[] = [
    { title: 'user', cell: ({ user }) => user },
    { title: 'device', cell: ({ name, isThis }) => (isThis ? `${name} (this one)` : name) },
    { title: 'id', cell: ({ id }) => id.slice(0, 8), isFixed: true },
    { title: 'since', cell: ({ since }) => since, isFixed: true },
    { title: 'until', cell: ({ until }) => until ?? '-', isFixed: true },
    { title: 'administrator', cell: ({ isAdmin }) => (isAdmin ? 'yes' : '-'), isFixed: true },
  ]
  return renderTable(devices, columns, screen.width)
}

/** Its name is what a stranger or the hub says, a problem what an agent says. */
export function viewRemovedDevice({ user, name, id, isSigned, problems }: RemovedDevice): string {
  const what = `device ${plainLine(name)} (${id.slice(0, 8)}) of ${plainLine(user)}`
  const rest = problems.map((each) => plainLine(`${each.cluster}: ${each.problem}`))
  if (problems.length === 0) return `${what} is no more\n`
  const end = isSigned
    ? [`${what} is no more; these clusters were not told at once and learn it from the directory`]
    : [
        `${what} is NOT ended everywhere`,
        `run again: mcm devices remove ${id}`,
        `or ask an administrator, who ends it for good: mcm devices remove ${id} --user ${plainLine(user)}`,
      ]
  return [...rest, ...end].map((line) => `${line}\n`).join('')
}
