import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { findKubernetesBinaries } from '../cluster/binaries.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { type Possibility, skipLoudly } from '../cluster/possibility.ts'
import { type LongRunning, runProgram } from './program.ts'
import { type SandboxCluster, startSandboxCluster } from './sandbox-cluster.ts'
import { type Person, Stage } from './stage.ts'
import { keyNeedle, type Needle, textNeedle } from './tap-needles.ts'
import { findNeedles, textOf } from './tap-search.ts'

/** What other people of a machine can see of those who use mcm on it: processes, and what they write. */

async function possibility(): Promise<Possibility> {
  if (process.platform !== 'linux') return { possible: false, reason: 'there is no /proc' }
  if (await findKubernetesBinaries('1.36.3', ['kubectl'], console.warn)) return { possible: true }
  return { possible: false, reason: 'no kubectl 1.36.3: run node test/cluster/prepare.ts' }
}

const skip = skipLoudly('what a machine shows of secrets', await possibility())

describe.skipIf(skip)('keys, tokens and secrets', () => {
  let cluster: SandboxCluster
  let stage: Stage
  let alice: Person
  let proxy: LongRunning
  let needles: Needle[]
  let seen: string
  const kubectlSaid: string[] = []

  beforeAll(async () => {
    cluster = await startSandboxCluster()
    stage = await Stage.open()
    const watching = watchProcesses()
    alice = await stage.found('alice')
    await stage.addCluster(alice, 'demo', cluster)
    proxy = alice.start(['proxy'])
    await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
    for (const mode of ['exec', 'static', 'proxy'] as const) {
      const env = { ...alice.env, KUBECONFIG: await alice.kubeconfig(mode) }
      const args = ['get', 'pods', '--all-namespaces', '--v=9']
      const { stderr, exitCode } = await runProgram(await kubectlPath('1.36.3'), args, { env })
      expect({ mode, exitCode }).toEqual({ mode, exitCode: 0 })
      kubectlSaid.push(stderr)
    }
    await runPluginUnder(watching)
    const link = (await alice.must(['invite', 'bob'])).trim()
    // From standard input: an argument would be seen by everybody.
    await stage.person('bob').must(['login', '-'], { input: `${link}\n` })
    seen = await watching.stop()
    needles = await everySecret(link)
  })
  afterAll(async () => {
    await proxy?.stop('SIGKILL')
    await stage?.close()
    await cluster?.stop()
  })

  /** kubectl's plugin as the kubeconfig calls it: too short-lived to be met by chance on any machine. */
  async function runPluginUnder(watching: ReturnType<typeof watchProcesses>): Promise<void> {
    const { users } = parse(await readFile(join(alice.home, 'kubeconfig-exec'), 'utf8'))
    const { command, args, env } = users[0].user.exec
    const own = Object.fromEntries((env ?? []).map(({ name, value }: NameValue) => [name, value]))
    const child = spawn(command, args, { env: { ...process.env, ...alice.env, ...own } })
    const ended = once(child, 'close')
    await once(child, 'spawn')
    await watching.look()
    await ended
  }

  async function everySecret(link: string): Promise<Needle[]> {
    const people = await Promise.all([alice, stage.person('bob')].map(keysOf))
    const hub = await readFile(join(stage.hubData, 'hub-key.pem'), 'utf8')
    return [
      ...people.flat(),
      keyNeedle('the key of the hub', hub),
      textNeedle('the secret of the invite', new URL(link).hash.split('secret=')[1]!),
    ]
  }

  test('are looked for: an argument of a program would be found', async () => {
    const watching = watchProcesses()
    const secret = 'not-so-secret-0123456789'
    const child = spawn('sleep', ['60'], { env: { SECRET: secret }, argv0: 'sleep-for-a-test' })
    await once(child, 'spawn')
    await watching.look()
    child.kill('SIGKILL')
    const text = await watching.stop()
    expect(text).toContain('sleep-for-a-test')
    expect(await findNeedles(textOf(text), [textNeedle('it', secret)])).toEqual(['it'])
  })

  test('stand in no argument and in no environment of any process, short-lived ones too', async () => {
    expect(needles.length).toBeGreaterThan(5)
    for (const argument of ['credential', 'proxy', 'agent', 'kubectl'])
      expect(seen).toContain(argument)
    expect(await findNeedles(textOf(seen), needles)).toEqual([])
  })

  test('are in nothing that hub, agent and proxy say and log', async () => {
    const programs = [stage.hub, proxy, ...stage.agents.values()]
    const said = programs.map(({ stdout, stderr }) => stdout + stderr).join('\n')
    expect(said).toContain('tunnel_open')
    expect(await findNeedles(textOf(said), needles)).toEqual([])
    expect(said).not.toMatch(/PRIVATE KEY|eyJhbGciOi/)
  })

  test('are not shown by kubectl --v=9 in any mode', async () => {
    const said = kubectlSaid.join('\n')
    expect(said).toContain('round_trippers.go')
    expect(await findNeedles(textOf(said), needles)).toEqual([])
    expect(said).not.toMatch(/PRIVATE KEY|eyJhbGciOi/)
  })

  test('lie in files and folders that only their owner may open', async () => {
    for (const entry of await readdir(alice.home, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      // kubectl's own cache.
      if (path.includes('/.kube')) continue
      const { mode } = await stat(path)
      expect({ path, open: mode & 0o077 }).toEqual({ path, open: 0 })
    }
  })
})

interface NameValue {
  readonly name: string
  readonly value: string
}

/** Every private key and secret that a person's home holds. */
async function keysOf({ home }: Person): Promise<Needle[]> {
  const needles: Needle[] = []
  for (const entry of await readdir(home, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const text = await readFile(path, 'utf8')
    const pems = [...text.matchAll(PEM)].map(([pem]) => pem)
    const inBase64 = [...text.matchAll(KEY_DATA)].flatMap(([, data]) => {
      return [...Buffer.from(data!, 'base64').toString().matchAll(PEM)].map(([pem]) => pem)
    })
    for (const pem of [...pems, ...inBase64]) needles.push(keyNeedle(path, unescaped(pem)))
  }
  return needles
}

const PEM = /-----BEGIN (?:EC )?PRIVATE KEY-----[\s\S]+?-----END (?:EC )?PRIVATE KEY-----/g
const KEY_DATA = /client-key-data: "?([A-Za-z0-9+/=]+)/g

function unescaped(pem: string): string {
  return pem.replaceAll('\\n', '\n')
}

/** Collects the arguments and environments of all processes there are, over and over. */
function watchProcesses() {
  const texts = new Set<string>()
  let isOver = false
  const look = async () => {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
    for (const pid of pids)
      for (const what of ['cmdline', 'environ'])
        texts.add(await readFile(`/proc/${pid}/${what}`, 'latin1').catch(() => ''))
  }
  const looking = (async () => {
    while (!isOver) {
      await look()
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })()
  return {
    look,
    async stop() {
      isOver = true
      await looking
      return [...texts].join('\n')
    },
  }
}
