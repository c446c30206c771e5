import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AccessDeniedError } from '../../src/errors.ts'
import { apiServerIsPossible } from '../cluster/api-server.ts'
import { freePort } from '../cluster/free-port.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { type HostileHub, relayHonestly } from './hostile-hub.ts'
import { openVictim, type Victim } from './hostile-hub-stage.ts'
import { relayTampering } from './hostile-hub-tampering.ts'
import { LongRunning, runProgram } from './program.ts'
import type { Person } from './stage.ts'

const skip = skipLoudly('a hub that stands in the way', await apiServerIsPossible('1.36.3'))

/** It is up, relays what bob does, and lets no administrator end him. In this order. */
describe.skipIf(skip)('a hub that lets an administrator through to no agent', () => {
  let victim: Victim
  let hub: HostileHub
  let bob: Person
  let kubeconfig: string
  let watch: LongRunning

  beforeAll(async () => {
    victim = await openVictim({
      hubHost: '127.0.0.1',
      modes: ['static'],
      direct: `127.0.0.1:${await freePort()},${await freePort()}`,
      prepare: async (stage, alice) => {
        bob = await stage.join(alice, 'bob', ['--cluster', 'idc-k8s', '--role', 'ro'])
        kubeconfig = await bob.kubeconfig('static')
      },
    })
    hub = await victim.turnHostile()
    const before = hub.directory
    hub.show = () => before
    const args = ['get', 'configmaps', '--watch', '-o', 'name', '-A']
    watch = new LongRunning(await kubectlPath('1.36.3'), args, bobsEnv())
    await watch.shows(/configmap\//)
    hub.refusal = new AccessDeniedError('MCM_FORBIDDEN', 'no such cluster for you')
  }, 300_000)
  afterAll(async () => {
    await watch?.stop('SIGKILL')
    await victim?.stop()
  })

  const bobsEnv = () => ({ ...bob.env, KUBECONFIG: kubeconfig })
  const endBob = (...flags: string[]) =>
    victim.alice.mcm(['certs', 'revoke', '--user', 'bob', '--yes', ...flags])
  /** The hub takes every stream and does that to it. */
  const certsWhile = async (deed: HostileHub['deed']) => {
    const { refusal } = hub
    Object.assign(hub, { refusal: undefined, deed })
    const done = await victim.alice.mcm(['certs'])
    Object.assign(hub, { refusal, deed: relayHonestly })
    return done
  }
  const isRunning = () => watch.child.exitCode === null && watch.child.signalCode === null

  test('by refusing every stream is not gone round unasked; the command says how', async () => {
    await victim.alice.mcm(['revoke', 'bob', '--yes'])
    const { exitCode, stdout, stderr } = await endBob()
    expect({ exitCode, stdout }).toMatchObject({
      exitCode: 9,
      stdout: expect.stringContaining('idc-k8s: no such cluster for you'),
    })
    expect(stderr).toContain('with --direct you go to the agents’ own addresses')
    expect(isRunning()).toBe(true)
  })

  test('by silence on every stream neither', async () => {
    const { exitCode, stderr } = await certsWhile(() => {})
    expect({ exitCode, stderr }).toMatchObject({
      exitCode: 9,
      stderr: expect.stringContaining('--direct'),
    })
    expect(isRunning()).toBe(true)
  })

  test('by silence after the handshake neither', async () => {
    // By the agent's words that answer the first record it is over for the client.
    const silentLater = relayTampering((record, index) => (index === 0 ? [record] : []))
    const { exitCode, stdout, stderr } = await certsWhile(silentLater)
    expect({ exitCode, stdout, stderr }).toMatchObject({
      exitCode: 9,
      stdout: expect.stringContaining('the agent does not answer'),
      stderr: expect.stringContaining('--direct'),
    })
    expect(isRunning()).toBe(true)
  })

  test('is left out with --direct: it sees nobody come, and what runs is cut', async () => {
    const { connections } = hub
    expect(connections).toBeGreaterThan(0)
    const { exitCode, stderr } = await endBob('--direct')
    expect({ exitCode, stderr }).toMatchObject({
      exitCode: 0,
      stderr: expect.stringContaining('leaving the hub out'),
    })
    await watch.ended
    expect((await victim.alice.mcm(['certs', '--all', '--direct'])).stdout).toMatch(/bob.*revoked/)
    expect(hub.connections).toBe(connections)
  })

  test('cannot let him in again, whatever it relays', async () => {
    hub.refusal = undefined
    const args = ['get', 'configmaps']
    const { exitCode, stderr } = await runProgram(await kubectlPath('1.36.3'), args, {
      env: bobsEnv(),
    })
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: expect.stringMatching(/was revoked at/),
    })
  })
})
