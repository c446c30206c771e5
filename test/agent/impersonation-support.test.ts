import { expect, test } from 'vitest'
import { impersonationSupport } from '../../src/agent/impersonation-support.ts'
import type { KubernetesRequest } from '../../src/client/kubernetes.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'

const AGENT = 'User "system:serviceaccount:mcm-system:mcm-agent" cannot'
/** As kube-apiserver 1.36.3 and 1.33.13 say it. */
const CONSTRAINED = `forbidden: ${AGENT} impersonate-on:user-info:get path "/api"`
const LEGACY = `users "mcm-probe" is forbidden: ${AGENT} impersonate resource "users" in API group "" at the cluster scope`

function server(status: number, body: string) {
  const seen: KubernetesRequest[] = []
  const transport = async (request: KubernetesRequest) => {
    seen.push(request)
    const bytes = (async function* () {
      yield Buffer.from(body)
    })()
    return { status, headers: {}, body: bytes }
  }
  const world = new FrozenWorld()
  const log = new RecordedLog()
  return { seen, world, log, support: impersonationSupport(transport, { world, log }) }
}
const refusal = (message: string) => server(403, JSON.stringify({ kind: 'Status', message }))

test('the refusal of an account that may impersonate nobody tells the form', async () => {
  expect(await refusal(CONSTRAINED).support.current()).toBe('constrained')
  expect(await refusal(LEGACY).support.current()).toBe('legacy')
})

test.each([
  ['it is allowed', 200, '{}'],
  ['other words', 403, '{"message":"no"}'],
  ['no JSON', 403, '<html>'],
  ['no such server', 503, '{"message":"cannot impersonate:user-info "}'],
])('nothing is concluded from an answer that says something else: %s', async (_, status, body) => {
  const { support } = server(status, body)
  expect(await support.current()).toBeUndefined()
})

test('it is asked for a name that nobody has, once a minute at most', async () => {
  const { support, seen } = refusal(LEGACY)
  await support.current()
  await support.current()
  expect(seen).toHaveLength(1)
  expect(seen[0]!.headers?.['impersonate-user']).toBe('mcm-probe')
})

test('what could not be told is asked again, every ten seconds at most', async () => {
  const { support, seen, world } = server(500, '')
  await support.current()
  await support.current()
  expect(seen).toHaveLength(1)
  world.advance(10_000)
  await support.current()
  expect(seen).toHaveLength(2)
})

test('however many want to know at once, the API server is asked once', async () => {
  const { support, seen } = refusal(CONSTRAINED)
  const told = await Promise.all(Array.from({ length: 50 }, () => support.current()))
  expect(new Set(told)).toEqual(new Set(['constrained']))
  expect(seen).toHaveLength(1)
})
