/** What carries a stream: clients that are refused a WebSocket and go on over SPDY, and clients of older channels. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { AuditEvent } from '../cluster/audit-log.ts'
import type { KubernetesVersion } from '../cluster/kubernetes-version.ts'
import { ChannelSocket } from './channel-socket.ts'
import { fallsBack, inEach, type Lane, lanesOf } from './every-way.ts'
import { connectLocal, forwardedPorts } from './forwarded-port.ts'
import { CLUSTER_NAME, type NodeStage } from './node-stage.ts'
import { endpointOf } from './streams-client.ts'
import { type Way, Ways } from './ways.ts'

const STREAMS = ['pods/exec', 'pods/attach', 'pods/portforward']
const ECHO_PORT = 7004

export function transportSuite(
  stage: () => NodeStage,
  kubectls: readonly KubernetesVersion[],
): void {
  /** To the API server a WebSocket begins with `get`, SPDY with `create`; since 1.35 `get` wants both. */
  const people = {} as Record<'creates' | 'gets', Ways>

  beforeAll(async () => {
    const command = ['sh', '-c', `nc -ll -p ${ECHO_PORT} -e cat & exec sleep 100000`]
    await stage().node.runShellPod({ name: 'transport', command })
    people.creates = await newPerson(stage(), 'carol', 'create')
    people.gets = await newPerson(stage(), 'george', 'get')
  })

  const eventsOf = async ({ person }: Ways): Promise<AuditEvent[]> =>
    (await stage().node.auditEvents()).filter(
      ({ impersonatedUser, objectRef }) =>
        impersonatedUser?.username === `mcm:${person.name}` && objectRef?.subresource !== undefined,
    )

  describe.each(kubectls)('a server that refuses the WebSocket, and kubectl %s', (kubectl) => {
    const lanes = lanesOf(kubectl)

    test('exec goes on over SPDY by itself, within one command, as it does without mcm', async () => {
      const exec = (way: Way, marker: string, env: Lane['env'] = {}) => {
        const command = ['sh', '-c', `echo ${marker}; echo err >&2; exit 7`]
        return people.creates.kubectl(way, ['exec', 'transport', '--', ...command], {
          kubectl,
          env,
        })
      }
      const direct = await exec('direct', 'straight')
      expect([direct.exitCode, direct.stdout.toString()]).toEqual([7, 'straight\n'])
      await inEach(lanes, async (lane) => {
        const marker = `forced-${lane.name}-${kubectl}`
        const { stdout, stderr, exitCode } = await exec(lane.way, marker, lane.env)
        const expected = { stderr: direct.stderr, exitCode: 7, stdout: `${marker}\n` }
        expect({ stderr, exitCode, stdout: stdout.toString() }).toEqual(expected)
        const events = await eventsOf(people.creates)
        const answers = events.filter(({ requestURI }) => requestURI.includes(marker)).map(answerOf)
        expect(new Set(answers)).toEqual(new Set(expectedAnswers(lane)))
      })
    })

    test('port-forward does so too, and carries bytes', async () => {
      for (const lane of lanes) {
        const before = (await eventsOf(people.creates)).length
        const args = ['port-forward', 'pod/transport', `:${ECHO_PORT}`]
        const forward = await people.creates.start(lane.way, args, { kubectl, env: lane.env })
        const [port] = await forwardedPorts(forward, [ECHO_PORT])
        const connection = await connectLocal(port!)
        await connection.roundTrip(Buffer.alloc(100_000, lane.name))
        connection.reset()
        await forward.stop()
        const answers = (await eventsOf(people.creates)).slice(before).map(answerOf)
        expect(new Set(answers), lane.name).toEqual(new Set(expectedAnswers(lane)))
      }
    })
  })

  test('who may get a stream but not create one is refused over both, and nothing is switched', async () => {
    await inEach(lanesOf('1.36.3'), async ({ way, env }) => {
      const args = ['exec', 'transport', '--', 'true']
      const { stderr, exitCode } = await people.gets.kubectl(way, args, { env })
      expect(exitCode).toBe(1)
      expect(stderr).toContain('User "mcm:george" cannot create resource "pods/exec"')
    })
    const codes = (await eventsOf(people.gets)).map(({ responseStatus }) => responseStatus?.code)
    expect(new Set(codes)).toEqual(new Set([403]))
  })

  describe.each(['v4.channel.k8s.io', 'v5.channel.k8s.io'] as const)(
    'a WebSocket client that speaks %s alone',
    (protocol) => {
      const open = async (way: Way, script: string, query: string) => {
        const endpoint = await endpointOf(stage().ways.kubeconfig(way))
        const command = ['sh', '-c', script].map((word) => `command=${encodeURIComponent(word)}`)
        const path = `/api/v1/namespaces/default/pods/transport/exec?${command.join('&')}&${query}`
        const socket = await ChannelSocket.open(endpoint, path, protocol)
        expect(socket.protocol).toBe(protocol)
        return socket
      }
      const OUTPUT = 'stdout=true&stderr=true'
      const bothWays = (work: (way: Way) => Promise<void>) =>
        Promise.all((['direct', 'proxy'] as const).map(work))

      test('gets both outputs apart, and every exit code', async () => {
        await bothWays(async (way) => {
          for (const code of [0, 7, 137]) {
            const socket = await open(way, `echo out; echo err >&2; exit ${code}`, OUTPUT)
            const { stdout, stderr, error } = await socket.ended
            expect([stdout, stderr]).toEqual(['out\n', 'err\n'])
            expect(error).toMatchObject(code === 0 ? { status: 'Success' } : exitStatus(code))
          }
        })
      })

      test('gives input, and in v5 says that it has ended', async () => {
        await bothWays(async (way) => {
          const twice = 'for n in 1 2; do read line; echo $line; done'
          const script = protocol === 'v5.channel.k8s.io' ? 'cat' : twice
          const socket = await open(way, script, `stdin=true&${OUTPUT}`)
          socket.type('first\n')
          await socket.shows(/^first\n$/)
          socket.type('second\n')
          if (protocol === 'v5.channel.k8s.io') socket.endStdin()
          const { stdout, error } = await socket.ended
          expect([stdout, error.status]).toEqual(['first\nsecond\n', 'Success'])
        })
      })

      test('has a terminal whose size it changes', async () => {
        await bothWays(async (way) => {
          const socket = await open(way, 'exec sh', 'stdin=true&stdout=true&tty=true')
          await socket.shows(/# /)
          socket.resize(33, 111)
          const asked = () => {
            socket.type('stty size\r')
            return socket.stdout
          }
          await expect.poll(asked, { timeout: 30_000, interval: 500 }).toContain('33 111\r\n')
          socket.type('exit 5\r')
          expect((await socket.ended).error).toMatchObject(exitStatus(5))
        })
      })
    },
  )
}

