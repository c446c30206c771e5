/**
 * The declared access of a whole fleet (`access.yaml`): people, groups, bots, roles, and who is granted
 * what where. It knows the form and what must fit together; nothing of files, of clusters as they are,
 * or of what anybody has now. Invariant: what it lets pass names nothing that it does not declare,
 * but clusters and the ClusterRoles of others.
 */

import { z } from 'zod'
import { NAMESPACE } from '../kube/namespace.ts'
import { isPrincipalName, PRINCIPAL_NAME } from '../protocol/names.ts'
import type { GrantSubject } from './grant.ts'
import { clusterRoleName, isNamespacePreset, isOwnRoleName, presetOf } from './role.ts'

export const ACCESS_API_VERSION = 'mcm.dev/v1alpha1'

const NAME_RULE =
  'a name has letters, digits and @ . _ + -, begins with a letter or digit, and has at most 253 bytes'
const MAX_GROUPS_OF_USER = 512

const principal = z
  .string()
  .max(253, NAME_RULE)
  .regex(PRINCIPAL_NAME, NAME_RULE)
  .refine(isPrincipalName, NAME_RULE)
/** Text for people: no controls, of the cursor or of the direction. */
const plainText = z
  .string()
  .max(128)
  .regex(/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]*$/u, 'this is no plain text of one line')
const words = z.array(z.string().min(1).max(253)).min(1)

const user = z.strictObject({
  name: principal.describe('as every cluster sees it, behind its prefix'),
  nickname: plainText.optional().describe('how people call the user; an annotation on bindings'),
  groups: z.array(principal).max(MAX_GROUPS_OF_USER).optional(),
})
const group = z.strictObject({ name: principal, description: plainText.optional() })
const bot = z.strictObject({ name: principal, description: plainText.optional() })
const rule = z
  .strictObject({
    apiGroups: z.array(z.string().max(253)).min(1).optional(),
    resources: words.optional(),
    resourceNames: words.optional(),
    nonResourceURLs: words.optional(),
    verbs: words,
  })
  .describe('a PolicyRule of rbac.authorization.k8s.io/v1')
const role = z.strictObject({
  name: z
    .string()
    .max(253)
    .refine(
      isOwnRoleName,
      'this name is a preset’s, the agent’s, Kubernetes’ own, or cannot be a ClusterRole’s',
    )
    .describe('the name of the ClusterRole it becomes'),
  description: plainText.optional(),
  rules: z.array(rule),
})
const grant = z
  .strictObject({
    user: principal.optional(),
    group: principal.optional(),
    bot: principal.optional(),
    role: z
      .string()
      .min(1)
      .max(253)
      .describe('admin, ops, dev, ro, ns-dev, ns-ro, one of roles, or a ClusterRole there is'),
    clusters: z.array(z.string().min(1).max(63)).min(1).optional().describe('names or ids'),
    clusterSelector: z
      .strictObject({ matchLabels: z.record(z.string(), z.string()) })
      .optional()
      .describe('clusters with all of these labels; none: every cluster'),
    namespaces: z
      .array(z.string().regex(NAMESPACE, 'no namespace can be called so'))
      .min(1)
      .optional()
      .describe('absent: all of them'),
    expires: z.iso
      .datetime({ error: 'write a time in UTC, as in 2030-01-31T18:00:00Z' })
      .optional()
      .describe('when it ends by itself'),
  })
  .describe('one of user, group, bot; one of clusters, clusterSelector')

const accessSchema = z.strictObject({
  apiVersion: z.literal(ACCESS_API_VERSION),
  kind: z.literal('Access'),
  users: z.array(user).default([]),
  groups: z.array(group).default([]),
  bots: z.array(bot).default([]),
  roles: z.array(role).default([]),
  grants: z.array(grant).default([]),
})

export type AccessFile = z.infer<typeof accessSchema>
export type AccessGrant = AccessFile['grants'][number]

/** What is wrong, and where: the path of keys and indexes that leads to it. */
export interface AccessProblem {
  readonly path: readonly (string | number)[]
  readonly message: string
}

export type ReadAccess =
  | { readonly access: AccessFile; readonly problems?: undefined }
  | { readonly access?: undefined; readonly problems: readonly AccessProblem[] }

/** Checks all of it; gives either what it says or everything that is wrong. */
export function readAccess(value: unknown): ReadAccess {
  const result = accessSchema.safeParse(value)
  if (!result.success) return { problems: once(result.error.issues.flatMap(problemsOfIssue)) }
  const problems = [...repetitions(result.data), ...strangers(result.data), ...odd(result.data)]
  return problems.length > 0 ? { problems } : { access: result.data }
}

