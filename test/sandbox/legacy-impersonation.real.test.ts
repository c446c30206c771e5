/** Impersonation before 1.36, against a real 1.33: the same words without the constrained modes. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { RunningSandbox } from '../../src/sandbox/server.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { type Answer, ask, type Target } from './http-client.ts'
import { normalized } from './normalized.ts'
import { runningSandbox } from './running-sandbox.ts'
import { impersonating, impersonatorSetup, type Step } from './same-requests.ts'

const possible = await apiServerIsPossible('1.33.13')
if (!possible.possible) skipLoudly('legacy impersonation as in a real API server', possible)

describe.runIf(possible.possible)('legacy impersonation as in a real API server', () => {
  let real: ApiServer
  let sandbox: RunningSandbox
  let targets: readonly Target[]

  beforeAll(async () => {
    ;[real, sandbox] = await Promise.all([
      startApiServer({ version: '1.33.13' }),
      runningSandbox({ kubernetesVersion: 'v1.33.13' }),
    ])
    const admins: Target[] = [
      { url: real.url, caPem: real.caPem, cert: real.admin },
      { url: sandbox.address.url, caPem: sandbox.caPem, token: sandbox.adminToken.reveal() },
    ]
    targets = await Promise.all(admins.map(asImpersonator))
  })

  afterAll(async () => {
    await Promise.all([real?.stop(), sandbox?.stop()])
  })

  test.each(impersonating.filter(hasUser))('$title', async (step) => {
    const [there, here] = await Promise.all(targets.map((target) => ask(target, step)))
    expect(comparable(here!)).toEqual(comparable(there!))
  })
})

/** Groups, uids and extras without a user: 1.33 calls that its own error (500), the sandbox the client's (400). */
function hasUser({ headers = [] }: Step): boolean {
  const user = headers.find(([name]) => name === 'Impersonate-User')
  return (
    headers.length === 0 ||
    (user !== undefined &&
      (user[1] !== '' || headers.every(([name]) => name === 'Impersonate-User')))
  )
}

async function asImpersonator(admin: Target): Promise<Target> {
  for (const step of impersonatorSetup) await ask(admin, step)
  const path = '/api/v1/namespaces/default/serviceaccounts/impersonator/token'
  const { json } = await ask(admin, { method: 'POST', path, body: {} })
  const { token } = (json as { status: { token: string } }).status
  const target = { url: admin.url, caPem: admin.caPem, token }
  // The real authorizer learns of roles and bindings through a watch.
  const review = { path: '/version', headers: [['Impersonate-User', 'mcm:bob']] as const }
  await vi.waitFor(async () => expect((await ask(target, review)).status).toBe(200), 5000)
  return target
}

function comparable({ status, json, text }: Answer): unknown {
  const body = normalized(json ?? text) as { gitVersion?: string }
  return { status, body: body.gitVersion === undefined ? body : body.gitVersion }
}
