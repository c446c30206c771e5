/** Whom a request asks to act as (apiserver `pkg/endpoints/filters/impersonation/`): spelling, not rights. */
import type { Headers } from '../headers.ts'
import { badRequest, quote } from '../refusals.ts'
import type { UserInfo } from './user.ts'

const EXTRA_PREFIX = 'impersonate-extra-'

/**
 * Whom the headers ask to act as, undefined when nobody.
 * @param isConstrained whether the server is one with constrained modes, which words its refusal differently
 * @throws Refusal 400 groups, uid or extras without a user
 */
export function wantedUser(headers: Headers, isConstrained: boolean): UserInfo | undefined {
  const name = headers.first('impersonate-user')
  const groups = headers.all('impersonate-group')
  const uid = headers.first('impersonate-uid')
  const extra = extrasOf(headers)
  if (name !== '') return { name, groups, extra, ...(uid && { uid }) }
  if (groups.length === 0 && uid === '' && extra.size === 0) return undefined
  throw isConstrained
    ? badRequest(`requested ${goSyntax(uid, groups, extra)} without impersonating a user name`)
    : badRequest(`requested ${goReferences(uid, groups, extra)} without impersonating a user`)
}

function extrasOf(headers: Headers): ReadonlyMap<string, readonly string[]> {
  const extra = new Map<string, readonly string[]>()
  for (const [name, value] of headers.startingWith(EXTRA_PREFIX)) {
    const key = pathUnescape(name.slice(EXTRA_PREFIX.length))
    extra.set(key, [...(extra.get(key) ?? []), value])
  }
  return extra
}

/** Go's url.PathUnescape; a malformed key is kept as it is. */
function pathUnescape(text: string): string {
  if (/%(?![0-9a-f]{2})/i.test(text)) return text
  const bytes = text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return Buffer.from(bytes, 'latin1').toString('utf8')
}

/** Go's `%#v` of the user asked for. */
function goSyntax(
  uid: string,
  groups: readonly string[],
  extra: ReadonlyMap<string, readonly string[]>,
): string {
  const list = (items: readonly string[]) => `[]string{${items.map(quote).join(', ')}}`
  const shownGroups = groups.length > 0 ? list(groups) : '[]string(nil)'
  const pairs = [...extra].sort(([a], [b]) => (a < b ? -1 : 1))
  const shown = pairs.map(([key, values]) => `${quote(key)}:${list(values)}`).join(', ')
  const shownExtra = extra.size > 0 ? `map[string][]string{${shown}}` : 'map[string][]string(nil)'
  return `&user.DefaultInfo{Name:"", UID:${quote(uid)}, Groups:${shownGroups}, Extra:${shownExtra}}`
}

/** Go's `%v` of the object references that the legacy filter makes of the headers. */
function goReferences(
  uid: string,
  groups: readonly string[],
  extra: ReadonlyMap<string, readonly string[]>,
): string {
  const version = 'authentication.k8s.io/v1'
  const ofExtras = [...extra].flatMap(([key, values]) =>
    values.map((value) => `{UserExtra  ${value}  ${version}  ${key}}`),
  )
  const references = groups.map((group) => `{Group  ${group}    }`)
  const ofUid = uid === '' ? [] : [`{UID  ${uid}  ${version}  }`]
  return `[${[...references, ...ofExtras, ...ofUid].join(' ')}]`
}
