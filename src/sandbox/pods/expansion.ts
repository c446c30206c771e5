/** Expands words (POSIX XCU 2.6): parameters, commands, arithmetic, fields, and names of files. */
import { evaluate } from './arithmetic.ts'
import { type FileSystem, parentOf, resolvePath } from './file-system.ts'
import type { List, Word, WordPart } from './shell-syntax.ts'

export interface Expansion {
  readonly files: FileSystem
  readonly directory: string
  readonly positional: readonly string[]
  parameter(name: string): string | undefined
  output(list: List): Promise<string>
}

/** Text of one field, and where it was quoted. */
interface Piece {
  readonly text: string
  readonly isQuoted: boolean
}

/** Each word as no, one or several fields. */
export async function expandWords(
  words: readonly Word[],
  expansion: Expansion,
): Promise<readonly string[]> {
  const fields: string[] = []
  for (const word of words)
    for (const field of await fieldsOf(word, expansion)) fields.push(...namesOf(field, expansion))
  return fields
}

/** A word as one text: for assignments and redirections. */
export async function expandText(word: Word, expansion: Expansion): Promise<string> {
  const texts: string[] = []
  for (const part of word) texts.push(await textOf(part, expansion))
  return texts.join('')
}

async function fieldsOf(word: Word, expansion: Expansion): Promise<readonly (readonly Piece[])[]> {
  const fields: Piece[][] = []
  let current: Piece[] | undefined
  for (const part of word) {
    if (part.kind === 'parameter' && part.name === '@') {
      for (const text of expansion.positional) fields.push([{ text, isQuoted: true }])
      continue
    }
    const text = await textOf(part, expansion)
    if (part.isQuoted || part.kind === 'text') {
      current ??= []
      current.push({ text, isQuoted: part.isQuoted })
      continue
    }
    const pieces = text.split(/[ \t\n]+/)
    for (const [index, piece] of pieces.entries()) {
      if (index > 0 && current) {
        fields.push(current)
        current = undefined
      }
      if (piece === '') continue
      current ??= []
      current.push({ text: piece, isQuoted: false })
    }
  }
  // The quotes around "$@" are no field of their own.
  const isOnlyAll = word.some((part) => part.kind === 'parameter' && part.name === '@')
  const isEmpty = current?.every((piece) => piece.text === '') ?? true
  if (current && !(isOnlyAll && isEmpty)) fields.push(current)
  return fields
}

async function textOf(part: WordPart, expansion: Expansion): Promise<string> {
  switch (part.kind) {
    case 'text':
      return part.text
    case 'parameter': {
      const value = expansion.parameter(part.name)
      if (value || !part.fallback) return value ?? ''
      return await expandText(part.fallback, expansion)
    }
    case 'command':
      return await expansion.output(part.list)
    case 'arithmetic':
      return String(evaluate(part.text, (name) => expansion.parameter(name) ?? ''))
  }
}

/** The files a pattern in the last part of a path names, or the text as it is. */
function namesOf(field: readonly Piece[], { files, directory }: Expansion): readonly string[] {
  const text = field.map((piece) => piece.text).join('')
  if (!field.some((piece) => !piece.isQuoted && /[*?]/.test(piece.text))) return [text]
  const slash = text.lastIndexOf('/') + 1
  const folder =
    slash === 0 ? directory : parentOf(resolvePath(directory, `${text.slice(0, slash)}x`))
  if (!files.isDirectory(folder)) return [text]
  const pattern = patternOf(text.slice(slash))
  const names = files
    .list(folder)
    .filter((name) => pattern.test(name) && (!name.startsWith('.') || text[slash] === '.'))
  return names.length > 0 ? names.map((name) => text.slice(0, slash) + name) : [text]
}

function patternOf(text: string): RegExp {
  const escaped = text.replace(/[.+^${}()|[\]\\]/g, '\\$&')
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`, 's')
}
