import { once } from 'node:events'
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { freePort } from '../cluster/free-port.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { identityOf } from './hostile-hub-stage.ts'
import { clockIsPossible, ShiftedClock } from './outage-clock.ts'
import { withoutCertificateCheck } from './outage-kubeconfig.ts'
import { LongRunning, MCM, runProgram } from './program.ts'
import { type ClusterAccess, type Person, Stage } from './stage.ts'

const server = await apiServerIsPossible('1.36.3')
const skip = skipLoudly('the direct address of an agent', server)
const clocks = await clockIsPossible()
const skipClock = skipLoudly(
  'an expired certificate renewed at the direct address',
  server.possible ? clocks : server,
)
const CLUSTER = 'idc-k8s'
const PROXY_URL = /https:\/\/127\.0\.0\.1:\d+/
/** Two ports that the agent is told to listen on, and the directory to name. */
interface DirectPorts {
  readonly sessions: number
  readonly enrolment: number
}

async function directPorts(): Promise<DirectPorts> {
  return { sessions: await freePort(), enrolment: await freePort() }
}

function listenFlags({ sessions, enrolment }: DirectPorts): string {
  return `127.0.0.1:${sessions},${enrolment}`
}

/** As `Stage.addCluster`, with an agent that also listens itself. */
async function addDirectCluster(
  stage: Stage,
  owner: Person,
  cluster: ClusterAccess,
  ports: DirectPorts,
): Promise<LongRunning> {
  const args = ['register', CLUSTER, '--apply', '--kubeconfig', cluster.adminKubeconfig]
  const outside = ['--without-deployment', '--direct', listenFlags(ports), '--timeout', '60']
  const registering = owner.must([...args, ...outside], { timeoutMs: 90_000 })
  registering.catch(() => {})
  const agent = startAgent(cluster, ports)
  const ended = agent.ended.then(() => Promise.reject(new Error(`agent ended: ${agent.stderr}`)))
  await Promise.race([registering, ended])
  stage.agents.set(`${CLUSTER}/direct`, agent)
  return agent
}

function startAgent({ adminKubeconfig }: ClusterAccess, ports: DirectPorts): LongRunning {
  const where = ['--kubeconfig', adminKubeconfig, '--direct-listen', listenFlags(ports)]
  return new LongRunning(process.execPath, [MCM, 'agent', '--replica', 'a', ...where], {})
}

async function kubectlOf(person: Person, kubeconfig: string, ...args: string[]) {
  const env = { ...person.env, KUBECONFIG: kubeconfig }
  return runProgram(await kubectlPath('1.36.3'), args, { env })
}

const WHO = ['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}']

