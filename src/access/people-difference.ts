import type { AccessFile } from './access-file.ts'

/** What the directory has to say of people themselves for a declared access to be true: groups and nicknames. */

/** Somebody of the directory who is not revoked. */
export interface KnownPerson {
  readonly name: string
  readonly groups: readonly string[]
  readonly nickname?: string
}

export interface PersonChange {
  readonly user: string
  /** All of them, as they are to be. */
  readonly groups: readonly string[]
  readonly nickname?: string
  readonly added: readonly string[]
  readonly removed: readonly string[]
  readonly isRenamed: boolean
}

export interface PeopleDifference {
  readonly changes: readonly PersonChange[]
  /** Declared, and not in the directory. */
  readonly unknown: readonly string[]
  /** In the directory, and not declared: they stay, in no group. */
  readonly undeclared: readonly string[]
}

/** @param actor who would make the changes; undeclared, they keep their groups */
export function peopleDifference(
  access: AccessFile,
  known: readonly KnownPerson[],
  actor: string,
): PeopleDifference {
  const declared = new Map<string, Omit<KnownPerson, 'name'>>([
    ...access.users.map(({ name, groups = [], nickname }) => {
      const person = { groups, ...(nickname === undefined ? {} : { nickname }) }
      return [name, person] as const
    }),
    ...access.bots.map(({ name }) => [name, { groups: [] }] as const),
  ])
  const names = new Set(known.map(({ name }) => name))
  return {
    changes: known.flatMap((person) => {
      const wanted = declared.get(person.name) ?? undeclared(person, actor)
      return changeOf(person, wanted)
    }),
    unknown: [...declared.keys()].filter((name) => !names.has(name)),
    undeclared: [...names].filter((name) => !declared.has(name) && name !== actor),
  }
}

function undeclared(person: KnownPerson, actor: string): Omit<KnownPerson, 'name'> {
  return person.name === actor ? person : { ...person, groups: [] }
}

function changeOf(before: KnownPerson, after: Omit<KnownPerson, 'name'>): PersonChange[] {
  const groups = [...new Set(after.groups)]
  const added = groups.filter((group) => !before.groups.includes(group))
  const removed = before.groups.filter((group) => !groups.includes(group))
  const isRenamed = before.nickname !== after.nickname
  if (added.length + removed.length === 0 && !isRenamed) return []
  const nickname = after.nickname === undefined ? {} : { nickname: after.nickname }
  return [{ user: before.name, groups, ...nickname, added, removed, isRenamed }]
}
