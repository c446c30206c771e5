import { credentialFor } from '../device/credentials.ts'
import type { Device } from '../device/device.ts'
import { staleEntry, staleKubeconfig } from '../device/stale-kubeconfig.ts'
import { UsageError } from '../errors.ts'
import { openRuntime } from '../runtime.ts'
import { failureOf, renderFailure } from '../terminal/failure.ts'
import { type CredentialStreams, execCredential, plainClusterArgument } from './exec-credential.ts'
import { givenCluster, trustOf } from './given-cluster.ts'

/** The slow way of `mcm credential`: the certificate is missing, due or expired. Gives the exit code. */
export async function renewCredential(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  streams: CredentialStreams,
): Promise<number> {
  try {
    streams.stdout.write(await credentialText(argv, env, streams))
    return 0
  } catch (error) {
    const context = { command: 'mcm credential', version: '', isInterrupted: false }
    const failure = failureOf(error, context)
    streams.stderr.write(renderFailure(failure, error))
    return failure.exitCode
  }
}

async function credentialText(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  streams: CredentialStreams,
): Promise<string> {
  const id = plainClusterArgument(argv)
  if (id === undefined) {
    throw new UsageError('MCM_USAGE', 'mcm credential needs --cluster and a cluster id', {
      hint: 'mcm kubeconfig --merge writes the right call into your kubeconfig',
    })
  }
  // kubectl shows stderr of its plugins: only problems belong there.
  const runtime = openRuntime(env)
  const device = await runtime.openDevice({ quiet: true })
  const text = await currentCredential(device, id)
  const given = givenCluster(env)
  const location = runtime.kubeconfigLocation()
  const stale = given
    ? await staleEntry(device, id, given, trustOf(given))
    : await staleKubeconfig(device, id, location, runtime.kubeconfigFiles)
  if (stale !== undefined) streams.stderr.write(`${stale}\n`)
  return text
}

/** What kubectl reads, of the certificate that `credentialFor` gives. @throws as `credentialFor` */
export async function currentCredential(device: Device, clusterId: string): Promise<string> {
  const { certificatePem, key, renewAfter, notAfter } = await credentialFor(device, clusterId)
  const times = { renewAfter: renewAfter.toISOString(), notAfter: notAfter.toISOString() }
  return execCredential({ certificate: certificatePem, ...times }, key, device.world.now())
}
