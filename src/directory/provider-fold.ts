import { isNameOf, type OidcDetail } from './provider.ts'
import type { ProviderRecord } from './state.ts'
import type { Statement } from './statement.ts'

/** Identity providers and what became of the names they give, in the order of the chain (PROTOCOL §11). */
export class ProviderFold {
  readonly records = new Map<string, ProviderRecord>()
  /** When names that providers give were revoked, and which of them an admin has named again since. */
  readonly #endedNames = new Map<string, Date>()
  readonly #namedAgain = new Set<string>()
  /** The last `oidc` statement that was not shown, or cannot be read. */
  #unseen = -1

  /** Why it has no effect, undefined when it has. `users` are those who were invited. */
  set(
    statement: Pick<Statement, 'seq' | 'detailHash'>,
    detail: OidcDetail,
    users: Iterable<string>,
  ): string | undefined {
    const { name } = detail
    if (detail.action === 'remove')
      return this.records.delete(name) ? undefined : `there is no provider ${name}`
    const { action: _, ca, ...rest } = detail
    const others = [...this.records.values()].filter((each) => each.name !== name)
    if (others.some(({ domain }) => domain === rest.domain))
      return `another provider gives names under @${rest.domain}`
    const invited = [...users].find((user) => isNameOf(rest.domain, user))
    if (invited !== undefined) return `${invited} was invited`
    const caDer = ca === undefined ? {} : { caDer: Buffer.from(ca, 'base64') }
    const { seq, detailHash } = statement
    this.records.set(name, { ...rest, seq, detailHash, ...caDer })
    return undefined
  }

  /** An admin's statement that is not shown. */
  miss(seq: number): void {
    this.#unseen = seq
  }

  /** It may have ended or narrowed any provider of before: none of them is believed until it is shown. */
  dropDoubted(): void {
    for (const [name, { seq }] of this.records) if (seq < this.#unseen) this.records.delete(name)
  }

  /** Who gives such names. */
  of(user: string): ProviderRecord | undefined {
    return [...this.records.values()].find(({ domain }) => isNameOf(domain, user))
  }

  endName(time: Date, name: string): undefined {
    this.#endedNames.set(name, time)
    this.#namedAgain.delete(name)
  }

  nameAgain(name: string): void {
    this.#namedAgain.add(name)
  }

  /** Whether a token of that time may name the user: after an end only when an admin named them again before. */
  isNamed(user: string, tokenTime: Date): boolean {
    const ended = this.#endedNames.get(user)
    return ended === undefined || (this.#namedAgain.has(user) && tokenTime > ended)
  }
}
