/** Reads the words of a script: quotes, parameters, substitutions. Knows nothing of commands. */
import type { List, Word, WordPart } from './shell-syntax.ts'

/** The script cannot be read. */
export class SyntaxProblem extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'SyntaxProblem'
  }
}

const BREAKS = new Set([...' \t\n;&|<>()'])
const NAME = /^(?:[A-Za-z_]\w*|[0-9@*#?$!])/

export class WordReader {
  readonly text: string
  position = 0
  readonly #parseList: (text: string) => List

  constructor(text: string, parseList: (text: string) => List) {
    this.text = text
    this.#parseList = parseList
  }

  get next(): string {
    return this.text[this.position] ?? ''
  }

  startsWith(text: string): boolean {
    return this.text.startsWith(text, this.position)
  }

  /** Blanks, comments and continued lines. */
  skipBlanks(): void {
    for (;;) {
      if (this.startsWith('\\\n')) this.position += 2
      else if (this.next === ' ' || this.next === '\t') this.position += 1
      else if (this.next === '#') this.position = this.#endOfLine()
      else return
    }
  }

  #endOfLine(): number {
    const end = this.text.indexOf('\n', this.position)
    return end < 0 ? this.text.length : end
  }

  /** The word that begins here; empty when there is none. @throws SyntaxProblem */
  readWord(): Word {
    const parts: WordPart[] = []
    while (this.next !== '' && !BREAKS.has(this.next)) this.#readPart(parts, false)
    return parts
  }

  #readPart(parts: WordPart[], isQuoted: boolean): void {
    const { next } = this
    if (next === "'" && !isQuoted) {
      const end = this.text.indexOf("'", this.position + 1)
      if (end < 0) throw new SyntaxProblem('unterminated quoted string')
      parts.push({ kind: 'text', text: this.text.slice(this.position + 1, end), isQuoted: true })
      this.position = end + 1
    } else if (next === '"' && !isQuoted) this.#readDoubleQuoted(parts)
    else if (next === '\\') this.#readEscape(parts, isQuoted)
    else if (next === '$') this.#readDollar(parts, isQuoted)
    else if (next === '`') {
      const end = this.text.indexOf('`', this.position + 1)
      if (end < 0) throw new SyntaxProblem('EOF in backquote substitution')
      const list = this.#parseList(this.text.slice(this.position + 1, end))
      parts.push({ kind: 'command', list, isQuoted })
      this.position = end + 1
    } else {
      addText(parts, next, isQuoted)
      this.position += 1
    }
  }

  #readDoubleQuoted(parts: WordPart[]): void {
    this.position += 1
    // So that "" is a word, too.
    parts.push({ kind: 'text', text: '', isQuoted: true })
    while (this.next !== '"') {
      if (this.next === '') throw new SyntaxProblem('unterminated quoted string')
      this.#readPart(parts, true)
    }
    this.position += 1
  }

  #readEscape(parts: WordPart[], isQuoted: boolean): void {
    const escaped = this.text[this.position + 1] ?? '\\'
    this.position += 2
    if (escaped === '\n') return
    const isSpecial = !isQuoted || '$`"\\'.includes(escaped)
    addText(parts, isSpecial ? escaped : `\\${escaped}`, true)
  }

  #readDollar(parts: WordPart[], isQuoted: boolean): void {
    if (this.startsWith('$((')) {
      parts.push({ kind: 'arithmetic', text: this.#readNested('$((', '))'), isQuoted })
    } else if (this.startsWith('$(')) {
      const list = this.#parseList(this.#readNested('$(', ')'))
      parts.push({ kind: 'command', list, isQuoted })
    } else if (this.startsWith('${')) this.#readBraced(parts, isQuoted)
    else {
      const name = NAME.exec(this.text.slice(this.position + 1))?.[0]
      this.position += 1 + (name?.length ?? 0)
      if (name === undefined) addText(parts, '$', isQuoted)
      else parts.push({ kind: 'parameter', name, isQuoted })
    }
  }

  #readBraced(parts: WordPart[], isQuoted: boolean): void {
    const inner = this.#readNested('${', '}')
    const name = NAME.exec(inner)?.[0]
    const rest = inner.slice(name?.length ?? 0)
    if (name === undefined || !/^(?::?-.*)?$/s.test(rest))
      throw new SyntaxProblem('bad substitution')
    const fallback = rest === '' ? undefined : rest.replace(/^:?-/, '')
    const word = fallback === undefined ? undefined : this.#wordOf(fallback)
    parts.push({ kind: 'parameter', name, isQuoted, ...(word && { fallback: word }) })
  }

  #wordOf(text: string): Word {
    const reader = new WordReader(text, this.#parseList)
    const parts: WordPart[] = []
    while (reader.next !== '') reader.#readPart(parts, false)
    return parts
  }

  /** What stands between two marks, the position moved behind it; brackets and quotes within are minded. */
  #readNested(open: string, close: string): string {
    const start = this.position + open.length
    const opening = open.at(-1)!
    let depth = 0
    for (let at = start; at < this.text.length; at += 1) {
      const letter = this.text[at]!
      if (letter === '\\') at += 1
      else if (letter === "'" || letter === '"') at = endOfQuote(this.text, at)
      else if (depth === 0 && this.text.startsWith(close, at)) {
        this.position = at + close.length
        return this.text.slice(start, at)
      } else if (letter === opening) depth += 1
      else if (letter === close[0]) depth -= 1
    }
    throw new SyntaxProblem(`unexpected end of file (expecting "${close}")`)
  }
}

function endOfQuote(text: string, start: number): number {
  const quote = text[start]!
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '\\' && quote === '"') at += 1
    else if (text[at] === quote) return at
  }
  throw new SyntaxProblem('unterminated quoted string')
}

function addText(parts: WordPart[], text: string, isQuoted: boolean): void {
  const last = parts.at(-1)
  if (last?.kind === 'text' && last.isQuoted === isQuoted)
    parts[parts.length - 1] = { ...last, text: last.text + text }
  else parts.push({ kind: 'text', text, isQuoted })
}
