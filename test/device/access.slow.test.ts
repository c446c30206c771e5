import { afterAll, beforeAll, expect, test } from 'vitest'
import { bindingOf, bindingPath, type Grant } from '../../src/access/grant.ts'
import { impersonatorRole, NO_NAMES } from '../../src/access/impersonator.ts'
import { accessDocument } from '../../src/device/access-document.ts'
import { parseAccess } from '../../src/device/access-file.ts'
import { planAccess } from '../../src/device/access-plan.ts'
import { appendStatements, type Draft } from '../../src/device/append.ts'
import { inviteSigningKey } from '../../src/directory/signing-key.ts'
import { formatTime } from '../../src/directory/time.ts'
import type { FakeAgent } from './fake-agent.ts'
import {
  asAda,
  DAY,
  foundedFleet,
  IMPERSONATOR_PATH,
  registeredCluster,
  removeDevices,
  type TestFleet,
} from './fleet.ts'

/**
 * A whole `access diff` of a large fleet, everybody named in every cluster: a directory of fifty thousand statements and
 * the file read, fifty inner TLS sessions opened, fifty thousand bindings read from fifty API servers (whose work is in
 * this process, too) and compared.
 */
const [CLUSTERS, USERS, TEAMS] = [50, 1_000, 40]
const team = (index: number) => `team-${index % TEAMS}`
const user = (index: number) => `user-${index}`
const each = <T>(count: number, make: (index: number) => T) =>
  Array.from({ length: count }, (_, i) => make(i))

const GRANTS: readonly Grant[] = each(USERS, (index) => ({
  subject: { kind: 'user', name: user(index) },
  role: 'mcm:ro',
}))

const FILE = JSON.stringify({
  apiVersion: 'mcm.dev/v1alpha1',
  kind: 'Access',
  users: each(USERS, (index) => ({ name: user(index), groups: [team(index)] })),
  groups: each(TEAMS, (index) => ({ name: team(index) })),
  grants: each(USERS, (index) => ({
    user: user(index),
    role: 'ro',
    clusterSelector: { matchLabels: {} },
  })),
})

let fleet: TestFleet
const agents: FakeAgent[] = []

beforeAll(async () => {
  fleet = await foundedFleet()
  for (let index = 0; index < CLUSTERS; index++)
    agents.push(await registeredCluster(fleet, `cluster-${index}`))
  await asAda(fleet, async (session) => {
    const { world } = session.device
    const expires = formatTime(new Date(world.now().getTime() + DAY))
    const invites = each(USERS, (index): ((signers: Draft['signers']) => Draft) => {
      const secret = Buffer.from(world.random(32)).toString('base64url')
      const inviteKey = inviteSigningKey(secret, session.state.fleet).id
      const detail = { user: user(index), groups: [team(index)], expires, bot: false }
      return (signers) => ({ type: 'invite', detail, inviteKey, signers })
    })
    const members = agents.flatMap(({ id: cluster }) =>
      each(USERS, (index) => (signers: Draft['signers']): Draft => {
        const subject = { kind: 'user', name: user(index) } as const
        return { type: 'member', detail: { action: 'add', subject, cluster }, signers }
      }),
    )
    const all = [...invites, ...members]
    let current = session
    for (let from = 0; from < all.length; from += 1_000)
      current = await appendStatements(current, ({ key }) =>
        all.slice(from, from + 1_000).map((draft) => draft([key])),
      )
  })
  const names = {
    ...NO_NAMES,
    users: ['mcm:ada', ...each(USERS, (index) => `mcm:${user(index)}`)],
  }
  agents.forEach(({ api }, index) => {
    api.put(IMPERSONATOR_PATH, impersonatorRole(names))
    // Every other one has drifted.
    for (const grant of index % 2 === 0 ? GRANTS : GRANTS.slice(1)) {
      const binding = bindingOf(grant, 'mcm:')
      api.put(bindingPath(binding), binding)
    }
  })
}, 900_000)
afterAll(async () => {
  await fleet?.hub.stop()
  await removeDevices()
})

test('1 000 users and 50 clusters are diffed within ten seconds; the number is printed', async () => {
  const began = performance.now()
  const document = await asAda(fleet, async (session) =>
    accessDocument(await planAccess(session, parseAccess(FILE, 'access.yaml'))),
  )
  const seconds = (performance.now() - began) / 1_000
  console.info(`${USERS} users, ${CLUSTERS} clusters: diffed in ${seconds.toFixed(1)} s`)
  expect(document.summary).toEqual({ add: CLUSTERS / 2, change: 0, remove: 0 })
  expect(seconds).toBeLessThan(10)
})
