/** What Linux says of a process of ours: the CPU it has used and the memory it holds. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

/** The kernel counts in these, whatever it runs on (`getconf CLK_TCK`). */
const TICK_MS = 10

/** Whether there is anything to read. */
export function hasProcessFacts(): boolean {
  return existsSync('/proc/self/stat')
}

/** CPU time of all its threads since its start, in milliseconds, to the nearest ten. */
export async function cpuMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  // The second field is a name and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [user, system] = [Number(fields[11]), Number(fields[12])]
  return (user + system) * TICK_MS
}

export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) * 1024
}
