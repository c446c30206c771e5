import { expect, it } from 'vitest'
import { namesInUse, type PeopleOfCluster } from '../../src/access/names-in-use.ts'

const user = (name: string, ...groups: string[]) => ({ name, groups, isRevoked: false })
const PEOPLE: PeopleOfCluster = {
  prefix: 'mcm:',
  members: [
    { kind: 'user', name: 'ada' },
    { kind: 'group', name: 'dev' },
  ],
  users: [user('ada'), user('bob', 'dev', 'ops'), user('carol', 'ops')],
  timedGroups: [],
}

it('are the members, the people of groups that are, and those groups: nobody else', () => {
  expect(namesInUse(PEOPLE)).toEqual({ users: ['mcm:ada', 'mcm:bob'], groups: ['mcm:dev'] })
})

it('leave out whoever was revoked, by name and through a group', () => {
  const users = PEOPLE.users.map((each) => ({ ...each, isRevoked: true }))
  expect(namesInUse({ ...PEOPLE, users })).toEqual({ users: [], groups: ['mcm:dev'] })
})

it('hold timed groups, which no certificate can name', () => {
  const timedGroups = ['grant:0123456789abcdef']
  expect(namesInUse({ ...PEOPLE, timedGroups }).groups).toEqual([
    'mcm:dev',
    'mcm:grant:0123456789abcdef',
  ])
})

it('hold no member whom nobody ever invited: such a name is not known to be anybody’s', () => {
  expect(namesInUse({ ...PEOPLE, users: [] }).users).toEqual([])
})
