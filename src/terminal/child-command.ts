import { UsageError } from '../errors.ts'

/** Where on a command line our own words end and those of another program begin. Pure. */

/** Commands behind whose own flags another program's words follow, and the flags of theirs that have a value. */
const PASSING: Readonly<Record<string, readonly string[]>> = {
  kubectl: ['-c', '--cluster'],
  exec: ['-c', '--cluster', '--mode'],
}

/**
 * The command line with a `--` between our words and those of the other program, where it may be left out:
 * `kubectl -c a get pods --help` becomes `kubectl -c a -- get pods --help`. So nothing that follows, neither
 * `--help` nor `--json`, is taken for ours.
 */
export function withBoundary(argv: readonly string[]): string[] {
  const [command = '', ...words] = argv
  const flags = Object.hasOwn(PASSING, command) ? PASSING[command]! : undefined
  if (!flags) return [...argv]
  let index = 0
  while (index < words.length) {
    const length = ownLength(words[index]!, flags)
    if (length === 0) break
    index += length
  }
  // `mcm kubectl --help` is a question to mcm.
  const isHelp = index === 0 && words[0] === '--help'
  if (isHelp || index >= words.length || words[index] === '--') return [...argv]
  return [command, ...words.slice(0, index), '--', ...words.slice(index)]
}

/** How many words a flag of ours takes: `-c a`, `-ca`, `--cluster a`, `--cluster=a`; 0 when it is none. */
function ownLength(word: string, flags: readonly string[]): number {
  if (flags.includes(word)) return 2
  const isJoined = flags.some((flag) =>
    flag.startsWith('--')
      ? word.startsWith(`${flag}=`)
      : /^-[^-]/.test(word) && word.startsWith(flag),
  )
  return isJoined ? 1 : 0
}

/** Our own words, and those of the other program. */
export function splitAtBoundary(argv: readonly string[]): { own: string[]; command: string[] } {
  const boundary = argv.indexOf('--')
  if (boundary < 0) return { own: [...argv], command: [] }
  return { own: argv.slice(0, boundary), command: argv.slice(boundary + 1) }
}

/** @throws UsageError MCM_USAGE when nothing is to be run */
export function requireChildCommand(command: readonly string[], example: string): void {
  if (command.length > 0) return
  throw new UsageError('MCM_USAGE', 'which program is to be run?', { hint: example })
}

/** Flags of kubectl that stand before its verb and have a value. */
const KUBECTL_VALUES = new Set(
  `-n --namespace -s --server -v --v --context --cluster --user --kubeconfig --token --as --as-group --as-uid
   --as-user-extra --request-timeout --cache-dir --certificate-authority --client-certificate --client-key
   --tls-server-name --username --password --profile --profile-output --log-flush-frequency --vmodule --kuberc`.split(
    /\s+/,
  ),
)

/** Whether a command is a `kubectl get` that prints tables and ends by itself. */
export function printsTable(command: readonly string[]): boolean {
  const [program = '', ...words] = command
  if (!/(^|\/)kubectl$/.test(program) || kubectlVerb(words) !== 'get') return false
  const isOther = words.some((word) =>
    /^(-w|--watch|--watch-only|--raw|--no-headers)(=|$)/.test(word),
  )
  return !isOther && /^(|wide|custom-columns(-file)?(=.*)?)$/.test(outputFormat(words))
}

function kubectlVerb(words: readonly string[]): string | undefined {
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!
    if (!word.startsWith('-')) return word
    if (KUBECTL_VALUES.has(word)) index += 1
  }
  return undefined
}

/** What follows the last `-o` or `--output` of a command, or ''. */
export function outputFormat(words: readonly string[]): string {
  const boundary = words.indexOf('--')
  const own = boundary < 0 ? words : words.slice(0, boundary)
  let format = ''
  for (const [index, word] of own.entries()) {
    if (word === '-o' || word === '--output') format = own[index + 1] ?? ''
    else format = /^(?:--output=|-o=?)(.+)$/.exec(word)?.[1] ?? format
  }
  return format
}
