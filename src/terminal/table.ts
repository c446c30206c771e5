import { displayWidth, plainLine, truncate } from './text.ts'

/** Rows in columns, in the looks of kubectl, made to fit the width there is. */

export interface Column<Row> {
  /** Shown in capitals. */
  readonly title: string
  cell(row: Row): string
  /** Paints a finished cell; never changes its width. */
  style?(text: string, row: Row): string
  /** Keeps its width when others have to give way. */
  readonly isFixed?: boolean
}

const GAP = 3
const NARROWEST = 8

/** The table as text with a line end, or an empty text without rows. */
export function renderTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  width: number,
): string {
  if (rows.length === 0) return ''
  const cells = rows.map((row) => columns.map((column) => plainLine(column.cell(row))))
  const titles = columns.map((column) => column.title.toUpperCase())
  const widths = fitWidths(columns, natural([titles, ...cells]), width)
  const head = titles.map((title, index) => ({ text: truncate(title, widths[index]!) }))
  const body = cells.map((line, row) =>
    line.map((text, index) => styled(columns[index]!, truncate(text, widths[index]!), rows[row]!)),
  )
  return [head, ...body].map((line) => renderLine(line, widths)).join('')
}

interface Cell {
  readonly text: string
  readonly painted?: string
}

function styled<Row>(column: Column<Row>, text: string, row: Row): Cell {
  return column.style ? { text, painted: column.style(text, row) } : { text }
}

function natural(lines: readonly (readonly string[])[]): number[] {
  const first = lines[0] ?? []
  return first.map((_, index) => Math.max(...lines.map((line) => displayWidth(line[index]!))))
}

/** Takes columns away from the widest that may give, one by one, until the line fits. */
function fitWidths<Row>(
  columns: readonly Column<Row>[],
  wanted: number[],
  width: number,
): number[] {
  const widths = [...wanted]
  const total = () => widths.reduce((sum, each) => sum + each, 0) + GAP * (widths.length - 1)
  while (total() > width) {
    const givers = widths.map((each, index) => (columns[index]!.isFixed ? 0 : each))
    const widest = Math.max(...givers)
    if (widest <= NARROWEST) break
    widths[givers.indexOf(widest)]! -= 1
  }
  return widths
}

function renderLine(line: readonly Cell[], widths: readonly number[]): string {
  const cells = line.map((cell, index) => {
    const isLast = index === line.length - 1
    const padding = isLast ? 0 : widths[index]! - displayWidth(cell.text) + GAP
    return (cell.painted ?? cell.text) + ' '.repeat(Math.max(padding, 0))
  })
  return `${cells.join('').trimEnd()}\n`
}

/** Names and values under each other: `name:   value`. Undefined values are left out. */
export function renderFields(fields: Readonly<Record<string, string | undefined>>): string {
  const present = Object.entries(fields).filter(([, value]) => value !== undefined)
  const widest = Math.max(0, ...present.map(([name]) => displayWidth(name)))
  return present
    .map(([name, value]) => `${`${name}:`.padEnd(widest + 1 + GAP)}${plainLine(value!)}\n`)
    .join('')
}
