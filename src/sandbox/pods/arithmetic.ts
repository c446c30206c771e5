/** `$((…))`: whole numbers, variables, and the operators of POSIX XCU 2.6.4 that people use. */
import { SyntaxProblem } from './shell-words.ts'

const LEVELS: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['==', '!='],
  ['<=', '>=', '<', '>'],
  ['+', '-'],
  ['*', '/', '%'],
]
const TOKEN = /\s*(\d+|[A-Za-z_]\w*|[|&=!<>]=?[|&]?|[-+*/%()])/y

/** @throws SyntaxProblem */
export function evaluate(text: string, variable: (name: string) => string): number {
  const tokens = tokensOf(text.replaceAll('$', ''))
  const value = level(0)
  if (tokens.length > 0) throw new SyntaxProblem('arithmetic syntax error')
  return value

  function level(depth: number): number {
    const operators = LEVELS[depth]
    if (!operators) return factor()
    let left = level(depth + 1)
    while (operators.includes(tokens[0] ?? ''))
      left = apply(tokens.shift()!, left, level(depth + 1))
    return left
  }

  function factor(): number {
    const token = tokens.shift() ?? ''
    if (token === '-') return -factor()
    if (token === '!') return factor() === 0 ? 1 : 0
    if (token === '(') {
      const inner = level(0)
      if (tokens.shift() !== ')') throw new SyntaxProblem('arithmetic syntax error')
      return inner
    }
    if (/^\d/.test(token)) return Number(token)
    if (!/^[A-Za-z_]/.test(token)) throw new SyntaxProblem('arithmetic syntax error')
    return Math.trunc(Number(variable(token))) || 0
  }
}

function tokensOf(text: string): string[] {
  const tokens: string[] = []
  TOKEN.lastIndex = 0
  const trimmed = text.trimEnd()
  while (TOKEN.lastIndex < trimmed.length) {
    const match = TOKEN.exec(trimmed)
    if (!match) throw new SyntaxProblem('arithmetic syntax error')
    tokens.push(match[1]!)
  }
  return tokens
}

function apply(operator: string, left: number, right: number): number {
  if ((operator === '/' || operator === '%') && right === 0)
    throw new SyntaxProblem('divide by zero')
  switch (operator) {
    case '+':
      return left + right
    case '-':
      return left - right
    case '*':
      return left * right
    case '/':
      return Math.trunc(left / right)
    case '%':
      return left % right
    case '<':
      return Number(left < right)
    case '>':
      return Number(left > right)
    case '<=':
      return Number(left <= right)
    case '>=':
      return Number(left >= right)
    case '==':
      return Number(left === right)
    case '!=':
      return Number(left !== right)
    case '&&':
      return Number(left !== 0 && right !== 0)
    default:
      return Number(left !== 0 || right !== 0)
  }
}
