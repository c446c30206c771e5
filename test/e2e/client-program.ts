/**
 * A client program of fixtures/clients while it runs. It takes one thing to do as a line of JSON on stdin and answers
 * with a line of JSON on stdout: `{"gives": …}`, or what the client said when it failed, `{"failed": …}`.
 */
import { createInterface, type Interface } from 'node:readline'
import { type ClientCommand, clientCommand, type InstalledClient } from '../clients/installed.ts'
import { LongRunning } from './program.ts'

export interface ClientFailure {
  /** Of the answer, where there was one. */
  readonly code?: number | null
  /** Everything the client tells its caller: the message, and the body of the answer where it has one. */
  readonly text: string
}

export type ClientAnswer =
  | { readonly gives: unknown; readonly failed?: undefined }
  | { readonly failed: ClientFailure }

/** Where something is to be done. */
export interface Place {
  readonly kubeconfig: string
  readonly context: string
  readonly namespace: string
}

export interface Task extends Place {
  readonly do: string
  readonly [argument: string]: unknown
}

const ANSWER_TIMEOUT_MS = 60_000

export class ClientProgram {
  readonly #process: LongRunning
  readonly #lines: Interface
  #last: Promise<unknown> = Promise.resolve()

  private constructor({ command, args, env }: ClientCommand, more: Record<string, string>) {
    this.#process = new LongRunning(command, args, { ...QUIET, ...env, ...more }, 'pipe')
    this.#lines = createInterface({ input: this.#process.child.stdout! })
  }

  /** @param env adds to the environment */
  static async start(
    name: InstalledClient,
    env: Record<string, string> = {},
  ): Promise<ClientProgram> {
    return new ClientProgram(await clientCommand(name), env)
  }

  /** One after the other. @throws Error when it ends or does not answer in time */
  ask(task: Task, timeoutMs = ANSWER_TIMEOUT_MS): Promise<ClientAnswer> {
    const answer = this.#last.then(() => this.#ask(task, timeoutMs))
    this.#last = answer.catch(() => {})
    return answer
  }

  /** What it gives. @throws Error with what the client said */
  async must(task: Task, timeoutMs?: number): Promise<unknown> {
    const answer = await this.ask(task, timeoutMs)
    if (!answer.failed) return answer.gives
    throw new Error(`${task.do} failed with ${answer.failed.code}: ${answer.failed.text}`)
  }

  async stop(): Promise<void> {
    this.#lines.close()
    await this.#process.stop('SIGKILL')
  }

  #ask(task: Task, timeoutMs: number): Promise<ClientAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<ClientAnswer>()
    const giveUp = (why: string) =>
      reject(new Error(`no answer to ${task.do}: ${why}\n${this.#process.stderr}`))
    const timer = setTimeout(() => giveUp(`not within ${timeoutMs} ms`), timeoutMs)
    const onLine = (line: string) => resolve(JSON.parse(line) as ClientAnswer)
    this.#lines.once('line', onLine)
    void this.#process.ended.then((code) => giveUp(`it ended with ${code}`))
    this.#process.child.stdin!.write(`${JSON.stringify(task)}\n`)
    return promise.finally(() => {
      clearTimeout(timer)
      this.#lines.off('line', onLine)
    })
  }
}

/** Nothing of this machine's own decides the way. */
const QUIET = {
  HTTPS_PROXY: undefined,
  https_proxy: undefined,
  HTTP_PROXY: undefined,
  http_proxy: undefined,
  NO_PROXY: undefined,
  no_proxy: undefined,
} as const
