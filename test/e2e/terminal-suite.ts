/** A person at a terminal: `exec -it`, `attach -it`, `run -it`, `debug -it`, with keys, a window that changes, and codes. */
import { beforeAll, describe, expect, test } from 'vitest'
import { kubectlPath } from '../cluster/kubectl.ts'
import type { KubernetesVersion } from '../cluster/kubernetes-version.ts'
import { SHELL_IMAGE } from '../cluster/pod-images.ts'
import { inEach, type Lane, lanesOf } from './every-way.ts'
import type { NodeStage } from './node-stage.ts'
import { Terminal } from './terminal.ts'

const IMAGE = [`--image=${SHELL_IMAGE}`, '--image-pull-policy=Never']
const CONTROL_C = '\u0003'
const CONTROL_D = '\u0004'

export function terminalSuite(
  stage: () => NodeStage,
  kubectls: readonly KubernetesVersion[],
): void {
  beforeAll(() => stage().node.runShellPod({ name: 'terminal', command: ['sleep', '100000'] }))

  describe.each(kubectls)('a person at a terminal, with kubectl %s', (kubectl) => {
    const lanes = lanesOf(kubectl)
    const named = (word: string, { name }: Lane) =>
      `${word}-${name}-${kubectl.replaceAll('.', '-')}`

    const open = async ({ way, env }: Lane, args: readonly string[]): Promise<Terminal> => {
      const { ways, scratch } = stage()
      return new Terminal(await kubectlPath(kubectl), args, { env: ways.env(way, env), scratch })
    }

    test('exec -it: size, echo, keys, a window that changes, the end of input and its code', async () => {
      await inEach(lanes, async (lane) => {
        const terminal = await open(lane, ['exec', '-it', 'terminal', '--', 'sh'])
        await terminal.shows(/\/ # /)
        terminal.type('stty size; echo "<$((6*7))>"\r')
        await terminal.shows(/24 80\r\n<42>\r\n/)
        await terminal.resize(33, 111)
        await untilSize(terminal, '33 111')
        // The shell echoes a line before it leaves its line editor: only a command's own output says that it runs.
        terminal.type('echo "<$((8*8))>"; sleep 1000\r')
        await terminal.shows(/<64>\r\n/)
        terminal.type(CONTROL_C)
        await terminal.shows(/\^C/)
        terminal.type('echo "code $?"\r')
        await terminal.shows(/code 130\r\n/)
        terminal.type(`(exit 7)\r`)
        terminal.type(CONTROL_D)
        expect(await terminal.ended).toBe(7)
      })
    })

    test('attach -it to a shell that runs: its answers, its size, and its end', async () => {
      await inEach(lanes, async (lane) => {
        const name = named('attached', lane)
        await runPod(stage(), name, { stdin: true, tty: true, command: ['sh'] })
        const terminal = await open(lane, ['attach', '-it', name])
        terminal.type('echo "<$((6*7))>"\r')
        await terminal.shows(/<42>\r\n/)
        await terminal.resize(40, 99)
        await untilSize(terminal, '40 99')
        terminal.type('exit 5\r')
        await terminal.ended
        await stage().mustAsAdmin(['wait', `pod/${name}`, '--for=jsonpath={.status.phase}=Failed'])
      })
    })

    test('run --rm -it: a pod for as long as one types, and its code', async () => {
      await inEach(lanes, async (lane) => {
        const name = named('run', lane)
        const args = ['run', name, '--rm', '-it', '--restart=Never', ...IMAGE, '--', 'sh']
        const terminal = await open(lane, args)
        await terminal.shows(/\/ # |If you don't see a command prompt/)
        terminal.type('\r')
        await terminal.shows(/\/ # /)
        terminal.type('echo "<$((6*7))>"\r')
        await terminal.shows(/<42>\r\n/)
        terminal.type('exit 9\r')
        expect(await terminal.ended).toBe(9)
        const { stderr } = await stage().asAdmin(['get', 'pod', name])
        expect(stderr).toContain('NotFound')
      })
    })

    test('debug -it: a container beside the others, and a copy of the pod', async () => {
      await inEach(lanes, async (lane) => {
        const name = named('debugged', lane)
        await runPod(stage(), name, { command: ['sleep', '100000'] })
        const script = ['--', 'sh', '-c', 'read line; echo "<$line>"; ps | grep -c "sleep 1000[0]"']
        const beside = ['--target=main', '-c', 'beside', ...IMAGE]
        await typesAndSees(await open(lane, ['debug', '-it', name, ...beside, ...script]), '1')
        const copied = [`--copy-to=${name}-copy`, '-c', 'added', ...IMAGE, '--share-processes']
        await typesAndSees(await open(lane, ['debug', '-it', name, ...copied, ...script]), '1')
        const forced = ['--grace-period=0', '--force']
        await stage().mustAsAdmin(['delete', 'pod', name, `${name}-copy`, ...forced])
      })
    })
  })
}

/** The window's size arrives when it arrives: the shell is asked until it knows. */
async function untilSize(terminal: Terminal, size: string): Promise<void> {
  const asked = () => {
    terminal.type('stty size\r')
    return terminal.text
  }
  await expect.poll(asked, { timeout: 30_000, interval: 500 }).toContain(`${size}\r\n`)
}

/** Types a line and sees it come back, with what the script says then. */
async function typesAndSees(terminal: Terminal, said: string): Promise<void> {
  await terminal.shows(/If you don't see a command prompt|All commands and output/)
  terminal.type('typed\r')
  await terminal.shows(new RegExp(`<typed>\\r\\n${said}\\r\\n`))
  await terminal.ended
}

async function runPod(
  { mustAsAdmin }: NodeStage,
  name: string,
  container: {
    readonly command: readonly string[]
    readonly stdin?: boolean
    readonly tty?: boolean
  },
): Promise<void> {
  const main = { name: 'main', image: SHELL_IMAGE, imagePullPolicy: 'Never', ...container }
  const spec = { restartPolicy: 'Never', terminationGracePeriodSeconds: 0, containers: [main] }
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec }
  await mustAsAdmin(['create', '-f', '-'], JSON.stringify(pod))
  await mustAsAdmin(['wait', `pod/${name}`, '--for=condition=Ready', '--timeout=60s'])
}
