import { expect, test } from 'vitest'
import { type KubernetesTransport, openKubernetes } from '../../src/client/kubernetes.ts'
import { actingAs } from '../../src/device/direct-api.ts'
import { setUpFence, writeFence } from '../../src/device/fence.ts'
import type { FleetSession } from '../../src/device/fleet-session.ts'
import type { KubeconfigFiles } from '../../src/kubeconfig/file.ts'

const ROLE = '/apis/rbac.authorization.k8s.io/v1/clusterroles/mcm-impersonator'
const DENIED =
  'clusterroles.rbac.authorization.k8s.io "mcm-impersonator" is forbidden: ' +
  "ValidatingAdmissionPolicy 'mcm-agent-names' with binding 'mcm-agent-names' denied request: " +
  'the agent changes the list of users and nothing else'

/** An API server that says to each try what the list says, and then again the last. */
function apiServer(minor: string, ...tries: { status: number; message: string }[]) {
  const calls: string[] = []
  const tried: Readonly<Record<string, string>>[] = []
  const transport: KubernetesTransport = async ({ method, path, headers = {} }) => {
    const answer = (status: number, body: object) => ({
      status,
      headers: { 'content-type': 'application/json' },
      body: (async function* () {
        yield Buffer.from(JSON.stringify(body))
      })(),
    })
    if (path === '/version') return answer(200, { major: '1', minor, gitVersion: `v1.${minor}.0` })
    if (method === 'GET') return answer(200, { metadata: { name: 'mcm-impersonator' }, rules: [] })
    if (method === 'PATCH') {
      calls.push(path.split('?')[0]!.split('/').slice(-2).join('/'))
      return answer(200, {})
    }
    expect([method, path]).toEqual(['PUT', `${ROLE}?dryRun=All`])
    tried.push(headers)
    const { status, message } = tries.length > 1 ? tries.shift()! : tries[0]!
    return answer(status, { kind: 'Status', status: 'Failure', code: status, message })
  }
  const { signal } = new AbortController()
  const setUp = (waitMs: number) =>
    setUpFence(openKubernetes(transport), actingAs(transport), 'mcm:', { signal, waitMs })
  return { calls, tried, setUp }
}

const FENCE = [
  'validatingadmissionpolicies/mcm-agent-names',
  'validatingadmissionpolicybindings/mcm-agent-names',
]
const RIGHT = ['clusterroles/mcm-agent-names', 'clusterrolebindings/mcm-agent-names']

test('the right comes after the policy has refused the agent what it forbids, without effect', async () => {
  const { calls, tried, setUp } = apiServer(
    '30',
    { status: 200, message: '' },
    { status: 422, message: DENIED },
  )
  await setUp(5_000)
  expect(calls).toEqual([...FENCE, ...RIGHT])
  expect(tried).toHaveLength(2)
  expect(tried[0]).toMatchObject({
    'impersonate-user': 'system:serviceaccount:mcm-system:mcm-agent',
    'impersonate-group': 'system:masters',
  })
})

test.each([
  ['enforces nothing', 200, '', 'does not enforce'],
  ['refuses by RBAC', 403, 'clusterrole "mcm-agent-names" not found', 'could not be tried'],
  ['refuses to impersonate', 403, 'cannot impersonate', 'could not be tried'],
  ['refuses by another policy', 422, "ValidatingAdmissionPolicy 'x' denied", 'could not be tried'],
  ['fails', 500, 'internal', 'could not be tried'],
])('where the API server %s the agent gets no right', async (_, status, message, sentence) => {
  const { calls, setUp } = apiServer('36', { status, message })
  await expect(setUp(0)).rejects.toThrow(sentence)
  expect(calls).toEqual(FENCE)
})

test('a server before 1.30 gets nothing at all', async () => {
  const { calls, setUp } = apiServer('29', { status: 422, message: DENIED })
  await expect(setUp(0)).rejects.toThrow('that needs 1.30')
  expect(calls).toEqual([])
})

test('as files the right is apart, so that kubectl cannot give it without the fence', async () => {
  const written = new Map<string, string>()
  const writeFileAtomic = async (path: string, text: string) => void written.set(path, text)
  const clusters = new Map([['c-aaaaaaaaaa', { id: 'c-aaaaaaaaaa', name: 'idc', prefix: 'mcm:' }]])
  const session = { directory: { state: { clusters } } } as unknown as FleetSession
  const files = { writeFileAtomic } as unknown as KubeconfigFiles
  const done = await writeFence(session, 'c-aaaaaaaaaa', '/tmp/a.b/fence.yaml', files)
  expect(done.written).toEqual({ fence: '/tmp/a.b/fence.yaml', right: '/tmp/a.b/fence-right.yaml' })
  const kinds = [...written.values()].map((text) => text.match(/^kind: .*$/gm))
  expect(kinds).toEqual([
    ['kind: ValidatingAdmissionPolicy', 'kind: ValidatingAdmissionPolicyBinding'],
    ['kind: ClusterRole', 'kind: ClusterRoleBinding'],
  ])
})
