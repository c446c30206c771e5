import type { Duplex } from 'node:stream'
import type { EitherWay } from '../client/either-way.ts'
import type { CarrierWish } from '../pipe/initiator.ts'
import type { Secret } from '../secret.ts'

/** A cluster as the verified directory has it. */
export interface ProxyCluster {
  /** `c-…` */
  readonly id: string
  /** Display name. */
  readonly name: string
  /** The name that the agent's certificate must carry: `<id>.clusters…`. */
  readonly host: string
  /** The CA that may sign that certificate; during a rotation both, one after the other. */
  readonly serverCaPem: string
}

/** A user certificate with its key, and whom it names. Lives in memory only. */
export interface Credential {
  readonly certPem: string
  readonly keyPem: Secret<string>
  readonly notAfter: Date
  /** Bare names, as in the certificate. */
  readonly user: string
  readonly groups: readonly string[]
}

/** The ways out of this machine, given by whoever starts the proxy. */
export interface Ways {
  /**
   * A certificate that may be used now; renews it when it is due. `refusedCertPem` is one that the agent no longer
   * accepts: another is wanted.
   * @throws IdentityError MCM_NOT_LOGGED_IN, UnreachableError, AccessDeniedError, TrustError
   */
  credential(clusterId: string, refusedCertPem?: string): Promise<Credential>
  /** A CONNECT stream to the agent through the hub, whose endpoints are tried in order. */
  connect(clusterId: string): Promise<Duplex>
  /** A carrier for a pipe to it, of a replica that may be named; without it sessions do not survive their hub. */
  connectPipe?(clusterId: string, wish: CarrierWish): Promise<Duplex>
  /** A connection to the agent's own address; undefined where the cluster has none. */
  connectDirect?(clusterId: string): Promise<Duplex | undefined>
  /** Which of the two to go; one that forgets unless given. */
  readonly eitherWay?: EitherWay
}
