/**
 * What somebody has under way when a server or an agent restarts: a list half read, a watch, a create and a patch
 * without an answer, a GET without one, and more creates and patches one after another. Everything has a name of its
 * own in its target, by which the API server's audit log tells how often it arrived.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect } from 'vitest'
import type { AuditEvent } from '../cluster/audit-log.ts'
import { HOLD_LABEL, type HoldingWebhook } from '../cluster/holding-webhook.ts'
import { Load } from './outage-load.ts'
import { LongRunning, type Ran } from './program.ts'
import { endpointOf, get } from './streams-client.ts'

export const BIG_NAMESPACE = 'big'
export const PATCHED_NAMESPACE = 'patched'
export const PATCHED_COUNT = 300
const CONFIG_MAPS = '/api/v1/namespaces/default/configmaps'
/** The API server waits three seconds for a version that is not there yet. */
const UNANSWERED = 'resourceVersion=999999999&resourceVersionMatch=NotOlderThan'
/** An upper bound only. */
const WITHIN = { timeout: 60_000 }
const WATCH = 'watch=1&timeoutSeconds=600'

export interface SceneOptions {
  /** Told apart from every other scene; in names and targets. */
  readonly name: string
  readonly way: 'static' | 'proxy'
  readonly kubectl: string
  readonly kubeconfig: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly webhook: HoldingWebhook
  /** Every request that arrived at the API server so far. */
  arrivals(): Promise<readonly AuditEvent[]>
}

/** Everything that was under way, when it is over. */
export interface SceneEnd {
  readonly list: Ran
  readonly watch: Ran
  readonly created: Ran
  readonly patched: Ran
  readonly patches: Ran
  readonly creates: Load
}

export class Scene {
  readonly name: string
  readonly #options: SceneOptions
  readonly #list: HalfRead
  readonly #watch: LongRunning
  readonly #created: LongRunning
  readonly #patched: LongRunning
  readonly #creates: Load
  #patches: LongRunning | undefined
  #unanswered: Promise<void> | undefined

  /** Begins. What it patches must be there: `${name}-patched`. */
  constructor(options: SceneOptions) {
    const { name } = options
    this.name = name
    this.#options = options
    const bigList = `/api/v1/namespaces/${BIG_NAMESPACE}/configmaps?mark=list-${name}`
    this.#list = new HalfRead(options, ['get', '--raw', bigList])
    this.#watch = this.#start(['get', '--raw', `${CONFIG_MAPS}?${WATCH}&mark=watch-${name}`])
    const [created, patched] = [`${name}-created`, `${name}-patched`]
    const object = JSON.stringify(configMap(created, HOLD_LABEL))
    this.#created = this.#start(['create', '-f', '-', ...managedBy(created)], object)
    const hold = ['-p', JSON.stringify({ metadata: { labels: HOLD_LABEL } })]
    this.#patched = this.#start(['patch', 'configmap', patched, ...hold, ...managedBy(patched)])
    this.#creates = new Load(name, 1, (run) => this.#create(`${name}-${run}`))
  }

  /** Resolves when all of it is. */
  async isInTheMiddle(): Promise<void> {
    await Promise.all([
      this.#list.began,
      this.#watch.shows(/"type":"ADDED"/),
      this.#creates.more(3),
      this.#untilHeld('created', this.#created),
      this.#untilHeld('patched', this.#patched),
    ])
    await this.#beginWhatIsSoonOver()
  }

