import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { CertificateList } from '../../src/device/certificate-list.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { freePort } from '../cluster/free-port.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { LongRunning, runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

const CLUSTER = 'idc-k8s'
const GOODBYES = ['user', 'device', 'serial', 'secret', 'name'] as const
type Goodbye = (typeof GOODBYES)[number]

/** The hub is gone for good; people work by the direct address, and are ended there. */
describe.each(['1.36.3', '1.33.13'] as const)('a revocation on Kubernetes %s', async (version) => {
  const skip = skipLoudly(
    `revocation without a hub on ${version}`,
    await apiServerIsPossible(version),
  )

  describe.skipIf(skip)('with the hub gone while streams live', () => {
    let cluster: ApiServer
    let stage: Stage
    let alice: Person
    const people = {} as Record<Goodbye, Person>
    const kubeconfigs = {} as Record<Goodbye, string>
    const watches = {} as Record<Goodbye, LongRunning>

    beforeAll(async () => {
      cluster = await startApiServer({ version })
      stage = await Stage.open()
      alice = await stage.found('alice')
      const direct = `127.0.0.1:${await freePort()},${await freePort()}`
      const register = ['register', CLUSTER, '--apply', '--kubeconfig', cluster.adminKubeconfig]
      const outside = ['--without-deployment', '--direct', direct, '--timeout', '60']
      const registering = alice.must([...register, ...outside], { timeoutMs: 90_000 })
      registering.catch(() => {})
      await stage.startAgent(CLUSTER, cluster, 'a', ['--direct-listen', direct])
      await registering
      for (const how of GOODBYES) {
        people[how] = await stage.join(alice, `by-${how}`, ['--cluster', CLUSTER, '--role', 'ro'])
        const proxy = people[how].start(['proxy', '--port', '0'])
        await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
        kubeconfigs[how] = await people[how].kubeconfig('proxy')
      }
      await stage.hub.stop('SIGKILL')
      for (const how of GOODBYES) {
        const args = ['get', 'configmaps', '-A', '--watch', '-o', 'name']
        await vi.waitUntil(async () => (await get(how)).exitCode === 0, { timeout: 60_000 })
        watches[how] = new LongRunning(await kubectlPath(version), args, envOf(how))
        await watches[how].shows(/configmap\//)
      }
    }, 400_000)
    afterAll(async () => {
      await Promise.all(Object.values(watches).map((watch) => watch.stop('SIGKILL')))
      await stage?.close()
      await cluster?.stop()
    })

    const envOf = (how: Goodbye) => ({ ...people[how].env, KUBECONFIG: kubeconfigs[how] })
    const get = async (how: Goodbye) =>
      runProgram(await kubectlPath(version), ['get', 'configmaps'], { env: envOf(how) })
    const asOwner = async (...args: string[]) => {
      const { adminKubeconfig: kubeconfig } = cluster
      const done = await runKubectl('1.36.3', args, { kubeconfig })
      expect(done.exitCode, done.stderr).toBe(0)
      return done.stdout
    }
    const certificateOf = async (name: string) => {
      const list = JSON.parse(await alice.must(['certs', '--user', name, '--json']))
      return (list as CertificateList).certificates[0]!
    }

    /** What ends the person: the administrator's mcm at the agent, or the cluster's owner with plain kubectl. */
    const goodbyes: Record<Goodbye, () => Promise<unknown>> = {
      user: () => alice.must(['certs', 'revoke', '--user', 'by-user', '--yes']),
      device: async () => {
        const { device } = await certificateOf('by-device')
        await alice.must(['certs', 'revoke', '--device', device.id, '--yes'])
      },
      serial: async () => {
        const { serial } = await certificateOf('by-serial')
        await alice.must(['certs', 'revoke', serial, '--yes'])
      },
      secret: async () => {
        const secrets = JSON.parse(
          await asOwner('-n', 'mcm-system', 'get', 'secrets', '-o', 'json'),
        )
        const items = secrets.items as {
          metadata: { name: string }
          data?: Record<string, string>
        }[]
        const isTheirs = ({ data = {} }: { data?: Record<string, string> }) =>
          Buffer.from(data['principal.json'] ?? '', 'base64').includes('"user":"by-secret"')
        await asOwner('-n', 'mcm-system', 'delete', 'secret', items.find(isTheirs)!.metadata.name)
      },
      name: async () => {
        const role = JSON.parse(
          await asOwner('get', 'clusterrole', 'mcm-impersonator', '-o', 'json'),
        )
        const rules = role.rules as { resourceNames?: string[] }[]
        const [index] = rules.flatMap(({ resourceNames = [] }, at) =>
          resourceNames.includes('mcm:by-name') ? [at] : [],
        )
        const resourceNames = rules[index!]!.resourceNames!.filter((name) => name !== 'mcm:by-name')
        const patch = [
          { op: 'replace', path: `/rules/${index}/resourceNames`, value: resourceNames },
        ]
        await asOwner(
          'patch',
          'clusterrole',
          'mcm-impersonator',
          '--type=json',
          '-p',
          JSON.stringify(patch),
        )
      },
    }

    test.each(GOODBYES)('by %s cuts what runs at once', async (how) => {
      expect(watches[how].child.exitCode).toBe(null)
      await goodbyes[how]()
      const told = performance.now()
      await watches[how].ended
      const ms = performance.now() - told
      console.info(
        `${version}, without a hub, by ${how}: ${ms.toFixed(0)} ms from the answer to the end of kubectl`,
      )
      expect(ms).toBeLessThan(5_000)
      // Without the Secret nobody knows of an end: the device, which still stands, gets the next certificate.
      if (how === 'secret')
        return expect.poll(async () => (await get(how)).exitCode, { timeout: 30_000 }).toBe(0)
      // One certificate alone is ended; a proxy whose certificate says so does not take another by itself.
      const { exitCode, stderr } = await get(how)
      expect(exitCode).toBe(1)
      expect(stderr).toMatch(how === 'name' ? /has no grant/ : /was revoked at/)
    })

    test('leaves everybody else where they are', async () => {
      expect((await alice.mcm(['certs', '--json'])).exitCode).toBe(0)
    })
  })
})
