import { decodeJwt } from 'jose'

/** When a token ends by its own word, which nobody has checked; undefined for what is no token. */
export function unverifiedTokenEnd(token: string): Date | undefined {
  try {
    const { exp } = decodeJwt(token)
    return exp === undefined ? undefined : new Date(exp * 1000)
  } catch {
    return undefined
  }
}

/** Whom a token is for by its own word, which nobody has checked; nobody for what is no token. */
export function unverifiedAudiences(token: string): string[] {
  try {
    return [decodeJwt(token).aud ?? []].flat()
  } catch {
    return []
  }
}
