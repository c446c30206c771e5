import { type AccessFile, type AccessProblem, readAccess } from '../access/access-file.ts'
import { UsageError } from '../errors.ts'
import { readPositioned } from '../kubeconfig/yaml.ts'
import { readTextIfAny } from '../store/files.ts'

/** `access.yaml` as read from a file: checked as a whole, and able to say where in it something is wrong. */
export interface DeclaredAccess {
  readonly access: AccessFile
  /** An error about a part of it, with line and column. */
  wrong(problem: AccessProblem): UsageError
}

const MAX_TOLD = 10

/** @throws UsageError MCM_BAD_FILE with `FILE:LINE:COLUMN` of everything that is wrong; StateError */
export async function readAccessFile(path: string): Promise<DeclaredAccess> {
  const text = await readTextIfAny(path)
  if (text !== undefined) return parseAccess(text, path)
  throw new UsageError('MCM_BAD_FILE', `${path}: no such file`, {
    hint: 'name it with -f FILE; mcm access show --yaml prints what there is as a beginning',
  })
}

/** The same for text; `name` is for errors. */
export function parseAccess(text: string, name: string): DeclaredAccess {
  const { value, positionOf } = readPositioned(text, name)
  const wrong = (problems: readonly AccessProblem[]) => {
    const told = problems.slice(0, MAX_TOLD).map(({ path, message }) => {
      const { line, column } = positionOf(path)
      return `${name}:${line}:${column}: ${pathText(path)}${message}`
    })
    const rest = problems.length - told.length
    const message = [...told, ...(rest > 0 ? [`and ${rest} more`] : [])].join('; ')
    return new UsageError('MCM_BAD_FILE', message, { hint: `correct ${name}` })
  }
  const { access, problems } = readAccess(value)
  if (problems) throw wrong(problems)
  return { access, wrong: (problem) => wrong([problem]) }
}

/** `grants[0].role: ` */
function pathText(path: AccessProblem['path']): string {
  const text = path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`)).join('')
  return text === '' ? '' : `${text.replace(/^\./, '')}: `
}
