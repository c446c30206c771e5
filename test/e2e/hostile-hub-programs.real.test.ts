import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { enrolmentHost } from '../../src/protocol/names.ts'
import { apiServerIsPossible } from '../cluster/api-server.ts'
import { runKubectl } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { type Deed, type HostileHub, relayHonestly } from './hostile-hub.ts'
import { Canary, type InnerIdentity } from './hostile-hub-canary.ts'
import { forgeries, hubWithoutConstraints, issuedBy } from './hostile-hub-forgeries.ts'
import { RUSTLS_EXIT, runRustls, rustlsIsPossible } from './hostile-hub-rustls.ts'
import { readStaticAccess, type StaticAccess } from './hostile-hub-session.ts'
import { CLUSTER, CONTEXT, openVictim, type Victim } from './hostile-hub-stage.ts'
import type { LongRunning } from './program.ts'

const skip = skipLoudly('a hostile hub against mcm', await apiServerIsPossible('1.36.3'))
const skipRustls = skip || skipLoudly('a hostile hub against rustls', await rustlsIsPossible())

const FORGERIES = [
  'signed by the hub’s key, its leaf in the chain',
  'signed by the hub’s key, alone',
  'signed by a CA made of the hub’s name and key',
  'signed by the hub’s key for itself',
  'self-signed by a new key',
  'the hub’s own leaf',
  'signed by the server CA of another cluster',
]
const TRUST_ERROR = 7