/** The JSON Schema (draft 2020-12) of the form, for editors. What must fit together it cannot say. */
export function accessJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(accessSchema, { io: 'input' })
  return { ...schema, title: 'mcm access', $id: `https://${ACCESS_API_VERSION}/access.schema.json` }
}

/** Whom a grant is for. A bot is a user to the cluster. */
export function subjectOfGrant({ user, group, bot }: AccessGrant): GrantSubject {
  if (group !== undefined) return { kind: 'group', name: group }
  return { kind: 'user', name: (user ?? bot)! }
}

/** What a pattern and the rule behind it both say of one place is one problem. */
function once(problems: readonly AccessProblem[]): AccessProblem[] {
  return [...new Map(problems.map((each) => [JSON.stringify(each), each])).values()]
}

/** A key that is none has a place of its own. */
function problemsOfIssue(issue: z.core.$ZodIssue): AccessProblem[] {
  const path = issue.path.filter((part) => typeof part !== 'symbol')
  if (issue.code !== 'unrecognized_keys') return [{ path, message: issue.message }]
  return issue.keys.map((key) => ({ path: [...path, key], message: `there is no ${key} here` }))
}

function repetitions(access: AccessFile): AccessProblem[] {
  const people = [
    ...access.users.map(({ name }, index) => ({ name, path: ['users', index, 'name'] })),
    ...access.bots.map(({ name }, index) => ({ name, path: ['bots', index, 'name'] })),
  ]
  const named = (list: 'groups' | 'roles') =>
    access[list].map(({ name }, index) => ({ name, path: [list, index, 'name'] }))
  return [people, named('groups'), named('roles')].flatMap((list) => {
    const seen = new Set<string>()
    return list.flatMap(({ name, path }) => {
      if (seen.has(name)) return [{ path, message: `${JSON.stringify(name)} is declared before` }]
      seen.add(name)
      return []
    })
  })
}

/** Names that nothing declares: a typing error would grant nothing, or something to nobody. */
function strangers(access: AccessFile): AccessProblem[] {
  const names = (list: readonly { readonly name: string }[]) => new Set(list.map((it) => it.name))
  const known = { user: names(access.users), group: names(access.groups), bot: names(access.bots) }
  const unknown = (kind: keyof typeof known, name: string, path: (string | number)[]) =>
    known[kind].has(name)
      ? []
      : [{ path, message: `${kind}s do not declare ${JSON.stringify(name)}` }]
  const ofUsers = access.users.flatMap(({ groups = [] }, index) =>
    groups.flatMap((name, at) => unknown('group', name, ['users', index, 'groups', at])),
  )
  const ofGrants = access.grants.flatMap((each, index) =>
    (['user', 'group', 'bot'] as const).flatMap((kind) =>
      each[kind] === undefined ? [] : unknown(kind, each[kind], ['grants', index, kind]),
    ),
  )
  return [...ofUsers, ...ofGrants]
}

/** Grants that are not one thing, and rules that are none. */
function odd(access: AccessFile): AccessProblem[] {
  const ofGrants = access.grants.flatMap((each, index) => {
    const message = oddity(each, access)
    return message === undefined ? [] : [{ path: ['grants', index], message }]
  })
  const ofRules = access.roles.flatMap(({ rules }, index) =>
    rules.flatMap(({ resources, apiGroups, nonResourceURLs }, at) => {
      const isOne = (resources && apiGroups) || nonResourceURLs
      const message = 'a rule has apiGroups and resources, or nonResourceURLs'
      return isOne ? [] : [{ path: ['roles', index, 'rules', at], message }]
    }),
  )
  return [...ofGrants, ...ofRules]
}

function oddity(grant: AccessGrant, { roles }: AccessFile): string | undefined {
  const subjects = [grant.user, grant.group, grant.bot].filter((name) => name !== undefined)
  if (subjects.length !== 1) return 'a grant is for one user, one group or one bot'
  if ((grant.clusters === undefined) === (grant.clusterSelector === undefined))
    return 'a grant names clusters or has a clusterSelector'
  if (!isRole(grant.role, roles)) return `${JSON.stringify(grant.role)} cannot be a role`
  if (isNamespacePreset(grant.role) && grant.namespaces === undefined)
    return `role ${grant.role} is for namespaces, and none is named`
  return undefined
}

function isRole(name: string, roles: AccessFile['roles']): boolean {
  if (presetOf(name) || roles.some((each) => each.name === name)) return true
  try {
    return clusterRoleName(name) === name
  } catch {
    return false
  }
}