/** Somebody who may use one verb on streams, and see pods. */
async function newPerson(stage: NodeStage, name: string, verb: 'create' | 'get'): Promise<Ways> {
  const role = `streams-by-${verb}`
  const rules = [
    { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list'] },
    { apiGroups: [''], resources: STREAMS, verbs: [verb] },
  ]
  const metadata = { name: role }
  const object = {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata,
    rules,
  }
  await stage.mustAsAdmin(['create', '-f', '-'], JSON.stringify(object))
  const grant = ['--cluster', CLUSTER_NAME, '--role', role, '--namespace', 'default']
  return Ways.open(await stage.stage.join(stage.alice, name, grant), stage.node)
}

function answerOf({ verb, responseStatus }: AuditEvent): string {
  return `${verb} ${responseStatus?.code}`
}

/** What the API server is asked, and says, when `get` is refused to a kubectl that would rather have a WebSocket. */
function expectedAnswers({ name, way, kubectl }: Lane): readonly string[] {
  const triesNoSocket = name === 'proxy-spdy' || fallsBack(kubectl, way)
  return triesNoSocket ? ['create 101'] : ['get 403', 'create 101']
}

/** apimachinery `pkg/apis/meta/v1` with the reason of `remotecommand.NonZeroExitCodeReason`. */
function exitStatus(code: number) {
  const causes = [{ reason: 'ExitCode', message: String(code) }]
  return { status: 'Failure', reason: 'NonZeroExitCode', details: { causes } }
}
