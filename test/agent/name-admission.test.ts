import { expect, test } from 'vitest'
import {
  impersonatorRole,
  readImpersonator,
  unrestrictedImpersonatorRole,
} from '../../src/access/impersonator.ts'
import { nameAdmission } from '../../src/agent/name-admission.ts'
import { AccessDeniedError, UsageError } from '../../src/errors.ts'
import type { ClusterRole } from '../../src/kube/rbac.ts'
import { FrozenWorld } from './frozen-world.ts'
import { MemoryApi } from './memory-api.ts'

const ROLE = '/apis/rbac.authorization.k8s.io/v1/clusterroles/mcm-impersonator'
const NAMES = { users: ['mcm:alice'], groups: ['mcm:dev'] }

function open(role: ClusterRole = impersonatorRole(NAMES, 'constrained')) {
  const api = new MemoryApi()
  api.put(ROLE, role)
  let list = readImpersonator(role)
  const names = {
    current: () => list,
    learn: (learned: ClusterRole) => {
      list = readImpersonator(learned)
    },
  }
  const users = async () => readImpersonator(await api.get<ClusterRole>(ROLE)).users
  const writes = () => api.calls.filter(({ verb }) => verb === 'update').length
  const world = new FrozenWorld()
  return { api, world, admit: nameAdmission(api, names, world), names, users, writes }
}

test('a name is put at the end of the list, in its form, and known here at once', async () => {
  const { api, admit, names } = open()
  await admit('mcm:carol')
  const role = await api.get<ClusterRole>(ROLE)
  expect(role.rules[0]?.resourceNames).toEqual(['mcm:alice', 'mcm:carol'])
  expect(readImpersonator(role).isConstrained).toBe(true)
  expect(names.current().users).toContain('mcm:carol')
})

test('whoever is listed costs nothing, and so does everybody where anybody may be impersonated', async () => {
  const { admit, writes } = open()
  await admit('mcm:alice')
  expect(writes()).toBe(0)
  const any = open(unrestrictedImpersonatorRole())
  await any.admit('mcm:carol')
  expect(any.writes()).toBe(0)
})

test('many at once, with another who writes in between: nobody is lost', async () => {
  const { api, admit, users } = open()
  let interruptions = 3
  api.beforeWrite = async (path) => {
    if (path !== ROLE || interruptions-- <= 0) return
    const role = await api.get<ClusterRole>(ROLE)
    const { users: listed } = readImpersonator(role)
    const more = { users: [...listed, `mcm:other-${interruptions}`], groups: ['mcm:dev'] }
    api.put(ROLE, impersonatorRole(more, 'constrained'))
  }
  await Promise.all(['mcm:b', 'mcm:c', 'mcm:b', 'mcm:d'].map((name) => admit(name)))
  expect(await users()).toEqual([
    'mcm:alice',
    'mcm:b',
    'mcm:c',
    'mcm:d',
    'mcm:other-0',
    'mcm:other-1',
    'mcm:other-2',
  ])
})

test('without the owner’s leave the refusal says what to do, and is tried anew after some seconds', async () => {
  const { api, world, admit, users } = open()
  api.fault = (verb) =>
    verb === 'update' ? new AccessDeniedError('MCM_FORBIDDEN', 'no right') : undefined
  await expect(admit('mcm:carol')).rejects.toMatchObject({
    code: 'MCM_NO_GRANT',
    hint: expect.stringContaining('mcm clusters fence'),
  })
  api.fault = () => undefined
  world.advance(5_000)
  await admit('mcm:dave')
  expect(await users()).toEqual(['mcm:alice', 'mcm:dave'])
})

test('a name of Kubernetes is not even tried, nor a list that names nobody', async () => {
  const { admit, writes } = open()
  await expect(admit('system:masters')).rejects.toMatchObject({ code: 'MCM_NO_GRANT' })
  const empty = open(impersonatorRole({ users: [], groups: [] }))
  await expect(empty.admit('mcm:carol')).rejects.toMatchObject({ code: 'MCM_NO_GRANT' })
  expect(writes() + empty.writes()).toBe(0)
})

test('whoever asks again and again without the owner’s leave costs the API server nothing meanwhile', async () => {
  const { api, world, admit } = open()
  api.fault = (verb) =>
    verb === 'update' ? new AccessDeniedError('MCM_FORBIDDEN', 'no right') : undefined
  await expect(admit('mcm:carol')).rejects.toMatchObject({ code: 'MCM_NO_GRANT' })
  const asked = api.calls.length
  for (const name of ['mcm:carol', 'mcm:dave', 'mcm:carol'])
    await expect(admit(name)).rejects.toThrow(`${name} is not listed in this cluster`)
  await admit('mcm:alice')
  expect(api.calls.length).toBe(asked)
  world.advance(5_000)
  await expect(admit('mcm:carol')).rejects.toMatchObject({ code: 'MCM_NO_GRANT' })
  expect(api.calls.length).toBeGreaterThan(asked)
})

test('a name that the fence refuses keeps nobody else out', async () => {
  const { api, admit, users } = open()
  api.fault = (verb) =>
    verb === 'update' ? new UsageError('MCM_BAD_REQUEST', 'the fence says no') : undefined
  await expect(admit('mcm:carol')).rejects.toMatchObject({ code: 'MCM_NO_GRANT' })
  api.fault = () => undefined
  await admit('mcm:dave')
  expect(await users()).toEqual(['mcm:alice', 'mcm:dave'])
})