  /** @throws Error with kubectl's words when it ends instead */
  async #untilHeld(word: string, program: LongRunning): Promise<void> {
    const held = () => {
      const { exitCode } = program.child
      if (exitCode !== null) throw new Error(`it was not held: ${exitCode}, ${program.stderr}`)
      return this.#options.webhook.asked
    }
    await expect.poll(held, WITHIN).toContain(`${this.name}-${word}`)
  }

  async #beginWhatIsSoonOver(): Promise<void> {
    const { name } = this
    this.#unanswered = this.#askInVain()
    const vain = async () => counted(await this.#options.arrivals(), 'mark', `vain-${name}`)
    await expect.poll(vain, { ...WITHIN, interval: 200 }).toBe(1)
    const change = ['-p', JSON.stringify({ data: { changed: name } }), ...managedBy(name)]
    const inARow = ['patch', '-f', '-', '--type=merge', ...change]
    const patches = this.#start(inARow, patchedConfigMaps())
    this.#patches = patches
    const said = () => patchedNames(patches.stdout).length
    await expect.poll(said, WITHIN).toBeGreaterThan(30)
  }

  /** Waits for the end of all of it. */
  async end(): Promise<SceneEnd> {
    const [list, watch, created, patched, patches] = await Promise.all([
      this.#list.readToEnd(),
      ran(this.#watch),
      ran(this.#created),
      ran(this.#patched),
      ran(this.#patches!),
      this.#creates.end(),
      this.#unanswered,
    ])
    return { list, watch, created, patched, patches, creates: this.#creates }
  }

  /** Ends what is still there, whatever came of it. */
  kill(): void {
    void this.#creates.end()
    this.#list.kill()
    for (const program of [this.#watch, this.#created, this.#patched, this.#patches])
      program?.child.kill('SIGKILL')
  }

  /** @throws Error when anything arrived more often than it may, or not at all */
  async expectCounted({ creates, patches }: SceneEnd): Promise<void> {
    const { name } = this
    const arrivals = await this.#options.arrivals()
    const marked = (word: string) => counted(arrivals, 'mark', `${word}-${name}`)
    const managed = (manager: string) => counted(arrivals, 'fieldManager', manager)
    expect([marked('list'), marked('watch')]).toEqual([1, 1])
    const held = [`${name}-created`, `${name}-patched`]
    expect(held.map(managed)).toEqual([1, 1])
    const { asked } = this.#options.webhook
    expect(held.map((one) => asked.filter((each) => each === one).length)).toEqual([1, 1])
    // kubectl itself asks again for a GET that got no answer; the client of this test does not.
    if (this.#options.way === 'proxy') expect(marked('vain')).toBeLessThanOrEqual(2)
    for (const { name: created, ok, text } of creates.outcomes) {
      expect(managed(created), `${created}: ${text}`).toBeLessThanOrEqual(1)
      if (ok) expect(managed(created), created).toBe(1)
      expect(text).not.toContain('AlreadyExists')
    }
    expectPatchedOnce(arrivals, name, patches.stdout.toString())
  }

  #start(args: readonly string[], input = ''): LongRunning {
    const program = new LongRunning(this.#options.kubectl, args, envOf(this.#options), 'pipe')
    program.child.stdin!.end(input)
    return program
  }

  async #create(name: string) {
    const program = this.#start(['create', 'configmap', name, ...managedBy(name)])
    const { stdout, ...rest } = await ran(program)
    return { stdout: stdout.toString(), ...rest }
  }

  /** A GET that has no answer for three seconds. */
  async #askInVain(): Promise<void> {
    const path = `${CONFIG_MAPS}?mark=vain-${this.name}&${UNANSWERED}`
    const { way, kubeconfig } = this.#options
    if (way === 'static') await ran(this.#start(['get', '--raw', path]))
    else await get(await endpointOf(kubeconfig), path).catch(() => {})
  }
}

/** A program whose output is read no further than its first bytes, until it shall be. */
class HalfRead {
  readonly began: Promise<void>
  readonly #child

  constructor(options: SceneOptions, args: readonly string[]) {
    const env = { ...process.env, ...envOf(options) }
    this.#child = spawn(options.kubectl, args, { env, timeout: 300_000, killSignal: 'SIGKILL' })
    this.began = once(this.#child.stdout, 'readable').then(() => {})
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  async readToEnd(): Promise<Ran> {
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []]
    this.#child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
    this.#child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
    const [exitCode] = (await once(this.#child, 'close')) as [number | null]
    const said = Buffer.concat(stderr).toString()
    return { stdout: Buffer.concat(stdout), stderr: said, exitCode }
  }
}

async function ran(program: LongRunning): Promise<Ran> {
  const exitCode = await program.ended
  return { stdout: Buffer.from(program.stdout), stderr: program.stderr, exitCode }
}

function envOf({ env, kubeconfig }: SceneOptions) {
  return { ...env, KUBECONFIG: kubeconfig }
}

function managedBy(name: string): string[] {
  return [`--field-manager=${name}`]
}

/** Of the objects patched in a row none got more than one patch, and those that kubectl says were patched got one. */
export function expectPatchedOnce(
  arrivals: readonly AuditEvent[],
  fieldManager: string,
  said: string,
): void {
  const counts = new Map<string, number>()
  for (const event of arrivals) {
    if (parameterOf(event, 'fieldManager') !== fieldManager) continue
    const name = event.objectRef?.name ?? ''
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  expect([...counts].filter(([, count]) => count > 1)).toEqual([])
  const succeeded = patchedNames(said)
  expect(succeeded.filter((name) => counts.get(name) !== 1)).toEqual([])
  expect(succeeded.length).toBeGreaterThan(20)
}

function patchedNames(said: string): string[] {
  return [...said.matchAll(/^configmap\/(\S+) patched$/gm)].map(([, name]) => name!)
}

/** How often a request arrived whose query has this. */
export function counted(
  arrivals: readonly AuditEvent[],
  parameter: 'mark' | 'fieldManager',
  value: string,
): number {
  return arrivals.filter((event) => parameterOf(event, parameter) === value).length
}

function parameterOf({ requestURI }: AuditEvent, parameter: string): string | null {
  return new URL(requestURI, 'https://x').searchParams.get(parameter)
}

export function configMap(name: string, labels: object = {}, namespace = 'default') {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace, labels } }
}

/** What is patched in a row. */
export function patchedConfigMaps(): string {
  const names = Array.from({ length: PATCHED_COUNT }, (_, index) => `p-${index}`)
  return names.map((name) => JSON.stringify(configMap(name, {}, PATCHED_NAMESPACE))).join('\n---\n')
}
