import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ClusterFacts } from '../../src/protocol/messages.ts'
import { apiServerIsPossible } from '../cluster/api-server.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { type HostileHub, relayHonestly } from './hostile-hub.ts'
import { without } from './hostile-hub-shown.ts'
import { CLUSTER, openVictim, type Victim } from './hostile-hub-stage.ts'
import { LongRunning, runProgram } from './program.ts'
import type { Person } from './stage.ts'

const skip = skipLoudly('a hub that withholds', await apiServerIsPossible('1.36.3'))

type Facts = NonNullable<ClusterFacts['directory']>

/** It relays as it should, shows people everything, and keeps what ends somebody from the agent. In this order. */
describe.skipIf(skip)('a hub that withholds a revocation from an agent', () => {
  let victim: Victim
  let hub: HostileHub
  const people = new Map<string, { person: Person; kubeconfig: string }>()

  beforeAll(async () => {
    victim = await openVictim({
      hubHost: '127.0.0.1',
      modes: ['static'],
      prepare: async (stage, alice) => {
        for (const name of ['bob', 'carol', 'dave']) {
          const person = await stage.join(alice, name, ['--cluster', CLUSTER, '--role', 'ro'])
          people.set(name, { person, kubeconfig: await person.kubeconfig('static') })
        }
      },
    })
    hub = await victim.turnHostile()
  }, 300_000)
  afterAll(() => victim?.stop())

  const get = async (name: string) => {
    const { person, kubeconfig } = people.get(name)!
    const env = { ...person.env, KUBECONFIG: kubeconfig }
    return runProgram(await kubectlPath('1.36.3'), ['get', 'configmaps'], { env })
  }
  const watch = async (name: string) => {
    const { person, kubeconfig } = people.get(name)!
    const env = { ...person.env, KUBECONFIG: kubeconfig }
    const args = ['get', 'configmaps', '--watch', '-o', 'name', '-A']
    const program = new LongRunning(await kubectlPath('1.36.3'), args, env)
    await program.shows(/configmap\//)
    return program
  }
  const directory = async (person: Person): Promise<Facts> => {
    const shown = await person.must(['clusters', 'show', CLUSTER, '--json'])
    return JSON.parse(shown).protection.directory
  }
  /** Signs it and does nothing at the cluster itself: `mcm revoke` would, by the same administrator. */
  const revokeByDirectoryAlone = async (name: string) => {
    hub.deed = ({ client }) => void client.destroy()
    await victim.alice.mcm(['revoke', name, '--yes'])
    hub.deed = relayHonestly
    const { stdout } = await victim.alice.mcm(['directory', 'show', '--json'])
    expect(stdout).toContain(`"user ${name}"`)
  }
  const log = () => victim.stage.agents.get(`${CLUSTER}/a`)!.stderr
  const withheldFrom = (person: Person) =>
    expect.poll(async () => (await directory(person)).withheld, {
      timeout: 60_000,
      interval: 1_000,
    })

  test('is noticed as soon as any member comes by, and said when no hub has shown it a quarter of a minute later', async () => {
    const before = hub.directory
    hub.show = () => before
    await revokeByDirectoryAlone('bob')
    expect(await get('bob')).toMatchObject({ exitCode: 0 })
    const { person: carol } = people.get('carol')!
    await withheldFrom(carol).toMatchObject({ head: { seq: expect.any(Number) } })
    expect(log()).toMatch(/directory_withheld_by_hub/)
    // She is not shown whose it is.
    expect(await get('bob')).toMatchObject({ exitCode: 0 })
  })

  test('is made good by whoever knows what it says, at their first command: what runs is cut', async () => {
    const running = await watch('bob')
    await victim.alice.must(['certs'])
    await running.ended
    const { exitCode, stderr } = await get('bob')
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: expect.stringMatching(/bob was revoked at|may not reach it/),
    })
    hub.show = (directory) => directory
    await hub.tellAgents()
    await withheldFrom(victim.alice).toBe(undefined)
  })

  test('who shows that there is one and not whose it is, is found out by the next administrator', async () => {
    const honest = hub.directory.head!.seq
    hub.show = (directory) =>
      without(directory, (seq, { type }) => seq > honest && type === 'revoke')
    await revokeByDirectoryAlone('carol')
    expect(await get('carol')).toMatchObject({ exitCode: 0 })
    const running = await watch('carol')
    // What carol's own device says of it, or dave's, who is shown as little as the agent, changes nothing.
    await people.get('dave')!.person.must(['certs'])
    expect(await get('carol')).toMatchObject({ exitCode: 0 })
    await victim.alice.must(['certs'])
    await running.ended
    expect((await get('carol')).exitCode).toBe(1)
    await withheldFrom(victim.alice).toMatchObject({ head: { seq: expect.any(Number) } })
    expect(await get('dave')).toMatchObject({ exitCode: 0 })
  })
})
