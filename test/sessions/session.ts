/**
 * A session is a whole conversation with mcm as text: what a person types, what comes back.
 *
 *   # a remark
 *   % founded            a scene: prepared by the runner (see scenes.ts)
 *   $ mcm whoami         a command; $NAME is a variable of the scene
 *   user:   ada          what it prints on stdout
 *   ! mcm: …             what it says on stderr
 *   ? 4                  its exit code, when it is not 0
 */
export type Step =
  | { readonly kind: 'scene'; readonly line: number; readonly words: readonly string[] }
  | {
      readonly kind: 'command'
      readonly line: number
      readonly command: string
      readonly expected: string
    }

/** The steps of a session; blank lines inside an answer count, those around it do not. */
export function parseSession(text: string): Step[] {
  const steps: Step[] = []
  let command: { line: number; command: string; answer: string[] } | undefined
  const finish = () => {
    if (command) {
      const { line, command: typed, answer } = command
      steps.push({ kind: 'command', line, command: typed, expected: trimBlank(answer) })
    }
    command = undefined
  }
  text.split('\n').forEach((content, index) => {
    const line = index + 1
    if (content.startsWith('# ')) return
    if (content.startsWith('% ')) {
      finish()
      steps.push({ kind: 'scene', line, words: content.slice(2).split(' ') })
    } else if (content.startsWith('$ ')) {
      finish()
      command = { line, command: content.slice(2), answer: [] }
    } else command?.answer.push(content)
  })
  finish()
  return steps
}

/** What came back, in the form a session writes it. */
export function formatAnswer(result: {
  stdout: string
  stderr: string
  exitCode: number | null
}): string {
  const said = result.stderr
    .split('\n')
    .slice(0, -1)
    .map((line) => `! ${line}`.trimEnd())
  const code = result.exitCode === 0 ? [] : [`? ${result.exitCode}`]
  return trimBlank([...result.stdout.split('\n'), ...said, ...code])
}

/** Words of a command line: blanks separate, single quotes hold together. */
export function words(command: string): string[] {
  return [...command.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2]!)
}

function trimBlank(lines: readonly string[]): string {
  return lines
    .map((line) => line.trimEnd())
    .join('\n')
    .replace(/^\n+|\n+$/g, '')
}
