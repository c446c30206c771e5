import type { Duplex } from 'node:stream'
import { dialAgent } from '../client/dial.ts'
import { type EitherWay, eitherWay } from '../client/either-way.ts'
import type { HubApi } from '../client/hub.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { UnreachableError } from '../errors.ts'
import { clusterHost, enrolmentHost } from '../protocol/names.ts'
import type { Device } from './device.ts'
import { openFleet } from './fleet-session.ts'
import { offlineStandpoint, type Standpoint } from './latest-directory.ts'

/**
 * The ways to a cluster's agent: through a hub, or past it to the agent's own address (PROTOCOL §8.1). Both give a
 * bare byte stream; who is at its end is known when the inner layer has shaken hands.
 */

/** Somebody on the way to an agent. */
export interface Traveller extends Standpoint {
  /** Absent where none answered. */
  readonly hub?: HubApi
  /** Where there is no hub: the connection to the agent's enrolment that was found instead. */
  readonly enrolment?: Duplex
  /** Whoever acts leaves the hub out: only the agents' own addresses are dialled. */
  readonly isDirect?: boolean
  /** Gets the ids of clusters to whose agents a hub did not let everything through, for whoever wants to know. */
  readonly hindered?: Set<string>
}

type Kind = 'session' | 'enrolment'

const PORT = 443

/** A stream to whoever answers, and whether a hub carries it. */
export interface Way {
  readonly stream: Duplex
  readonly isByHub: boolean
}

/** @throws AccessDeniedError of the hub, UnreachableError */
export async function openWay(
  traveller: Traveller,
  cluster: ClusterRecord,
  kind: Kind,
): Promise<Way> {
  const direct = async (): Promise<Way | undefined> => {
    const stream = await dialDirect(traveller.device, cluster, kind)
    return stream && { stream, isByHub: false }
  }
  if (traveller.isDirect) {
    const way = await direct()
    if (way) return way
    throw noDirectAddress([cluster])
  }
  const host = kind === 'session' ? clusterHost(cluster.id) : enrolmentHost(cluster.id)
  return eitherWayOf(traveller.device)<Way>({
    hub: async () => {
      if (traveller.hub)
        return { stream: await traveller.hub.connect(`${host}:${PORT}`), isByHub: true }
      throw new UnreachableError('MCM_HUB_UNREACHABLE', 'no hub answers')
    },
    direct,
    discard: ({ stream }) => void stream.destroy(),
  })
}

/** A connection to the agent's own address; undefined where the cluster has none. @throws UnreachableError */
export async function dialDirect(
  device: Device,
  { direct }: ClusterRecord,
  kind: Kind,
): Promise<Duplex | undefined> {
  if (!direct) return undefined
  const endpoint = kind === 'session' ? direct.sessions : direct.enrolment
  const proxyUrl = device.proxyFor(new URL(`https://${endpoint}`))
  const through = proxyUrl === undefined ? {} : { proxyUrl }
  return dialAgent({ endpoint, signal: device.signal, ...through })
}

/** For whoever leaves the hub out: these clusters, at least one, have no address of their own. */
export function noDirectAddress(clusters: readonly ClusterRecord[]): UnreachableError {
  const names = clusters.map(({ name }) => name).join(', ')
  return new UnreachableError(
    'MCM_AGENT_UNREACHABLE',
    `without the hub there is no way to ${names}: no direct address`,
    {
      hint: 'mcm clusters direct gives one to an agent that listens; without it the owner of a cluster ends somebody there by taking the name out of ClusterRole mcm-impersonator',
    },
  )
}

/** By the directory kept here, to the agent's enrolment; undefined where the cluster has no address of its own. */
export async function directTraveller(
  device: Device,
  clusterId: string,
): Promise<Traveller | undefined> {
  const standpoint = await offlineStandpoint(device)
  const cluster = standpoint.directory.state.clusters.get(clusterId)
  const enrolment = cluster && (await dialDirect(device, cluster, 'enrolment'))
  return enrolment && { ...standpoint, enrolment }
}

/** Runs `work` with a hub, or where none answers with what leads to this cluster without one. @throws as `withFleet` */
export async function withWayTo<T>(
  device: Device,
  clusterId: string,
  work: (traveller: Traveller) => Promise<T>,
): Promise<T> {
  const traveller = await eitherWayOf(device)<Traveller>({
    hub: () => openFleet(device),
    direct: () => directTraveller(device, clusterId),
    discard: endJourney,
  })
  try {
    return await work(traveller)
  } finally {
    endJourney(traveller)
  }
}

function endJourney({ hub, enrolment }: Traveller): void {
  hub?.close()
  enrolment?.destroy()
}

function eitherWayOf({ world }: Device): EitherWay {
  return eitherWay(() => world.now().getTime())
}
