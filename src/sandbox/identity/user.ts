/** Who asks (apiserver `pkg/authentication/user/user.go`). */

export interface UserInfo {
  readonly name: string
  readonly groups: readonly string[]
  readonly uid?: string
  readonly extra: ReadonlyMap<string, readonly string[]>
}

export const ANONYMOUS = 'system:anonymous'
export const UNAUTHENTICATED = 'system:unauthenticated'
export const AUTHENTICATED = 'system:authenticated'
export const MASTERS = 'system:masters'
export const NODES = 'system:nodes'

const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]*):([^:]*)$/
const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const DNS_SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/

export function serviceAccountUser(namespace: string, name: string): string {
  return `system:serviceaccount:${namespace}:${name}`
}

export function serviceAccountGroups(namespace: string): readonly string[] {
  return ['system:serviceaccounts', `system:serviceaccounts:${namespace}`]
}

/** Namespace and name out of a user name (apiserver `pkg/authentication/serviceaccount/util.go`). */
export function serviceAccountOf(user: string): { namespace: string; name: string } | undefined {
  const [, namespace = '', name = ''] = SERVICE_ACCOUNT.exec(user) ?? []
  const isValid = DNS_LABEL.test(namespace) && isSubdomain(name)
  return isValid ? { namespace, name } : undefined
}

/** The node name of `system:node:NAME`. */
export function nodeOf(user: string): string | undefined {
  const name = user.startsWith('system:node:') ? user.slice('system:node:'.length) : ''
  return isSubdomain(name) ? name : undefined
}

/** As reviews and the audit show a user. */
export function shownUser(user: UserInfo) {
  return {
    username: user.name,
    ...(user.uid && { uid: user.uid }),
    ...(user.groups.length > 0 && { groups: [...user.groups] }),
    ...(user.extra.size > 0 && {
      extra: Object.fromEntries([...user.extra].map(([key, values]) => [key, [...values]])),
    }),
  }
}

function isSubdomain(name: string): boolean {
  return name.length <= 253 && DNS_SUBDOMAIN.test(name)
}
