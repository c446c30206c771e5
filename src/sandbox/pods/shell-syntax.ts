/** What a shell script is made of, the part of POSIX XCU 2.10 that people type at a pod. */

export type WordPart =
  | { readonly kind: 'text'; readonly text: string; readonly isQuoted: boolean }
  | {
      readonly kind: 'parameter'
      readonly name: string
      /** `${name:-this}` */
      readonly fallback?: Word
      readonly isQuoted: boolean
    }
  | { readonly kind: 'command'; readonly list: List; readonly isQuoted: boolean }
  | { readonly kind: 'arithmetic'; readonly text: string; readonly isQuoted: boolean }

export type Word = readonly WordPart[]

export interface Redirection {
  readonly descriptor: number
  readonly operator: '<' | '>' | '>>' | '>&' | '<&'
  readonly target: Word
}

export type Command = { readonly redirections: readonly Redirection[] } & (
  | {
      readonly kind: 'simple'
      readonly assignments: readonly { readonly name: string; readonly value: Word }[]
      readonly words: readonly Word[]
    }
  | { readonly kind: 'group'; readonly list: List; readonly isSubshell: boolean }
  | {
      readonly kind: 'if'
      readonly condition: List
      readonly then: List
      readonly otherwise?: List
    }
  | {
      readonly kind: 'loop'
      readonly condition: List
      readonly body: List
      readonly until: boolean
    }
  | {
      readonly kind: 'for'
      readonly name: string
      readonly words: readonly Word[]
      readonly body: List
    }
)

export interface Pipeline {
  readonly commands: readonly Command[]
  readonly isNegated: boolean
}

export interface AndOr {
  readonly first: Pipeline
  readonly rest: readonly { readonly operator: '&&' | '||'; readonly pipeline: Pipeline }[]
  readonly isBackground: boolean
}

export type List = readonly AndOr[]
