/** One sandbox for a test file, and short ways to talk to it. */
import { afterAll, beforeAll } from 'vitest'
import type { RunningSandbox, SandboxOptions } from '../../src/sandbox/server.ts'
import { type Answer, type Ask, ask, follow, type Target, type Watching } from './http-client.ts'
import { runningSandbox, type TestWorld, testWorld } from './running-sandbox.ts'

export interface Stage {
  readonly sandbox: RunningSandbox
  readonly world: TestWorld
  /** As the admin, unless a token is given: '' is nobody. */
  ask(asked: Ask & { readonly token?: string }): Promise<Answer>
  get(path: string, headers?: Ask['headers']): Promise<Answer>
  post(path: string, body: unknown, headers?: Ask['headers']): Promise<Answer>
  follow(path: string): Promise<Watching>
  /** A token of a service account in `default`, made when it is not there yet. */
  tokenOf(name: string, seconds?: number): Promise<string>
}

export function stage(options: SandboxOptions = {}): Stage {
  const world = testWorld()
  let sandbox: RunningSandbox

  beforeAll(async () => {
    sandbox = await runningSandbox(options, world)
  })
  afterAll(() => sandbox?.stop())

  const target = (token = sandbox.adminToken.reveal()): Target => ({
    url: sandbox.address.url,
    caPem: sandbox.caPem,
    ...(token && { token }),
  })
  const send: Stage['ask'] = ({ token, ...asked }) => ask(target(token), asked)
  const post: Stage['post'] = (path, body, headers = []) =>
    send({ method: 'POST', path, body, headers })
  return {
    get sandbox() {
      return sandbox
    },
    world,
    ask: send,
    get: (path, headers = []) => send({ path, headers }),
    post,
    follow: (path) => follow(target(), { path }),
    async tokenOf(name, seconds = 3600) {
      const accounts = '/api/v1/namespaces/default/serviceaccounts'
      await post(accounts, { metadata: { name } })
      const { json } = await post(`${accounts}/${name}/token`, {
        spec: { expirationSeconds: seconds },
      })
      return (json as { status: { token: string } }).status.token
    },
  }
}

/** The sentence of a Status. */
export function messageOf({ json }: Answer): string {
  return (json as { message?: string } | undefined)?.message ?? ''
}

export function as(user: string, ...groups: readonly string[]): [string, string][] {
  return [
    ['Impersonate-User', user],
    ...groups.map((group): [string, string] => ['Impersonate-Group', group]),
  ]
}

export const NS = '/api/v1/namespaces/default'
export const RBAC = '/apis/rbac.authorization.k8s.io/v1'

/** A role in `default` and its binding to a subject. */
export async function grant(
  { post }: Stage,
  name: string,
  rules: readonly object[],
  subject: object,
): Promise<void> {
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name }
  await post(`${RBAC}/clusterroles`, { metadata: { name }, rules })
  await post(`${RBAC}/clusterrolebindings`, { metadata: { name }, roleRef, subjects: [subject] })
}
