/** What a bench found, as one table: a line for each promise, with its aim beside it. */

export interface Line {
  readonly what: string
  /** Straight to the API server, or whatever else the rest is compared with. */
  readonly direct?: string
  readonly hub?: string
  readonly proxy?: string
  readonly aim?: string
  /** Whether the aim is met; undefined where there is none. */
  readonly isMet?: boolean
}

/** Takes lines as they are found, and remarks on what could not be. */
export class Report {
  readonly #lines: (Line | string)[] = []

  add(line: Line): void {
    this.#lines.push(line)
    say(`  ${rowOf(line).join(' | ')}`)
  }

  /** A heading in the table. */
  section(title: string): void {
    this.#lines.push(title)
    say(`\n${title}`)
  }

  /** Something that was not measured, said so that nobody takes it for done. */
  missing(what: string, reason: string): void {
    this.add({ what: `${what}: NOT MEASURED HERE: ${reason}` })
  }

  /** Every line so far, aligned. */
  table(): string {
    const rows = this.#lines.map((line) => (typeof line === 'string' ? [line] : rowOf(line)))
    const all = [HEAD, ...rows]
    const widths = HEAD.map((_, column) =>
      Math.max(...all.filter((row) => row.length > 1).map((row) => row[column]!.length)),
    )
    const text = (row: readonly string[]) =>
      row.length === 1 ? `\n${row[0]}` : row.map((cell, at) => cell.padEnd(widths[at]!)).join('  ')
    return all.map((row) => text(row).trimEnd()).join('\n')
  }
}

const HEAD = ['', 'direct', 'through the hub', 'through mcm proxy', 'aim', '']

function rowOf({ what, direct = '', hub = '', proxy = '', aim = '', isMet }: Line): string[] {
  const verdict = isMet === undefined ? '' : isMet ? 'met' : 'NOT MET'
  return [what, direct, hub, proxy, aim, verdict]
}

/** Runs one bench as a program of its own, when its file is the one that was started. */
export async function runAlone(
  meta: ImportMeta,
  measure: (report: Report) => Promise<void>,
): Promise<void> {
  if (!meta.main) return
  await runAll([measure])
}

/** Runs benches one after the other, prints the table, and ends the process. */
export async function runAll(
  benches: readonly ((report: Report) => Promise<void>)[],
): Promise<never> {
  const report = new Report()
  let exitCode = 0
  for (const measure of benches) {
    try {
      await measure(report)
    } catch (error) {
      exitCode = 1
      report.missing(measure.name, (error as Error).message.split('\n')[0]!.slice(0, 80))
      process.stderr.write(`${(error as Error).stack}\n`)
    }
  }
  say(`\n${report.table()}`)
  process.exit(exitCode)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