describe.skipIf(skip)('a hub that owns its key and ends the inner layer itself', () => {
  let victim: Victim
  let hub: HostileHub
  let proxy: LongRunning
  const forged = {} as Record<'session' | 'enrolment', Readonly<Record<string, InnerIdentity>>>

  beforeAll(async () => {
    victim = await openVictim({
      hubHost: '127.0.0.1',
      modes: ['static', 'proxy'],
      prepare: async (_, alice) => {
        await alice.must(['invite', 'bob'])
        proxy = alice.start(['proxy'])
        await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
      },
    })
    hub = await victim.turnHostile()
    forged.session = await forgeries(hub.identity, victim.host)
    forged.enrolment = await forgeries(hub.identity, enrolmentHost(victim.clusterId))
  })
  afterAll(async () => {
    await proxy?.stop('SIGKILL')
    await victim?.stop()
  })
  beforeEach(() => {
    hub.deed = relayHonestly
  })

  /** One canary for both hosts: it dies of any byte. */
  interface Canaries {
    readonly session: Canary
    readonly enrolment: Canary
  }

  function show(session: InnerIdentity, enrolment: InnerIdentity): Canaries {
    const canaries = { session: new Canary(session), enrolment: new Canary(enrolment) }
    const deed: Deed = ({ authority, client }) => {
      if (authority.startsWith('enrol.')) canaries.enrolment.accept(client)
      else if (authority.startsWith('pipe.')) canaries.session.acceptPiped(client)
      else canaries.session.accept(client)
    }
    hub.deed = deed
    return canaries
  }
  const showForged = (what: string) => show(forged.session[what]!, forged.enrolment[what]!)
  const showTrue = async () =>
    show(
      await issuedBy(victim.serverCa, victim.host),
      await issuedBy(victim.serverCa, enrolmentHost(victim.clusterId)),
    )
  async function expectSilence({ session, enrolment }: Canaries) {
    const refusals = () => session.refusals.length + enrolment.refusals.length
    await expect.poll(refusals).toBeGreaterThan(0)
    expect(session).toMatchObject({ plaintext: 0, requests: [] })
    expect(enrolment).toMatchObject({ plaintext: 0, requests: [] })
  }

  describe('and mcm login', () => {
    test('asks whoever has the cluster’s certificate, so a refusal below means something', async () => {
      const canaries = await showTrue()
      await victim.alice.mcm(['login'])
      expect(canaries.enrolment.requests).toEqual(['POST /.mcm/v1/certificates'])
    })

    test('gets a certificate through the hub as long as it only relays', async () => {
      const before = await victim.alice.must(['whoami', '--json'])
      await victim.alice.must(['login'])
      expect(await victim.alice.must(['whoami', '--json'])).not.toBe(before)
    })

    test.each(FORGERIES)('asks nobody with a certificate %s, and says why', async (what) => {
      const canaries = showForged(what)
      const { stderr, exitCode } = await victim.alice.mcm(['login'])
      expect({ stderr, exitCode }).toEqual({
        stderr: expect.stringContaining('has no certificate of that cluster'),
        exitCode: TRUST_ERROR,
      })
      await expectSilence(canaries)
    })
  })

  describe('and mcm grant', () => {
    const grant = [
      'grant',
      'bob',
      '--cluster',
      CLUSTER,
      '--role',
      'ns-ro',
      '--namespace',
      'default',
    ]

    test('asks whoever has the cluster’s certificate, so a refusal below means something', async () => {
      const canaries = await showTrue()
      await victim.alice.mcm(grant)
      expect(canaries.session.requests).not.toEqual([])
    })

    test.each(FORGERIES)('grants nothing through a certificate %s', async (what) => {
      const canaries = showForged(what)
      const { exitCode, stderr } = await victim.alice.mcm(grant)
      expect({ exitCode, stderr }).toEqual({
        exitCode: TRUST_ERROR,
        stderr: expect.stringContaining('has no certificate of that cluster'),
      })
      await expectSilence(canaries)
      const bindings = await runKubectl('1.36.3', ['get', 'rolebindings', '-o', 'name'], {
        kubeconfig: victim.cluster.adminKubeconfig,
      })
      expect(bindings.stdout).toBe('')
    })
  })

  describe('and mcm proxy', () => {
    const sing = () =>
      victim.kubectl('1.36.3', victim.kubeconfig('proxy'), ['get', '--raw', '/canary'])
    test('asks whoever has the cluster’s certificate, so a refusal below means something', async () => {
      const canaries = await showTrue()
      hub.cut()
      expect(await sing()).toMatchObject({ stdout: 'the canary sang', exitCode: 0 })
      expect(canaries.session.requests).toEqual(['GET /canary'])
    })

    test.each(FORGERIES)('forwards nothing to a certificate %s', async (what) => {
      const canaries = showForged(what)
      hub.cut()
      const { stdout, stderr, exitCode } = await sing()
      expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 1 })
      expect(stderr).toContain('has no certificate of that cluster')
      await expectSilence(canaries)
    })
  })

  describe.skipIf(skipRustls)('and a rustls program with the kubeconfig of mcm', () => {
    let access: StaticAccess
    const file = (name: string) => join(victim.stage.directory, name)

    beforeAll(async () => {
      access = await readStaticAccess(victim.kubeconfig('static'), CONTEXT)
      await writeFile(file('bundle.pem'), access.bundlePem)
      await writeFile(file('certificate.pem'), access.certPem)
      await writeFile(file('key.pem'), access.keyPem, { mode: 0o600 })
    })

    const get = (path: string, bundle = file('bundle.pem')) =>
      runRustls({
        ...{ bundle, hub: access.hub, clusterHost: access.clusterHost, path },
        certificate: file('certificate.pem'),
        key: file('key.pem'),
      })

    test('is answered by the API server, through the true agent', async () => {
      const { stdout, exitCode } = await get('/api/v1/namespaces/default')
      expect(stdout).toContain('"kind":"Namespace"')
      expect(exitCode).toBe(RUSTLS_EXIT.answered)
    })

    test.each(FORGERIES)('no byte of a request is sent to a certificate %s', async (what) => {
      const canaries = showForged(what)
      const { stderr, exitCode } = await get('/canary')
      expect(exitCode).toBe(RUSTLS_EXIT.innerFailed)
      expect(stderr).toMatch(/^inner: invalid peer certificate: /)
      await expectSilence(canaries)
    })

    test('would be read by the hub if its leaf had no name constraints', async () => {
      const canaries = showForged('signed by the hub’s key, alone')
      const loose = hubWithoutConstraints(hub.identity)
      await writeFile(file('loose.pem'), loose + access.serverCaPem)
      const { stdout, exitCode } = await get('/canary', file('loose.pem'))
      expect(stdout).toContain('the canary sang')
      expect(exitCode).toBe(RUSTLS_EXIT.answered)
      expect(canaries.session.requests).toEqual(['GET /canary'])
    })
  })
})