describe.skipIf(skip)('a cluster with a direct address, whose hub is gone for good', () => {
  let cluster: ApiServer
  let stage: Stage
  let ports: DirectPorts
  let agent: LongRunning
  let clusterId: string
  let silent: Server | undefined
  const people = {} as Record<'alice' | 'bob' | 'carol' | 'dave', Person>
  const proxies = new Map<Person, LongRunning>()
  const kubeconfigs = new Map<Person, string>()

  beforeAll(async () => {
    cluster = await startApiServer({ version: '1.36.3' })
    ports = await directPorts()
    stage = await Stage.open()
    people.alice = await stage.found('alice')
    agent = await addDirectCluster(stage, people.alice, cluster, ports)
    const grant = ['--cluster', CLUSTER, '--role', 'ns-ro', '--namespace', 'default']
    for (const name of ['bob', 'carol', 'dave'] as const)
      people[name] = await stage.join(people.alice, name, grant)
    clusterId = (await identityOf(cluster)).clusterId
    for (const person of Object.values(people)) await startProxy(person, '--port', '0')
    for (const person of Object.values(people))
      kubeconfigs.set(person, await person.kubeconfig('proxy'))
    for (const person of Object.values(people))
      expect(await whoIs(person)).toBe(`mcm:${person.name}`)
    // The agent hears of it while there is a hub; bob's own copy of the directory does not.
    await people.alice.must(['revoke', 'bob', '--yes'])
    await stage.hub.stop('SIGKILL')
  })
  afterAll(async () => {
    silent?.close()
    await stage?.close()
    await cluster?.stop()
  })

  async function startProxy(person: Person, ...flags: string[]): Promise<void> {
    await proxies.get(person)?.stop('SIGKILL')
    const proxy = person.start(['proxy', ...flags])
    proxies.set(person, proxy)
    await proxy.shows(PROXY_URL)
  }

  const kubectl = (person: Person, ...args: string[]) =>
    kubectlOf(person, kubeconfigs.get(person)!, ...args)

  async function whoIs(person: Person): Promise<string> {
    const { stdout, stderr } = await kubectl(person, ...WHO)
    return stdout || stderr
  }

  /** On a busy machine a proxy that has only just started may answer too late. */
  const expectSoon = (person: Person) => expect.poll(() => whoIs(person), { timeout: 30_000 })

  const seenDirectly = (event: string) =>
    agent.stderr
      .split('\n')
      .filter((line) => line.includes(`"${event}"`) && line.includes('"address":"127.0.0.1"'))

  test('the directory names the address, to its members', async () => {
    const offline = await people.carol.mcm(['directory', 'show', '--offline', '--json'])
    expect(offline.exitCode).toBe(0)
    expect(offline.stdout).toContain(`${CLUSTER} (${clusterId}), directly at 127.0.0.1:`)
  })

  test('kubectl goes on with the same kubeconfig through a proxy that ran on', async () => {
    await expectSoon(people.alice).toBe('mcm:alice')
    expect(seenDirectly('audit').length).toBeGreaterThan(0)
  })

  test('reads, writes and watches work, and the API server still judges', async () => {
    const { alice, carol } = people
    const made = await kubectl(alice, 'create', 'configmap', 'direct', '--from-literal=a=b')
    expect(made).toMatchObject({ exitCode: 0 })
    const seen = await kubectl(carol, 'get', 'configmap', 'direct', '-o', 'jsonpath={.data.a}')
    expect(seen).toMatchObject({ stdout: 'b', exitCode: 0 })
    const denied = await kubectl(carol, 'delete', 'configmap', 'direct')
    expect(denied.stderr).toContain('User "mcm:carol" cannot delete resource "configmaps"')
    const wait = ['wait', '--for=jsonpath={.data.a}=c', 'configmap/direct', '--timeout=20s']
    const waiting = kubectl(carol, ...wait)
    const patch = ['patch', 'configmap', 'direct', '-p', '{"data":{"a":"c"}}']
    expect(await kubectl(alice, ...patch)).toMatchObject({ exitCode: 0 })
    expect(await waiting).toMatchObject({ exitCode: 0 })
  })

  test('a proxy that is started without any hub finds its way', async () => {
    await startProxy(people.alice)
    await expectSoon(people.alice).toBe('mcm:alice')
  })

  test('so does one that meets a hub’s address where nobody answers', async () => {
    const sockets: Socket[] = []
    silent = createServer((socket) => {
      socket.on('error', () => {})
      sockets.push(socket)
    })
    silent.listen(stage.hubPort, '127.0.0.1')
    await once(silent, 'listening')
    await startProxy(people.carol)
    await expectSoon(people.carol).toBe('mcm:carol')
    expect(sockets.length).toBeGreaterThan(0)
    for (const socket of sockets) socket.destroy()
    silent.close()
  })

  /** In the agent's words, or in those of a proxy that had heard of it before the hub was gone. */
  const BOB_IS_OUT = /bob was revoked|is known to you/

  test('somebody whom the agent knows as revoked is refused', async () => {
    await expectSoon(people.bob).toMatch(BOB_IS_OUT)
    await startProxy(people.bob)
    await expectSoon(people.bob).toMatch(BOB_IS_OUT)
  })

  test('an administrator revokes somebody without any hub, and it bites at once', async () => {
    const { alice, dave } = people
    await expectSoon(dave).toBe('mcm:dave')
    const path = '/.mcm/v1/revocations'
    const { exitCode, stderr } = await runProgram(
      await kubectlPath('1.36.3'),
      ['create', '--raw', path, '-f', '-'],
      {
        env: { ...alice.env, KUBECONFIG: kubeconfigs.get(alice)! },
        input: JSON.stringify({ user: 'dave' }),
      },
    )
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    await expectSoon(dave).toMatch(/dave was revoked/)
  })

  test('an agent that starts while there is no hub serves by what it verified before', async () => {
    await agent.stop('SIGKILL')
    agent = startAgent(cluster, ports)
    stage.agents.set(`${CLUSTER}/direct`, agent)
    await agent.shows(/direct_listening/)
    await expectSoon(people.alice).toBe('mcm:alice')
    await expectSoon(people.bob).toMatch(BOB_IS_OUT)
    await expectSoon(people.dave).toMatch(/dave was revoked/)
  })

  test('without the direct address the sentence names the hub, as before', async () => {
    const { exitCode, stderr } = await people.alice.mcm(['clusters'])
    expect(exitCode).toBe(6)
    expect(stderr).toContain('cannot be reached')
  })

  test.each(['sessions', 'enrolment'] as const)(
    'a stranger at the port for %s gets nothing, whatever they say',
    async (kind) => {
      const port = ports[kind]
      expect(await answerTo(port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n')).toBeLessThanOrEqual(7)
      const names = ['', 'localhost', 'c-aaaaaaaaaa.clusters.mcm.internal']
      for (const servername of names) expect(await certificateAt(port, servername)).toBe(undefined)
      const host = `${clusterId}.clusters.mcm.internal`
      const crossed = kind === 'sessions' ? `enrol.${host}` : host
      expect(await certificateAt(port, crossed)).toBe(undefined)
    },
  )

  /** How many bytes come back; seven are a TLS alert. */
  async function answerTo(port: number, text: string): Promise<number> {
    const socket = connectTcp(port, '127.0.0.1')
    let bytes = 0
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      bytes += chunk.length
    })
    socket.write(text)
    await once(socket, 'close')
    return bytes
  }

  async function certificateAt(port: number, servername: string): Promise<Buffer | undefined> {
    const socket = connectTls({ port, host: '127.0.0.1', servername, rejectUnauthorized: false })
    socket.on('error', () => {})
    await Promise.race([once(socket, 'secureConnect'), once(socket, 'close')]).catch(() => {})
    const der = socket.getPeerX509Certificate()?.raw
    socket.destroy()
    return der
  }
})

