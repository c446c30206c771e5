import type { RuntimeFacts } from '../runtime-floor.ts'
import type { Log, World } from '../world.ts'
import type { AuditSink } from './audit-event.ts'
import type { AgentConfiguration } from './configuration.ts'
import type { AgentConnection } from './connections.ts'
import type { DirectListenerOptions } from './direct-listener.ts'

/** What an agent is given of the world around it. */
export interface AgentDeps {
  readonly world: World
  readonly log: Log
  readonly runtime: RuntimeFacts
  readonly apiServer: AgentConnection
  /** The forward proxy that the environment names for a hub endpoint, if any. */
  proxyFor(endpoint: string): string | undefined
  /** The log unless told. */
  readonly audit?: AuditSink
  /** Ends the agent. */
  readonly signal: AbortSignal
  /** The join token as it stands in the configuration now. */
  joinToken?(): Promise<AgentConfiguration['joinToken']>
}

export interface AgentOptions {
  readonly configuration: AgentConfiguration
  /** Tells this replica from the others: the pod's name. */
  readonly replica: string
  /** Of mcm. */
  readonly version: string
  /** Where the kubelet asks; without it nowhere. */
  readonly health?: { readonly host: string; readonly port: number }
  /** The agent's own address, for when no hub is up; without it nobody can dial in. */
  readonly direct?: Pick<DirectListenerOptions, 'host' | 'ports'>
  /** How old an admin's confirmation of the directory may be; any age unless told. */
  readonly directoryMaximumAgeSeconds?: number
  /** How long a bot's certificate may live; a day unless told. */
  readonly botMaximumLifeSeconds?: number
}
