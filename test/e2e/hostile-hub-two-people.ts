/** Two people, one with another cluster as well, whose hub has turned hostile; and what became of their requests. */
import { type ApiServer, startApiServer } from '../cluster/api-server.ts'
import type { AuditEvent } from '../cluster/audit-log.ts'
import { type HostileHub, relayHonestly } from './hostile-hub.ts'
import {
  createRequest,
  exchange,
  getRequest,
  openSession,
  readStaticAccess,
  type SessionAnswer,
  type StaticAccess,
} from './hostile-hub-session.ts'
import {
  CLUSTER,
  CONTEXT,
  hubHasAgent,
  identityOf,
  openVictim,
  type Victim,
} from './hostile-hub-stage.ts'

export const KILOBYTES = 100

/** What people did, as an API server has audited it. */
export interface Audited {
  /** Creations of ConfigMaps that succeeded. */
  readonly created: number
  readonly creations: number
  readonly requests: number
}

export class TwoPeople {
  readonly victim: Victim
  readonly other: ApiServer
  readonly otherId: string
  readonly bob: StaticAccess
  alice: StaticAccess
  hub!: HostileHub

  private constructor(victim: Victim, other: ApiServer, otherId: string, people: StaticAccess[]) {
    this.victim = victim
    this.other = other
    this.otherId = otherId
    this.alice = people[0]!
    this.bob = people[1]!
  }

  static async open(): Promise<TwoPeople> {
    const other = await startApiServer({ version: '1.36.3' })
    const paths: string[] = []
    const victim = await openVictim({
      hubHost: '127.0.0.1',
      modes: ['static'],
      prepare: async (stage, owner) => {
        await stage.addCluster(owner, 'other', other)
        const grant = ['--cluster', CLUSTER, '--role', 'ns-ro', '--namespace', 'default']
        const bob = await stage.join(owner, 'bob', grant)
        paths.push(await bob.kubeconfig('static'))
      },
    }).catch(async (error: unknown) => {
      await other.stop()
      throw error
    })
    paths.unshift(victim.kubeconfig('static'))
    const people = await Promise.all(paths.map((path) => readStaticAccess(path, CONTEXT)))
    const two = new TwoPeople(victim, other, (await identityOf(other)).clusterId, people)
    two.hub = await victim.turnHostile()
    await hubHasAgent(two.hub, two.otherId)
    return two
  }

  async close(): Promise<void> {
    await this.victim.stop()
    await this.other.stop()
  }

  async audited(cluster: ApiServer = this.victim.cluster): Promise<Audited> {
    const events = await auditedEvents(cluster)
    const creations = events.filter(createsConfigMap)
    const created = creations.filter(({ responseStatus }) => (responseStatus?.code ?? 500) < 300)
    return { created: created.length, creations: creations.length, requests: events.length }
  }

  /** How often each field manager asked for a ConfigMap to be created, whatever became of it. */
  async creationsByFieldManager(): Promise<Map<string, number>> {
    const counts = new Map<string, number>()
    for (const { requestURI } of (await auditedEvents(this.victim.cluster)).filter(
      createsConfigMap,
    )) {
      const manager = new URL(requestURI, 'https://cluster').searchParams.get('fieldManager') ?? ''
      counts.set(manager, (counts.get(manager) ?? 0) + 1)
    }
    return counts
  }

  /** Alice reads a ConfigMap, through a hub that only relays. */
  async configMap(name: string): Promise<SessionAnswer> {
    this.hub.deed = relayHonestly
    const path = `/api/v1/namespaces/default/configmaps/${name}`
    return exchange(await openSession(this.alice), [getRequest(this.alice, path)])
  }

  /** Alice creates a long ConfigMap through whatever the hub does now. */
  async create(metadata: string): Promise<SessionAnswer> {
    const request = createRequest(this.alice, metadata, KILOBYTES)
    return exchange(await openSession(this.alice), request)
  }
}

async function auditedEvents(cluster: ApiServer): Promise<AuditEvent[]> {
  return (await cluster.auditEvents()).filter(({ stage, impersonatedUser }) => {
    return stage === 'ResponseComplete' && impersonatedUser?.username.startsWith('mcm:')
  })
}

function createsConfigMap({ verb, objectRef }: AuditEvent): boolean {
  return verb === 'create' && objectRef?.resource === 'configmaps'
}