describe.skipIf(skipClock)('a laptop that wakes two days later, when the hub is gone', () => {
  let cluster: ApiServer
  let clock: ShiftedClock
  let stage: Stage
  let alice: Person
  let agent: LongRunning
  let ports: DirectPorts
  let kubeconfig: string
  let access: ClusterAccess

  beforeAll(async () => {
    cluster = await startApiServer({ version: '1.36.3' })
    access = { adminKubeconfig: await withoutCertificateCheck(cluster) }
    ports = await directPorts()
    clock = await ShiftedClock.open(-2)
    stage = await Stage.open()
    alice = await stage.found('alice')
    agent = await addDirectCluster(stage, alice, access, ports)
    const proxy = alice.start(['proxy'])
    await proxy.shows(PROXY_URL)
    kubeconfig = await alice.kubeconfig('proxy')
    expect((await kubectlOf(alice, kubeconfig, ...WHO)).stdout).toBe('mcm:alice')
  })
  afterAll(async () => {
    await stage?.close()
    await clock?.close()
    await cluster?.stop()
  })

  test('gets a new certificate from the agent itself, and kubectl works without a word', async () => {
    await stage.hub.stop('SIGKILL')
    await clock.set(0)
    // The cluster was awake meanwhile: its agent has certificates of these days.
    await agent.stop('SIGKILL')
    agent = startAgent(access, ports)
    stage.agents.set(`${CLUSTER}/direct`, agent)
    await agent.shows(/direct_listening/)
    const kubectl = async () => {
      const { stdout, stderr } = await kubectlOf(alice, kubeconfig, ...WHO)
      return stdout || stderr
    }
    await expect.poll(kubectl, { timeout: 30_000 }).toBe('mcm:alice')
    const issued = agent.stderr.split('\n').filter((line) => line.includes('certificate_issued'))
    expect(issued).toHaveLength(1)
    expect(issued[0]).toContain('"address":"127.0.0.1"')
    const { clusterId } = await identityOf(cluster)
    const credential = await alice.mcm(['credential', '--cluster', clusterId])
    expect(credential).toMatchObject({ exitCode: 0, stderr: '' })
  })
})
