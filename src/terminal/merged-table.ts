import { renderTable } from './table.ts'

/** Tables that kubectl printed for many clusters, as one table with a column for the cluster. */

export interface ClusterOutput {
  readonly name: string
  readonly stdout: string
}

export interface MergedTables {
  /** One table for each set of columns, a blank line between. */
  readonly text: string
  /** Those whose output is no table. */
  readonly unread: readonly ClusterOutput[]
}

/** Clusters that printed nothing have no rows. */
export function mergeTables(outputs: readonly ClusterOutput[]): MergedTables {
  const rows = new Map<string, { titles: readonly string[]; cells: string[][] }>()
  const unread: ClusterOutput[] = []
  for (const output of outputs) {
    const tables = readTables(output.stdout)
    if (!tables) unread.push(output)
    for (const { titles, cells } of tables ?? []) {
      const key = titles.join('\n')
      const group = rows.get(key) ?? { titles, cells: [] }
      rows.set(key, group)
      group.cells.push(...cells.map((line) => [output.name, ...line]))
    }
  }
  const text = [...rows.values()].map(({ titles, cells }) => renderMerged(titles, cells))
  return { text: text.join('\n'), unread }
}

function renderMerged(titles: readonly string[], cells: readonly string[][]): string {
  const columns = ['cluster', ...titles].map((title, index) => ({
    title,
    cell: (row: string[]) => row[index] ?? '',
  }))
  return renderTable(cells, columns, Number.POSITIVE_INFINITY)
}

interface TextTable {
  readonly titles: readonly string[]
  readonly cells: readonly string[][]
}

/** Tables stand apart by a blank line, as `kubectl get all` prints them. undefined when one is none. */
function readTables(text: string): TextTable[] | undefined {
  const tables = text
    .split(/\n[ \t]*\n/)
    .map((part) => part.split('\n').filter((line) => line.trim() !== ''))
    .filter((lines) => lines.length > 0)
    .map(readTable)
  return tables.every((table) => table !== undefined) ? tables : undefined
}

/** Titles are words with one blank between them; columns are at least two apart (cli-runtime `pkg/printers/tabwriter.go`). */
const TITLE = /\S+(?: \S+)*/g

function readTable([head = '', ...lines]: readonly string[]): TextTable | undefined {
  const found = [...head.matchAll(TITLE)]
  const titles = found.map(([title]) => title)
  if (!titles.every((title) => /^[A-Z]/.test(title))) return undefined
  // Counted in characters: that is how the columns were aligned.
  const starts = found.map(({ index }) => [...head.slice(0, index)].length)
  const cells = lines.map((line) => readRow(line, starts))
  return cells.every((row) => row !== undefined) ? { titles, cells } : undefined
}

/** Cut where the titles begin; a long list may have grown wider than its titles: then at the gaps. */
function readRow(line: string, starts: readonly number[]): string[] | undefined {
  const characters = [...line]
  const isAligned = starts.every((start) => start === 0 || (characters[start - 1] ?? ' ') === ' ')
  if (isAligned)
    return starts.map((start, index) =>
      characters
        .slice(start, starts[index + 1])
        .join('')
        .trim(),
    )
  const cells = line.trim().split(/ {2,}/)
  return cells.length === starts.length ? cells : undefined
}
