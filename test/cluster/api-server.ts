/**
 * A real kube-apiserver with etcd on loopback, for tests of everything that needs no pods: RBAC, audit,
 * TokenRequest, watches. No controllers run: a deleted namespace stays Terminating, and nobody makes
 * the default ServiceAccount of a new one.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { AuditEvent } from './audit-log.ts'
import { findKubernetesBinaries } from './binaries.ts'
import type { ControlPlane } from './control-plane.ts'
import { startControlPlane } from './control-plane.ts'
import { freePort } from './free-port.ts'
import type { ServerVersion } from './kubernetes-version.ts'
import { CONTROL_PLANE } from './kubernetes-version.ts'
import type { Possibility } from './possibility.ts'
import { startProcess } from './running-process.ts'
import { abandonedDirectories, makeOwnedDirectory } from './temporary-state.ts'

const HOST = '127.0.0.1'
const START_ATTEMPTS = 3
const STATE_PREFIX = 'mcm-test-api-server-'

/** kube-apiserver refuses to publish loopback as its endpoint, and makes no ServiceAccounts itself. */
const FLAGS = [
  '--authorization-mode=RBAC',
  '--endpoint-reconciler-type=none',
  '--disable-admission-plugins=ServiceAccount',
]

export interface ApiServer {
  readonly version: ServerVersion
  /** `https://host:port` */
  readonly url: string
  readonly host: string
  readonly port: number
  /** Signs the serving certificate and every client certificate. */
  readonly caPem: string
  /** A client certificate in `system:masters`, PEM. */
  readonly admin: { readonly certPem: string; readonly keyPem: string }
  /** A kubeconfig (0600) with that certificate. */
  readonly adminKubeconfig: string
  /** The state folder: a log of every program, `ca.crt`, etcd's data. */
  readonly directory: string
  /** Makes a client certificate that this server maps to a user and groups. */
  clientCertificate(user: string, groups?: string[]): Promise<{ certPem: string; keyPem: string }>
  /** Every audit event so far (level Metadata, one per finished request), oldest first. */
  auditEvents(): Promise<AuditEvent[]>
  /**
   * kube-apiserver ends, cutting what is open after `graceMs` (default 1 000; 0 kills it), and starts again: same
   * address, certificates, data.
   */
  restart(graceMs?: number): Promise<void>
  /** Ends both processes; removes the state folder unless the caller chose it. Safe to call twice. */
  stop(): Promise<void>
}

export interface ApiServerOptions {
  readonly version: ServerVersion
  /** The state folder: certificates, logs, etcd's data. Default: a temporary one. */
  readonly directory?: string
  /** Of kube-apiserver, besides ours; a flag that is there twice counts as said last. */
  readonly flags?: readonly string[]
  /** Where progress of a first build goes. Default: console.warn. */
  readonly log?: (line: string) => void
}

/** Whether `startApiServer` can work here. May build for minutes the first time. */
export async function apiServerIsPossible(
  version: ServerVersion,
  log: (line: string) => void = console.warn,
): Promise<Possibility> {
  const found = await findKubernetesBinaries(version, CONTROL_PLANE, log)
  if (found !== undefined) return { possible: true }
  return {
    possible: false,
    reason: `no kube-apiserver ${version}: run node test/cluster/prepare.ts`,
  }
}

/**
 * Starts an API server and waits until it is ready, about four seconds.
 * @throws Error when its programs cannot be had or it does not come up
 */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { version, flags = [], log = console.warn } = options
  const binaries = await findKubernetesBinaries(version, CONTROL_PLANE, log)
  if (binaries === undefined) throw new Error(`no kube-apiserver ${version} on this machine`)
  const directory = options.directory ?? (await ownStateDirectory())
  const removeState = async () => {
    if (options.directory === undefined) await rm(directory, { recursive: true, force: true })
  }
  try {
    const setup = { directory, flags: [...FLAGS, ...flags] }
    const { port, plane } = await startOnFreePort(binaries.directory, setup, START_ATTEMPTS)
    const stop = () => plane.stop().then(removeState)
    return { ...clientFacts(plane), version, host: HOST, port, directory, stop }
  } catch (error) {
    await removeState()
    throw error
  }
}

/** The part of an `ApiServer` that a control plane already is. */
export function clientFacts(plane: ControlPlane) {
  return {
    url: plane.url,
    caPem: plane.authority.certificatePem,
    admin: plane.admin,
    adminKubeconfig: plane.adminKubeconfig,
    clientCertificate: (user: string, groups: string[] = []) =>
      plane.authority.newClientCert(user, groups),
    auditEvents: plane.auditEvents,
    restart: plane.restart,
  }
}

async function ownStateDirectory(): Promise<string> {
  for (const abandoned of await abandonedDirectories(STATE_PREFIX)) {
    await rm(abandoned, { recursive: true, force: true })
  }
  return makeOwnedDirectory(STATE_PREFIX)
}

async function startOnFreePort(
  binaries: string,
  setup: { readonly directory: string; readonly flags: readonly string[] },
  attempts: number,
): Promise<{ port: number; plane: ControlPlane }> {
  const { directory } = setup
  const port = await freePort()
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const launch = (program: string, flags: readonly string[]) =>
    startProcess({
      name: program,
      command: join(binaries, program),
      args: flags,
      logPath: join(directory, `${program}.log`),
      workingDirectory: directory,
    })
  try {
    const plane = await startControlPlane({ ...setup, host: HOST, port, launch })
    return { port, plane }
  } catch (error) {
    // Between choosing a port and listening on it, another test may have taken it.
    const portWasTaken = String(error).includes('address already in use')
    if (!portWasTaken || attempts <= 1) throw error
    await rm(join(directory, 'etcd'), { recursive: true, force: true })
    return startOnFreePort(binaries, setup, attempts - 1)
  }
}
