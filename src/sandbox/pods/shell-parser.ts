/** From the text of a script to its commands. Reading only; nothing is expanded or run. */
import type { AndOr, Command, List, Pipeline, Redirection, Word } from './shell-syntax.ts'
import { SyntaxProblem, WordReader } from './shell-words.ts'

const MAX_DEPTH = 50
/** Words that end a list they stand in front of. */
const CLOSERS = new Set(['then', 'else', 'elif', 'fi', 'do', 'done', '}'])
const ASSIGNMENT = /^([A-Za-z_]\w*)=/

/** @throws SyntaxProblem */
export function parseScript(text: string, depth = 0): List {
  if (depth > MAX_DEPTH) throw new SyntaxProblem('nested too deeply')
  const parser = new Parser(text, depth)
  const list = parser.readList()
  parser.requireEnd()
  return list
}

class Parser {
  readonly #words: WordReader
  #depth: number

  constructor(text: string, depth: number) {
    this.#depth = depth
    this.#words = new WordReader(text, (inner) => parseScript(inner, depth + 1))
  }

  requireEnd(): void {
    this.#skipNewlines()
    const { next } = this.#words
    if (next !== '') throw new SyntaxProblem(`unexpected "${this.#peekKeyword() || next}"`)
  }

  readList(): List {
    const list: AndOr[] = []
    for (;;) {
      this.#skipNewlines()
      if (this.#atEndOfList()) return list
      list.push(this.#readAndOr())
    }
  }

  #atEndOfList(): boolean {
    return ['', ')'].includes(this.#words.next) || CLOSERS.has(this.#peekKeyword())
  }

  #readAndOr(): AndOr {
    const first = this.#readPipeline()
    const rest: { operator: '&&' | '||'; pipeline: Pipeline }[] = []
    for (;;) {
      const operator = (['&&', '||'] as const).find((one) => this.#take(one))
      if (!operator) break
      this.#skipNewlines()
      rest.push({ operator, pipeline: this.#readPipeline() })
    }
    const isBackground = this.#take('&')
    if (!isBackground && this.#words.next === ';') this.#words.position += 1
    return { first, rest, isBackground }
  }

  #readPipeline(): Pipeline {
    const isNegated = this.#takeKeyword('!')
    const commands = [this.#readCommand()]
    while (!this.#words.startsWith('||') && this.#take('|')) {
      this.#skipNewlines()
      commands.push(this.#readCommand())
    }
    return { commands, isNegated }
  }

  #readCommand(): Command {
    this.#depth += 1
    if (this.#depth > MAX_DEPTH) throw new SyntaxProblem('nested too deeply')
    const command = this.#readCompound() ?? this.#readSimple()
    this.#depth -= 1
    return command
  }

  #readCompound(): Command | undefined {
    if (this.#take('(')) return this.#readGroup(')', true)
    if (this.#takeKeyword('{')) return this.#readGroup('}', false)
    if (this.#takeKeyword('if')) return this.#withRedirections(this.#readIf())
    if (this.#takeKeyword('while')) return this.#readLoop(false)
    if (this.#takeKeyword('until')) return this.#readLoop(true)
    if (this.#takeKeyword('for')) return this.#readFor()
    return undefined
  }

  #readGroup(close: ')' | '}', isSubshell: boolean): Command {
    const list = this.readList()
    if (close === ')' ? !this.#take(')') : !this.#takeKeyword('}')) throw this.#unexpected(close)
    return this.#withRedirections({ kind: 'group', list, isSubshell, redirections: [] })
  }

  #readIf(): Command {
    const condition = this.readList()
    this.#expect('then')
    const then = this.readList()
    const base = { kind: 'if', condition, then, redirections: [] } as const
    if (this.#takeKeyword('elif')) {
      const inner = { commands: [this.#readIf()], isNegated: false }
      return { ...base, otherwise: [{ first: inner, rest: [], isBackground: false }] }
    }
    const otherwise = this.#takeKeyword('else') ? this.readList() : undefined
    this.#expect('fi')
    return otherwise ? { ...base, otherwise } : base
  }

  #readLoop(until: boolean): Command {
    const condition = this.readList()
    const body = this.#readBody()
    return this.#withRedirections({ kind: 'loop', condition, body, until, redirections: [] })
  }

  #readFor(): Command {
    this.#words.skipBlanks()
    const name = plainText(this.#words.readWord()) ?? ''
    const words: Word[] = []
    if (this.#takeKeyword('in')) words.push(...this.#readWords())
    if (this.#words.next === ';') this.#words.position += 1
    this.#skipNewlines()
    const body = this.#readBody()
    return this.#withRedirections({ kind: 'for', name, words, body, redirections: [] })
  }

  #readBody(): List {
    this.#expect('do')
    const body = this.readList()
    this.#expect('done')
    return body
  }

  #readWords(): Word[] {
    const words: Word[] = []
    for (;;) {
      this.#words.skipBlanks()
      const word = this.#words.readWord()
      if (word.length === 0) return words
      words.push(word)
    }
  }

  #readSimple(): Command {
    const assignments: { name: string; value: Word }[] = []
    const words: Word[] = []
    const redirections: Redirection[] = []
    for (;;) {
      const redirection = this.#readRedirection()
      if (redirection) {
        redirections.push(redirection)
        continue
      }
      const word = this.#words.readWord()
      if (word.length === 0) break
      const assignment = words.length === 0 ? assignmentOf(word) : undefined
      if (assignment) assignments.push(assignment)
      else words.push(word)
    }
    if (assignments.length + words.length + redirections.length === 0)
      throw this.#unexpected(undefined)
    return { kind: 'simple', assignments, words, redirections }
  }

  #withRedirections(command: Command): Command {
    const redirections: Redirection[] = []
    for (;;) {
      const redirection = this.#readRedirection()
      if (!redirection) return { ...command, redirections }
      redirections.push(redirection)
    }
  }

  #readRedirection(): Redirection | undefined {
    this.#words.skipBlanks()
    const { text, position } = this.#words
    const match = /^(\d?)(>>|>&|<&|>|<)/.exec(text.slice(position, position + 3))
    if (!match) return undefined
    this.#words.position += match[0].length
    const operator = match[2] as Redirection['operator']
    const descriptor = match[1] ? Number(match[1]) : operator.startsWith('<') ? 0 : 1
    this.#words.skipBlanks()
    const target = this.#words.readWord()
    if (target.length === 0) throw this.#unexpected(undefined)
    return { descriptor, operator, target }
  }

  #skipNewlines(): void {
    for (;;) {
      this.#words.skipBlanks()
      if (this.#words.next !== '\n') return
      this.#words.position += 1
    }
  }

  #take(operator: string): boolean {
    this.#words.skipBlanks()
    if (!this.#words.startsWith(operator)) return false
    this.#words.position += operator.length
    return true
  }

  #peekKeyword(): string {
    this.#words.skipBlanks()
    const { text, position } = this.#words
    return /^(?:[a-z]+|[{}!])(?=[\s;&|()<>]|$)/.exec(text.slice(position, position + 8))?.[0] ?? ''
  }

  #takeKeyword(keyword: string): boolean {
    if (this.#peekKeyword() !== keyword) return false
    this.#words.position += keyword.length
    return true
  }

  #expect(keyword: string): void {
    this.#skipNewlines()
    if (!this.#takeKeyword(keyword)) throw this.#unexpected(keyword)
  }

  #unexpected(expected: string | undefined): SyntaxProblem {
    const { next } = this.#words
    const found = next === '' ? 'end of file' : next === '\n' ? 'newline' : `"${next}"`
    return new SyntaxProblem(`unexpected ${found}${expected ? ` (expecting "${expected}")` : ''}`)
  }
}

function plainText(word: Word): string | undefined {
  const [part] = word
  return word.length === 1 && part?.kind === 'text' ? part.text : undefined
}

function assignmentOf(word: Word): { name: string; value: Word } | undefined {
  const [first, ...rest] = word
  if (first?.kind !== 'text' || first.isQuoted) return undefined
  const match = ASSIGNMENT.exec(first.text)
  if (!match) return undefined
  const text = first.text.slice(match[0].length)
  return { name: match[1]!, value: [{ ...first, text }, ...rest] }
}
