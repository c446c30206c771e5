import { batches } from '../directory/batches.ts'
import type { Directory } from '../directory/directory.ts'
import { visibleDetails } from '../directory/visibility.ts'
import { messageOf, UnreachableError } from '../errors.ts'
import {
  type DirectoryAppend,
  type Head,
  type Hello,
  headSchema,
  helloSchema,
} from '../protocol/messages.ts'
import type { HubTunnel } from '../tunnel/hub-end.ts'
import type { AgentName, HubEvents } from './events.ts'

/**
 * One connected agent: who it said it is, and how it is kept up with the directory. It gets every
 * statement after its own head, and every detail that concerns its cluster once a tunnel.
 */
export interface AgentLink {
  readonly name: AgentName
  /** Key id. */
  readonly key: string
  readonly hello: Hello
  readonly tunnel: HubTunnel
  readonly since: Date
  readonly address: string
  /** Brings the agent to this directory, after what is under way. Never rejects. */
  push(directory: Directory): Promise<void>
}

/** Asks a new tunnel who it is. @throws UnreachableError when the answer is not one */
export async function readHello(tunnel: HubTunnel): Promise<Hello> {
  const { status, body } = await tunnel.request('GET', '/.mcm/v1/hello')
  const parsed = helloSchema.safeParse(body)
  if (status === 200 && parsed.success) return parsed.data
  throw new UnreachableError('MCM_AGENT_UNREACHABLE', `the agent said no hello (status ${status})`)
}

export function agentLink(
  parts: Omit<AgentLink, 'push' | 'name'> & { readonly cluster: string },
  events: HubEvents,
): AgentLink {
  const { key, hello, tunnel, since, address, cluster } = parts
  const name = { cluster, replica: hello.replica }
  const pusher = new DirectoryPusher(tunnel, name, hello.directory, events)
  const push = (directory: Directory) => pusher.push(directory)
  return { name, key, hello, tunnel, since, address, push }
}

class DirectoryPusher {
  readonly #tunnel: HubTunnel
  readonly #agent: AgentName
  readonly #events: HubEvents
  readonly #sentDetails = new Set<number>()
  #agentHead: Head | null
  /** Whether this agent was shown on this tunnel that the hub has its head: a client may have brought it. */
  #hasBegun = false
  #wanted: Directory | undefined
  #running: Promise<void> | undefined

  constructor(tunnel: HubTunnel, agent: AgentName, head: Head | null, events: HubEvents) {
    this.#tunnel = tunnel
    this.#agent = agent
    this.#agentHead = head
    this.#events = events
  }

  /** Directories that come while one is being sent are sent as one, the last. */
  push(directory: Directory): Promise<void> {
    this.#wanted = directory
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #run(): Promise<void> {
    while (this.#wanted && this.#tunnel.isOpen()) {
      const directory = this.#wanted
      this.#wanted = undefined
      try {
        await this.#bring(directory)
      } catch (error) {
        if (this.#tunnel.isOpen()) this.#events.directoryPushRefused(this.#agent, messageOf(error))
      }
    }
  }

  async #bring(directory: Directory): Promise<void> {
    const head = this.#agentHead?.seq ?? -1
    const after = this.#hasBegun ? head : Math.max(head - 1, -1)
    for (const batch of batches(this.#missing(directory, after), after)) await this.#send(batch)
  }

  #missing(directory: Directory, after: number): DirectoryAppend {
    const head = this.#agentHead
    if (head !== null && !directory.leadsTo(head))
      throw new Error(`the agent has another statement ${head.seq} than this hub`)
    const statements = directory.statements.slice(after + 1).map(({ text }) => text)
    const viewer = { kind: 'agent', cluster: this.#agent.cluster } as const
    const details = visibleDetails(directory, viewer)
    return { statements, details: details.filter(({ seq }) => !this.#sentDetails.has(seq)) }
  }

  async #send(batch: DirectoryAppend): Promise<void> {
    const { status, body } = await this.#tunnel.request('POST', '/.mcm/v1/directory', batch)
    const head = headSchema.safeParse(body)
    if (status !== 200 || !head.success)
      throw new Error(`the agent answered ${refusal(status, body)}`)
    this.#agentHead = head.data
    this.#hasBegun = true
    for (const { seq } of batch.details) this.#sentDetails.add(seq)
  }
}

function refusal(status: number, body: unknown): string {
  const message = (body as { message?: unknown } | undefined)?.message
  return typeof message === 'string' ? `${status}: ${message.slice(0, 300)}` : String(status)
}
