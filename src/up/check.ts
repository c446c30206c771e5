import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { withFleet } from '../device/fleet-session.ts'
import { TrustError, UnreachableError } from '../errors.ts'
import type { Up, UpDeps } from './up.ts'

/** What was verified, each in a few words. */
export type Checks = readonly string[]

/** Verifies what is up from outside: the answer, who asked, the directory, and the plugin as kubectl starts it. */
export async function checkUp(up: Up, deps: UpDeps): Promise<Checks> {
  const { status, user, namespaces } = up.roundTrip
  if (status !== 200) throw failed(`the request was answered with ${status}`)
  if (!namespaces.includes('default')) throw failed('the answer does not name namespace default')
  if (user === '' || user.startsWith('system:')) throw failed(`the API server saw ${user}`)
  const statements = await withFleet(deps.device, async ({ directory }) => {
    if (!directory.state.clusters.has(up.cluster.id)) {
      throw new TrustError('MCM_DIRECTORY_INVALID', 'the directory does not prove the cluster')
    }
    return directory.statements.length
  })
  await requireCredential(up, deps)
  return [
    `a request went round as ${user}`,
    `${statements} statements prove who and what is real`,
    'mcm credential answers as kubectl asks',
  ]
}

async function requireCredential({ cluster }: Up, { self, env }: UpDeps): Promise<void> {
  const args = [...self.args, 'credential', '--cluster', cluster.id]
  const run = promisify(execFile)
  const { stdout } = await run(self.command, args, { env, timeout: 30_000 })
  const { kind, status } = JSON.parse(stdout) as {
    kind?: string
    status?: { clientCertificateData?: string }
  }
  if (kind === 'ExecCredential' && status?.clientCertificateData?.includes('BEGIN CERTIFICATE'))
    return
  throw failed('mcm credential printed no certificate')
}

function failed(why: string): UnreachableError {
  return new UnreachableError('MCM_CHECK_FAILED', `mcm up --check: ${why}`, {
    hint: 'this machine may forbid listening on loopback; otherwise report it',
  })
}
