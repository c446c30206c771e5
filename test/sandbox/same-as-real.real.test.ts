/**
 * The sandbox against a real kube-apiserver: the same requests, the same answers. What differs by its
 * nature (names of admins, times, identifiers, managers' user agent) is made equal first.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RunningSandbox } from '../../src/sandbox/server.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import {
  type Answer,
  type Ask,
  ask,
  follow,
  type Target,
  type WatchedEvent,
} from './http-client.ts'
import { normalized } from './normalized.ts'
import { runningSandbox } from './running-sandbox.ts'
import {
  constrainedSetup,
  impersonating,
  impersonatorSetup,
  STEPS,
  type Step,
} from './same-requests.ts'

const TABLE = [['Accept', 'application/json;as=Table;v=v1;g=meta.k8s.io']] as const
const PARTIAL = [
  ['Accept', 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io'],
] as const
const INITIAL = 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true'

/** A server sends these when its own clock says so, once a minute or so. */
const isTimedBookmark = ({ type, object }: WatchedEvent) =>
  type === 'BOOKMARK' && !JSON.stringify(object).includes('"k8s.io/initial-events-end":"true"')

const possible = await apiServerIsPossible('1.36.3')
if (!possible.possible) skipLoudly('the sandbox answers as a real API server', possible)

describe.runIf(possible.possible)('the sandbox answers as a real API server', () => {
  let real: ApiServer
  let sandbox: RunningSandbox
  let targets: readonly [Target, Target]

  beforeAll(async () => {
    ;[real, sandbox] = await Promise.all([
      startApiServer({ version: '1.36.3' }),
      runningSandbox({ kubernetesVersion: 'v1.36.3', runsPods: false }),
    ])
    targets = [
      { url: real.url, caPem: real.caPem, cert: real.admin },
      { url: sandbox.address.url, caPem: sandbox.caPem, token: sandbox.adminToken.reveal() },
    ]
    const [realTarget, sandboxTarget] = targets
    for (const kind of ['pods', 'services', 'configmaps'])
      await ask(sandboxTarget, { method: 'DELETE', path: `/api/v1/namespaces/default/${kind}` })
    await ask(sandboxTarget, {
      method: 'DELETE',
      path: '/apis/apps/v1/namespaces/default/deployments',
    })
    await ask(sandboxTarget, { method: 'DELETE', path: '/api/v1/nodes/sandbox-node' })
    const account = { metadata: { name: 'default' } }
    await ask(realTarget, {
      method: 'POST',
      path: '/api/v1/namespaces/default/serviceaccounts',
      body: account,
    })
  })

  afterAll(async () => {
    await Promise.all([real?.stop(), sandbox?.stop()])
  })

  async function both(
    step: Step,
    of: readonly [Target, Target] = targets,
  ): Promise<[unknown, unknown]> {
    const [there, here] = await Promise.all(of.map((target) => ask(target, step)))
    // The real authorizer learns of roles and bindings through a watch.
    const isRbac = step.path.includes('rbac.authorization') && step.method !== undefined
    if (isRbac) await new Promise((resolve) => setTimeout(resolve, 100))
    return [comparable(there!), comparable(here!)]
  }

  test.each(STEPS)('$title', async (step) => {
    const [there, here] = await both(step)
    expect(here).toEqual(there)
  })

  test.each(impersonatorSetup)('$title', async (step) => {
    const [there, here] = await both(step)
    expect(here).toEqual(there)
  })

  describe('watches', () => {
    const path = '/api/v1/namespaces/default/configmaps'
    const configMap = (name: string, labels: Record<string, string>) => ({
      metadata: { name, labels },
    })

    /** Everything a watch says while objects come, change and go, on one server. */
    async function eventsOn(
      target: Target,
      query: string,
      headers: Ask['headers'] = [],
    ): Promise<unknown[]> {
      const send = (method: string, name: string, body?: object) =>
        ask(target, {
          method,
          path: method === 'POST' ? path : `${path}/${name}`,
          contentType: method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
          ...(body && { body }),
        })
      const { json } = await ask(target, { path })
      const { resourceVersion } = (json as { metadata: { resourceVersion: string } }).metadata
      const watching = await follow(target, {
        path: `${path}?watch=1&${query.replace('NOW', resourceVersion)}`,
        headers,
      })
      await send('POST', 'w1', configMap('w1', { watched: 'yes' }))
      await send('POST', 'w2', configMap('w2', { watched: 'no' }))
      await send('PATCH', 'w2', configMap('w2', { watched: 'yes' }))
      await send('PATCH', 'w1', { data: { a: '1' } })
      await send('PATCH', 'w1', configMap('w1', { watched: 'no' }))
      await send('DELETE', 'w1')
      await send('DELETE', 'w2')
      const events: unknown[] = []
      const isLast = ({ type, object }: WatchedEvent) => {
        const row = (object.rows as { object: { metadata: { name: string } } }[] | undefined)?.[0]
        return type === 'DELETED' && (row?.object ?? object).metadata.name === 'w2'
      }
      for (;;) {
        const event = await watching.next()
        if (!isTimedBookmark(event)) events.push(normalized(event))
        if (isLast(event)) break
      }
      watching.close()
      return events
    }

    test.each([
      ['from a revision, by label', 'labelSelector=watched%3Dyes&resourceVersion=NOW', []],
      ['from a revision, all of a namespace', 'resourceVersion=NOW', []],
      ['by name', 'fieldSelector=metadata.name%3Dw2&resourceVersion=NOW', []],
      ['as tables', 'labelSelector=watched%3Dyes&resourceVersion=NOW', TABLE],
      ['as metadata', 'labelSelector=watched%3Dyes&resourceVersion=NOW', PARTIAL],
      ['with initial events', `${INITIAL}&labelSelector=watched%3Dyes`, []],
      ['with initial events as tables', INITIAL, TABLE],
      ['from the most recent state', 'resourceVersion=', []],
    ] as const)('%s', async (_, query, headers) => {
      const [there, here] = await Promise.all(
        targets.map((target) => eventsOn(target, query, headers)),
      )
      expect(here).toEqual(there)
    })

    test.each([
      'resourceVersionMatch=Exact',
      'sendInitialEvents=true',
      'sendInitialEvents=true&resourceVersionMatch=Exact',
      'resourceVersion=x',
      'labelSelector=%21%21',
    ])('refused: %s', async (query) => {
      const [there, here] = await both({ title: query, path: `${path}?watch=1&${query}` })
      expect(here).toEqual(there)
    })
  })

  test.each([
    ['a list', { path: '/api/v1/namespaces/default/pods?limit=5' }],
    ['a refusal', { path: '/api/v1/nodes', headers: [['Impersonate-User', 'bob']] }],
    [
      'a get as somebody else',
      {
        path: '/version',
        headers: [
          ['Impersonate-User', 'bob'],
          ['Impersonate-Group', 'dev'],
          ['Impersonate-Uid', '7'],
          ['Impersonate-Extra-a.b%2Fc', 'd'],
        ],
      },
    ],
    [
      'a create',
      {
        method: 'POST',
        path: '/api/v1/namespaces/default/configmaps',
        body: { metadata: { name: 'audited' } },
      },
    ],
    [
      'a conflict',
      {
        method: 'POST',
        path: '/api/v1/namespaces/default/configmaps',
        body: { metadata: { name: 'audited' } },
      },
    ],
    [
      'a patch',
      {
        method: 'PATCH',
        path: '/api/v1/namespaces/default/configmaps/audited',
        contentType: 'application/merge-patch+json',
        body: {},
      },
    ],
    [
      'an update',
      {
        method: 'PUT',
        path: '/api/v1/namespaces/default/configmaps/audited',
        body: { metadata: { name: 'audited' } },
      },
    ],
    ['a delete', { method: 'DELETE', path: '/api/v1/namespaces/default/configmaps/audited' }],
    ['what is not there', { path: '/apis/apps/v1/namespaces/default/deployments/absent' }],
    ['a subresource', { path: '/api/v1/namespaces/default/pods/absent/log?tailLines=1' }],
    [
      'forwarded addresses',
      { path: '/version', headers: [['X-Forwarded-For', '192.0.2.1, 192.0.2.2']] },
    ],
    ['a bad impersonation', { path: '/version', headers: [['Impersonate-Group', 'x']] }],
  ] as [string, Ask][])('the audit of %s', async (title, asked) => {
    const id = `audit-${title.replaceAll(' ', '-')}`
    const headers = [...(asked.headers ?? []), ['Audit-ID', id]] as const
    await Promise.all(targets.map((target) => ask(target, { ...asked, headers })))
    const eventOf = (events: readonly { auditID: string; stage: string }[]) =>
      comparableEvent(events.find((one) => one.auditID === id && one.stage === 'ResponseComplete'))
    const here = eventOf(sandbox.auditEvents())
    await expect.poll(async () => eventOf(await real.auditEvents())).toEqual(here)
    expect(here).toBeDefined()
  })

  describe('with the token of an impersonator', () => {
    let tokens: readonly [Target, Target]

    beforeAll(async () => {
      const path = '/api/v1/namespaces/default/serviceaccounts/impersonator/token'
      const answers = await Promise.all(
        targets.map((one) => ask(one, { method: 'POST', path, body: {} })),
      )
      const of = targets.map(({ url, caPem }, index) => {
        const { status } = answers[index]!.json as { status: { token: string } }
        return { url, caPem, token: status.token }
      })
      tokens = [of[0]!, of[1]!]
    })

    test.each(impersonating)('legacy: $title', async (step) => {
      const [there, here] = await both(step, tokens)
      expect(here).toEqual(there)
    })

    test.each(constrainedSetup)('$title', async (step) => {
      const [there, here] = await both(step)
      expect(here).toEqual(there)
    })

    test.each(impersonating)('constrained: $title', async (step) => {
      const [there, here] = await both(step, tokens)
      expect(here).toEqual(there)
    })
  })
})

function comparable(answer: Answer): unknown {
  const warning = String(answer.headers.warning ?? '').replace(/.*the sandbox stores.*/, '')
  return { status: answer.status, warning, body: normalized(answer.json ?? answer.text) }
}

/** How the two admins prove who they are differs, and so does the reason given for what they may do. */
function comparableEvent(event: object | undefined): unknown {
  if (!event) return undefined
  const { user, requestReceivedTimestamp, stageTimestamp, annotations, ...rest } = event as Record<
    string,
    unknown
  >
  const { username } = user as { username: string }
  const { 'authorization.k8s.io/decision': decision } = (annotations ?? {}) as Record<
    string,
    string
  >
  const isTimed = typeof requestReceivedTimestamp === 'string' && typeof stageTimestamp === 'string'
  return normalized({ ...rest, username, decision, isTimed })
}
