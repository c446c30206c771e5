/**
 * The RBAC authorizer over the stored roles and bindings (kubernetes
 * `plugin/pkg/auth/authorizer/rbac/rbac.go`, `pkg/registry/rbac/validation/rule.go`). It only ever
 * allows; what nothing allows is refused by whoever asked. `system:masters` passes before it, as in
 * apiserver `pkg/authorization/authorizerfactory/builtin.go`.
 */
import { MASTERS, serviceAccountUser, type UserInfo } from '../identity/user.ts'
import { type KubeObject, listAt, textAt } from '../json.ts'
import { resourceNamed } from '../objects/resources.ts'
import type { Storage } from '../objects/storage.ts'
import { notFound, quote } from '../refusals.ts'
import type { Attributes, Authorize, Decision } from './attributes.ts'
import { type Rule, readRule, ruleAllows } from './rules.ts'

export interface RuleResolver {
  /** Every rule that stands for a user in a namespace (`''`: cluster-wide ones only). */
  rulesFor(user: UserInfo, namespace: string): { rules: readonly Rule[]; errors: readonly string[] }
  /** The rules a binding refers to, undefined when there is no such role. */
  rulesOfRole(roleRef: RoleRef, namespace: string): readonly Rule[] | undefined
}

export interface RoleRef {
  readonly kind: string
  readonly name: string
}

interface Grant {
  readonly rule?: Rule
  readonly because: string
  readonly error?: string
}

export function createAuthorizer(storage: Storage): {
  authorize: Authorize
  resolver: RuleResolver
} {
  const resolver: RuleResolver = {
    rulesFor(user, namespace) {
      const grants = [...grantsOf(storage, user, namespace)]
      return {
        rules: grants.flatMap(({ rule }) => (rule ? [rule] : [])),
        errors: grants.flatMap(({ error }) => (error ? [error] : [])),
      }
    },
    rulesOfRole(roleRef, namespace) {
      const role = roleOf(storage, roleRef, namespace)
      return role && listAt(role, 'rules').map(readRule)
    },
  }
  return { authorize: (asked) => decide(storage, asked), resolver }
}

function decide(storage: Storage, asked: Attributes): Decision {
  if (asked.user.groups.includes(MASTERS)) return { isAllowed: true, reason: '' }
  const errors: string[] = []
  for (const { rule, because, error } of grantsOf(storage, asked.user, asked.namespace)) {
    if (rule && ruleAllows(rule, asked))
      return { isAllowed: true, reason: `RBAC: allowed by ${because}` }
    if (error) errors.push(error)
  }
  const reason = errors.length === 0 ? '' : `RBAC: ${aggregate(errors)}`
  return { isAllowed: false, reason }
}

/** Go's aggregate of errors. */
function aggregate(errors: readonly string[]): string {
  const distinct = [...new Set(errors)]
  return distinct.length === 1 ? distinct[0]! : `[${distinct.join(', ')}]`
}

function* grantsOf(storage: Storage, user: UserInfo, namespace: string): Generator<Grant> {
  for (const binding of storage.list(resourceNamed('clusterrolebindings'))) {
    yield* grantsBy(storage, binding, user, '')
  }
  if (namespace === '') return
  for (const binding of storage.list(resourceNamed('rolebindings'), namespace))
    yield* grantsBy(storage, binding, user, namespace)
}

function* grantsBy(
  storage: Storage,
  binding: KubeObject,
  user: UserInfo,
  namespace: string,
): Generator<Grant> {
  const subject = listAt(binding, 'subjects').find((one) =>
    isSubject(one as KubeObject, user, namespace),
  )
  if (subject === undefined) return
  const roleRef = {
    kind: textAt(binding, 'roleRef', 'kind'),
    name: textAt(binding, 'roleRef', 'name'),
  }
  const because = describe(binding, roleRef, subject as KubeObject, namespace)
  const role = roleOf(storage, roleRef, namespace)
  if (!role) yield { because, error: missingRole(roleRef).message }
  else for (const rule of listAt(role, 'rules')) yield { because, rule: readRule(rule) }
}

function isSubject(subject: KubeObject, user: UserInfo, bindingNamespace: string): boolean {
  const name = textAt(subject, 'name')
  switch (subject.kind) {
    case 'User':
      return user.name === name
    case 'Group':
      return user.groups.includes(name)
    case 'ServiceAccount': {
      const namespace = textAt(subject, 'namespace') || bindingNamespace
      return namespace !== '' && user.name === serviceAccountUser(namespace, name)
    }
    default:
      return false
  }
}

function describe(
  binding: KubeObject,
  roleRef: RoleRef,
  subject: KubeObject,
  bindingNamespace: string,
): string {
  const { name = '', namespace } = binding.metadata
  const bound = quote(namespace === undefined ? name : `${name}/${namespace}`)
  const subjectName = textAt(subject, 'name')
  const subjectNamespace = textAt(subject, 'namespace') || bindingNamespace
  const isAccount = subject.kind === 'ServiceAccount'
  const whom = quote(isAccount ? `${subjectName}/${subjectNamespace}` : subjectName)
  return `${binding.kind} ${bound} of ${roleRef.kind} ${quote(roleRef.name)} to ${subject.kind} ${whom}`
}

function roleOf(storage: Storage, roleRef: RoleRef, namespace: string): KubeObject | undefined {
  if (roleRef.kind === 'ClusterRole')
    return storage.get(resourceNamed('clusterroles'), '', roleRef.name)
  return storage.get(resourceNamed('roles'), namespace, roleRef.name)
}

function missingRole({ kind, name }: RoleRef) {
  const resource = kind === 'ClusterRole' ? 'clusterrole' : 'role'
  return notFound({ group: 'rbac.authorization.k8s.io', resource }, name)
}
