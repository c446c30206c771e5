import { resolve } from 'node:path'
import type { ConnectOptions } from '../kubeconfig/connect.ts'
import type { KubeconfigFiles } from '../kubeconfig/file.ts'
import { toYaml } from '../kubeconfig/yaml.ts'
import { applyManifest, readClusterFacts } from './apply-manifest.ts'
import { withApiServer } from './direct-api.ts'
import type { FleetSession } from './fleet-session.ts'
import {
  completeRegistration,
  type OwnerWork,
  type PreparedRegistration,
  prepareRegistration,
  type Registered,
  type RegisterOptions,
} from './register.ts'

/** The whole of `mcm register`: prepare, put it into the cluster or into a file, wait, sign. */

export interface RegisterPlan {
  /** Where the manifest is written when it is not applied. */
  readonly output: string
  /** Undefined: do not wait at all; running it again goes on. */
  readonly waitMs?: number
  /** The owner's own connection, when the manifest is applied. */
  readonly apply?: ConnectOptions
}

/** @throws as `prepareRegistration`, `completeRegistration`, and the API server's refusals */
export async function registerCluster(
  session: FleetSession,
  options: RegisterOptions,
  plan: RegisterPlan,
  files: KubeconfigFiles,
): Promise<Registered | Unfinished> {
  const { registration } = plan.apply
    ? await applyRegistration(session, options, plan.apply, files)
    : await writeRegistration(session, options, plan.output, files)
  const { name, id, expires } = registration
  if (plan.waitMs === undefined) return { name, id, expires }
  const { apply } = plan
  const own = apply && ((work: OwnerWork) => withApiServer(apply, files, work))
  return completeRegistration(session, options, plan.waitMs, own)
}

async function applyRegistration(
  session: FleetSession,
  options: RegisterOptions,
  connect: ConnectOptions,
  files: KubeconfigFiles,
): Promise<PreparedRegistration> {
  const { progress } = session.device
  return withApiServer(connect, files, async (kubernetes) => {
    const facts = await progress.step('asking the cluster', () => readClusterFacts(kubernetes))
    const prepared = await prepareRegistration(session, { ...options, facts })
    await progress.step('applying the agent', () => applyManifest(kubernetes, prepared.objects))
    return prepared
  })
}

async function writeRegistration(
  session: FleetSession,
  options: RegisterOptions,
  output: string,
  files: KubeconfigFiles,
): Promise<PreparedRegistration> {
  const { progress } = session.device
  const prepared = await prepareRegistration(session, options)
  const path = resolve(output)
  await files.writeFileAtomic(path, toYaml(prepared.objects), 0o600)
  progress.say(`written: ${path} (it holds secrets: keep it to yourself)`)
  progress.say(`try: kubectl apply --server-side -f ${output}`)
  return prepared
}

/** Not waited for: what is in the cluster or the file is good until the join token expires. */
export interface Unfinished {
  readonly name: string
  readonly id: string
  /** RFC 3339. */
  readonly expires: string
}
