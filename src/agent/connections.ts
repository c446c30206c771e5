import { setTimeout as pause } from 'node:timers/promises'
import { AGENT_NAME, AGENT_NAMESPACE } from '../access/agent-rights.ts'
import { type ClosableTransport, directTransport } from '../client/direct-transport.ts'
import { type KubernetesApi, openKubernetes } from '../client/kubernetes.ts'
import { AccessDeniedError, McmError, UnreachableError, UsageError } from '../errors.ts'
import type { ApiServerConnection } from '../kube/connection.ts'
import { Secret } from '../secret.ts'
import type { Log, World } from '../world.ts'
import { type AgentConfiguration, configurationFromSecret } from './configuration.ts'
import { type TokenSource, tokenSource } from './service-token.ts'

/** How the agent reaches its own API server: as service account `mcm-agent`, and as nobody else. */
export interface AgentConnection {
  readonly connection: ApiServerConnection
  /** Other credentials, when the API server does not accept the present ones. */
  reload(): Promise<void>
}

const SERVICE_ACCOUNT_DIRECTORY = '/var/run/secrets/kubernetes.io/serviceaccount'
const CONFIGURATION_PATH = `/api/v1/namespaces/${AGENT_NAMESPACE}/secrets/${AGENT_NAME}`
const CONFIGURATION_POLL_MS = 1_000

/**
 * In a pod: the address the kubelet tells, the token and CA it mounts. The token is read anew
 * before every request.
 */
export async function connectionInPod(pod: {
  /** KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT. */
  readonly host: string | undefined
  readonly port: string | undefined
  readFile(path: string): Promise<string>
}): Promise<AgentConnection> {
  const { host, port = '443' } = pod
  if (!host)
    throw new UsageError(
      'MCM_USAGE',
      'this is no pod of a cluster: KUBERNETES_SERVICE_HOST is unset',
      {
        hint: 'run mcm agent --kubeconfig FILE outside a cluster',
      },
    )
  const caPem = await pod.readFile(`${SERVICE_ACCOUNT_DIRECTORY}/ca.crt`)
  const readToken = async () => (await pod.readFile(`${SERVICE_ACCOUNT_DIRECTORY}/token`)).trim()
  const server = `https://${host.includes(':') ? `[${host}]` : host}:${port}`
  const address = { scheme: 'https', host, port: Number(port), basePath: '', server } as const
  const authorization = async () => new Secret(`Bearer ${await readToken()}`)
  const connection = { ...address, caPem, insecureSkipTlsVerify: false, authorization }
  return { connection, reload: async () => {} }
}

/**
 * Outside a cluster: the owner's kubeconfig is used to ask for tokens of `mcm-agent`, and for
 * nothing else.
 * @throws UsageError a connection over which the agent does not send credentials
 */
export function connectionOutside(owner: ApiServerConnection, world: World): AgentConnection {
  requireDirect(owner)
  const transport = directTransport(owner)
  const tokens: TokenSource = tokenSource(
    openKubernetes(transport),
    { serviceAccount: AGENT_NAME },
    world,
  )
  const { clientCertPem: _certificate, clientKeyPem: _key, ...address } = owner
  const authorization = async () => new Secret(`Bearer ${(await tokens.current()).reveal()}`)
  return {
    connection: { ...address, authorization },
    reload: async () => {
      await tokens.reload()
    },
  }
}

/** The API as `mcm-agent`. A 401 makes it try once more with other credentials. */
export function agentTransport({ connection, reload }: AgentConnection): ClosableTransport {
  const direct = directTransport(connection)
  const transport: ClosableTransport = Object.assign(
    async (request: Parameters<ClosableTransport>[0]) => {
      const answer = await direct(request)
      if (answer.status !== 401) return answer
      for await (const _ of answer.body) {
        // The connection can be used again once the answer is read.
      }
      await reload()
      return direct(request)
    },
    { close: () => direct.close() },
  )
  return transport
}

/**
 * The configuration in Secret `mcm-agent`, as soon as there is one; says once that it waits.
 * @throws StateError MCM_STATE_DAMAGED; what `signal` aborts with
 */
export async function waitForConfiguration(
  api: KubernetesApi,
  log: Log,
  signal: AbortSignal,
): Promise<AgentConfiguration> {
  for (let said = ''; ; ) {
    const problem = await readConfigurationSecret(api).catch(notYet)
    if (problem !== undefined && !(problem instanceof McmError)) return problem
    const reason = problem?.message ?? `there is no Secret ${AGENT_NAME} in ${AGENT_NAMESPACE} yet`
    if (said !== reason) log.info('waiting_for_registration', { reason })
    said = reason
    await pause(CONFIGURATION_POLL_MS, undefined, { signal })
  }
}

async function readConfigurationSecret(
  api: KubernetesApi,
): Promise<AgentConfiguration | undefined> {
  const secret = await api.getIfAny<{ data?: Record<string, string> }>(CONFIGURATION_PATH)
  return secret && configurationFromSecret(secret)
}

/**
 * Before registration there is no service account either, and for a moment it has no rights yet.
 */
function notYet(error: unknown): UnreachableError | AccessDeniedError {
  if (error instanceof UnreachableError || error instanceof AccessDeniedError) return error
  throw error
}

/** @throws UsageError MCM_USAGE naming what is wrong with a kubeconfig for an agent */
export function requireDirect(connection: ApiServerConnection): void {
  const { scheme, basePath, proxyUrl, server } = connection
  const why =
    scheme !== 'https'
      ? 'it is not HTTPS'
      : basePath !== ''
        ? 'it is below a path, so another proxy stands before it'
        : proxyUrl !== undefined
          ? 'it is behind a proxy'
          : undefined
  if (why === undefined) return
  throw new UsageError('MCM_USAGE', `the agent cannot work with API server ${server}: ${why}`, {
    hint: 'use a context that reaches the API server itself',
  })
}
