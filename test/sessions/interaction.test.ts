import { type ChildProcess, spawn } from 'node:child_process'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  foundedFleet,
  inviteLink,
  newDevice,
  removeDevices,
  type TestFleet,
} from '../device/fleet.ts'
import { buildProgram } from './program.ts'

/** What a text cannot show: signals, and standard input. */

let program: Awaited<ReturnType<typeof buildProgram>>
let fleet: TestFleet

beforeAll(async () => {
  program = await buildProgram()
  fleet = await foundedFleet()
}, 120_000)

afterAll(async () => {
  await fleet.hub.stop()
  await removeDevices()
  await program.remove()
})

function start(home: string, args: readonly string[]) {
  const child = spawn(process.execPath, [program.path, ...args], {
    env: { PATH: process.env['PATH'], MCM_HOME: home, MCM_KEYCHAIN: 'never' },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const text = { out: '', err: '' }
  child.stdout.on('data', (chunk) => (text.out += chunk))
  child.stderr.on('data', (chunk) => (text.err += chunk))
  return { child, text, ended: ended(child) }
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once('close', resolve))
}

test('Ctrl-C while waiting for an agent is 130, and running it again goes on with the same cluster', async () => {
  const { home } = fleet.ada
  const args = ['register', 'idc-k8s', '--output', `${home.directory}/agent.yaml`]
  const first = start(home.directory, args)
  await expect.poll(() => first.text.err, { timeout: 60_000 }).toContain('waiting for the agent')
  first.child.kill('SIGINT')
  expect(await first.ended).toBe(130)
  expect(first.text.err).toMatch(/mcm: interrupted\n$/)
  expect(first.text.out).toBe('')
  const again = start(home.directory, [...args, '--no-wait', '--json'])
  again.child.stdin.end()
  expect(await again.ended).toBe(0)
  const requested = fleet.hub.requests.filter((request) => request === 'POST /v1/clusters')
  expect(requested).toHaveLength(1)
  expect(JSON.parse(again.text.out)).toMatchObject({ name: 'idc-k8s' })
}, 120_000)

test('a link can come on standard input, where no list of processes shows it', async () => {
  const link = await inviteLink(fleet, 'bob')
  const bob = await newDevice(fleet.world)
  const { child, text, ended } = start(bob.home.directory, ['login', '-', '--json'])
  child.stdin.end(`${link}\n`)
  expect(await ended).toBe(0)
  expect(JSON.parse(text.out)).toMatchObject({ user: 'bob', keys: 'file' })
})

test('with --json a failure is JSON on stdout, and nothing else is there', async () => {
  const nobody = await newDevice(fleet.world)
  const { child, text, ended } = start(nobody.home.directory, ['clusters', '--json'])
  child.stdin.end()
  expect(await ended).toBe(4)
  expect(JSON.parse(text.out)).toEqual({
    error: {
      code: 'MCM_NOT_LOGGED_IN',
      message: expect.stringContaining('not logged in'),
      hint: expect.any(String),
      exitCode: 4,
    },
  })
  expect(text.err).toBe('')
})

test('a program that runs long ends at once and cleanly when told to', async () => {
  const { child, text, ended } = start(fleet.ada.home.directory, ['proxy', '--port', '0'])
  await expect.poll(() => text.out, { timeout: 60_000 }).toMatch(/https:\/\/127\.0\.0\.1:\d+/)
  const before = Date.now()
  child.kill('SIGTERM')
  expect(await ended).toBe(0)
  expect(Date.now() - before).toBeLessThan(2_500)
})
