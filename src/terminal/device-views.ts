import type { OwnedDevice, RemovedDevice } from '../device/devices.ts'
import type { Screen } from './screen.ts'
import { type Column, renderTable } from './table.ts'

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

export function viewRemovedDevice({ user, name, id, problems }: RemovedDevice): string {
  const head = `device ${name} (${id.slice(0, 8)}) of ${user} is no more\n`
  const rest = problems.map(({ cluster, problem }) => `${cluster}: ${problem}; run it again\n`)
  return head + rest.join('')
}
