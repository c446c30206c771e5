import { describe, expect, test } from 'vitest'
import { as, grant, messageOf, NS, stage } from './stage.ts'

const on = stage()
const MAPS = `${NS}/configmaps`
const map = (name: string, rest: object = {}) => ({ metadata: { name }, ...rest })

interface Listed {
  readonly items: readonly { readonly metadata: { readonly name: string } }[]
  readonly metadata: {
    readonly continue?: string
    readonly remainingItemCount?: number
    readonly resourceVersion: string
  }
}

async function list(path: string): Promise<Listed> {
  return (await on.get(path)).json as Listed
}

describe('a life', () => {
  test('what was created twice, or is not there, is said in the real words', async () => {
    expect((await on.post(MAPS, map('twice'))).status).toBe(201)
    expect(messageOf(await on.post(MAPS, map('twice')))).toBe('configmaps "twice" already exists')
    expect(messageOf(await on.get(`${MAPS}/never`))).toBe('configmaps "never" not found')
    expect(messageOf(await on.get('/apis/apps/v1/namespaces/default/deployments/never'))).toBe(
      'deployments.apps "never" not found',
    )
  })

  test('an update from an old state is a conflict, and says what to do', async () => {
    const { json } = await on.post(MAPS, map('stale'))
    const old = json as object
    await on.ask({ method: 'PUT', path: `${MAPS}/stale`, body: { ...old, data: { a: '1' } } })
    const answer = await on.ask({
      method: 'PUT',
      path: `${MAPS}/stale`,
      body: { ...old, data: { a: '2' } },
    })
    expect(answer.status).toBe(409)
    expect(messageOf(answer)).toBe(
      'Operation cannot be fulfilled on configmaps "stale": the object has been modified; please apply your changes to the latest version and try again',
    )
  })

  test('of a hundred updates from one state exactly one wins', async () => {
    const { json } = await on.post(MAPS, map('race'))
    const tries = Array.from({ length: 100 }, (_, index) =>
      on.ask({
        method: 'PUT',
        path: `${MAPS}/race`,
        body: { ...(json as object), data: { winner: String(index) } },
      }),
    )
    const codes = (await Promise.all(tries)).map(({ status }) => status)
    expect(codes.filter((code) => code === 200)).toHaveLength(1)
    expect(codes.filter((code) => code === 409)).toHaveLength(99)
  })

  test('what a client cannot set stays what it is', async () => {
    const { json } = await on.post(MAPS, {
      metadata: {
        name: 'fixed',
        uid: 'mine',
        creationTimestamp: '2001-01-01T00:00:00Z',
        generation: 9,
      },
    })
    const { metadata } = json as {
      metadata: { uid: string; creationTimestamp: string; generation?: number }
    }
    expect(metadata.uid).not.toBe('mine')
    expect(metadata.creationTimestamp).not.toContain('2001')
    expect(metadata.generation).toBeUndefined()
    const patch = {
      metadata: {
        creationTimestamp: '2001-01-01T00:00:00Z',
        deletionTimestamp: '2001-01-01T00:00:00Z',
      },
    }
    const patched = await on.ask({
      method: 'PATCH',
      path: `${MAPS}/fixed`,
      contentType: 'application/merge-patch+json',
      body: patch,
    })
    expect(patched.json).toMatchObject({
      metadata: { creationTimestamp: metadata.creationTimestamp },
    })
    expect(JSON.stringify(patched.json)).not.toContain('deletionTimestamp')
  })

  test('a dry run answers as if, and leaves no trace', async () => {
    const { revision } = { revision: (await list(MAPS)).metadata.resourceVersion }
    expect((await on.post(`${MAPS}?dryRun=All`, map('dry'))).status).toBe(201)
    expect((await on.ask({ method: 'DELETE', path: `${MAPS}/twice?dryRun=All` })).status).toBe(200)
    const patch = {
      method: 'PATCH',
      path: `${MAPS}/twice?dryRun=All`,
      contentType: 'application/merge-patch+json',
      body: { data: { a: '1' } },
    }
    expect((await on.ask(patch)).json).toMatchObject({ data: { a: '1' } })
    expect((await on.get(`${MAPS}/dry`)).status).toBe(404)
    expect((await list(MAPS)).metadata.resourceVersion).toBe(revision)
  })

  test('generated names differ', async () => {
    const names = new Set<string>()
    for (let index = 0; index < 20; index++) {
      const { json } = await on.post(MAPS, { metadata: { generateName: 'gen-' } })
      names.add((json as { metadata: { name: string } }).metadata.name)
    }
    expect(names.size).toBe(20)
    expect([...names].every((name) => /^gen-[a-z0-9]{5}$/.test(name))).toBe(true)
  })

  test('a finalizer keeps an object until it is taken away', async () => {
    await on.post(MAPS, { metadata: { name: 'held', finalizers: ['example.com/hold'] } })
    const ending = await on.ask({ method: 'DELETE', path: `${MAPS}/held` })
    expect(ending.json).toMatchObject({ metadata: { deletionTimestamp: expect.any(String) } })
    expect((await on.get(`${MAPS}/held`)).status).toBe(200)
    await on.ask({
      method: 'PATCH',
      path: `${MAPS}/held`,
      contentType: 'application/merge-patch+json',
      body: { metadata: { finalizers: null } },
    })
    expect((await on.get(`${MAPS}/held`)).status).toBe(404)
  })

  test('a delete can insist on uid and revision', async () => {
    const { json } = await on.post(MAPS, map('sure'))
    const { uid, resourceVersion } = (
      json as { metadata: { uid: string; resourceVersion: string } }
    ).metadata
    const remove = (preconditions: object) =>
      on.ask({ method: 'DELETE', path: `${MAPS}/sure`, body: { preconditions } })
    expect((await remove({ uid: 'other' })).status).toBe(409)
    expect((await remove({ uid, resourceVersion: '1' })).status).toBe(409)
    expect((await remove({ uid, resourceVersion })).status).toBe(200)
  })
})

describe('namespaces', () => {
  test('a new one has its default service account at once', async () => {
    await on.post('/api/v1/namespaces', { metadata: { name: 'fresh' } })
    const { json } = await on.post('/api/v1/namespaces/fresh/serviceaccounts/default/token', {})
    expect(json).toMatchObject({ status: { token: expect.any(String) } })
  })

  test('deleting one takes everything in it, and tokens of its accounts', async () => {
    await on.post('/api/v1/namespaces', { metadata: { name: 'gone' } })
    await on.post('/api/v1/namespaces/gone/configmaps', map('one'))
    const { json } = await on.post('/api/v1/namespaces/gone/serviceaccounts/default/token', {})
    const { token } = (json as { status: { token: string } }).status
    await on.ask({ method: 'DELETE', path: '/api/v1/namespaces/gone' })
    expect((await on.get('/api/v1/namespaces/gone')).status).toBe(404)
    expect((await list('/api/v1/namespaces/gone/configmaps')).items).toEqual([])
    expect((await on.ask({ path: '/api', token })).status).toBe(401)
    expect(messageOf(await on.post('/api/v1/namespaces/gone/configmaps', map('two')))).toBe(
      'namespaces "gone" not found',
    )
  })

  test('one with a held object in it waits for that, and takes nothing new', async () => {
    await on.post('/api/v1/namespaces', { metadata: { name: 'waiting' } })
    const maps = '/api/v1/namespaces/waiting/configmaps'
    await on.post(maps, { metadata: { name: 'held', finalizers: ['example.com/hold'] } })
    await on.ask({ method: 'DELETE', path: '/api/v1/namespaces/waiting' })
    expect((await on.get('/api/v1/namespaces/waiting')).json).toMatchObject({
      status: { phase: 'Terminating' },
    })
    expect(messageOf(await on.post(maps, map('late')))).toContain('because it is being terminated')
    await on.ask({
      method: 'PATCH',
      path: `${maps}/held`,
      contentType: 'application/merge-patch+json',
      body: { metadata: { finalizers: [] } },
    })
    expect((await on.get('/api/v1/namespaces/waiting')).status).toBe(404)
  })

  test('default and kube-system stay', async () => {
    for (const name of ['default', 'kube-system', 'kube-public'])
      expect((await on.ask({ method: 'DELETE', path: `/api/v1/namespaces/${name}` })).status).toBe(
        403,
      )
  })
})

describe('lists', () => {
  test('pieces make up the whole, as it was when it was asked for', async () => {
    await on.post('/api/v1/namespaces', { metadata: { name: 'many' } })
    const maps = '/api/v1/namespaces/many/configmaps'
    for (let index = 0; index < 5; index++) await on.post(maps, map(`m${index}`))
    const first = await list(`${maps}?limit=2`)
    expect(first.metadata.remainingItemCount).toBe(3)
    await on.post(maps, map('m00'))
    await on.ask({ method: 'DELETE', path: `${maps}/m4` })
    const second = await list(`${maps}?limit=2&continue=${first.metadata.continue}`)
    const third = await list(`${maps}?limit=2&continue=${second.metadata.continue}`)
    const names = [first, second, third].flatMap(({ items }) =>
      items.map(({ metadata }) => metadata.name),
    )
    expect(names).toEqual(['m0', 'm1', 'm2', 'm3', 'm4'])
    expect(third.metadata.continue).toBeUndefined()
    expect(second.metadata.resourceVersion).toBe(first.metadata.resourceVersion)
  })

  test('a piece asked for too late is gone', async () => {
    const { metadata } = await list('/api/v1/namespaces?limit=1')
    on.world.pass(6 * 60_000)
    expect((await on.get(`/api/v1/namespaces?limit=1&continue=${metadata.continue}`)).status).toBe(
      410,
    )
  })

  test('a continue token opens only the list it was given for', async () => {
    for (const name of ['s1', 's2']) await on.post(`${NS}/secrets`, map(name))
    const { metadata } = await list('/api/v1/secrets?limit=1')
    expect(metadata.continue).toBeDefined()
    const rule = { apiGroups: [''], resources: ['configmaps'], verbs: ['list'] }
    await grant(on, 'lister', [rule], {
      kind: 'User',
      name: 'lister',
      apiGroup: 'rbac.authorization.k8s.io',
    })
    const answer = await on.get(`/api/v1/configmaps?continue=${metadata.continue}`, as('lister'))
    expect(answer.status).toBeGreaterThanOrEqual(400)
  })

  test('a revision from the future is not waited for', async () => {
    const answer = await on.get(`${MAPS}?resourceVersion=99999999`)
    expect(answer.status).toBe(504)
    expect(answer.headers['retry-after']).toBe('1')
  })
})

describe('kinds', () => {
  test('a pod is pending when it is created, whatever its creator says', async () => {
    const { json } = await on.post(`${NS}/pods`, {
      metadata: { name: 'p' },
      spec: { containers: [{ name: 'c', image: 'x' }] },
      status: { phase: 'Running' },
    })
    expect(json).toMatchObject({ status: { phase: 'Pending', qosClass: 'BestEffort' } })
  })

  test('a pod of a service account that is not there is refused', async () => {
    const answer = await on.post(`${NS}/pods`, {
      metadata: { name: 'q' },
      spec: { serviceAccountName: 'absent', containers: [{ name: 'c', image: 'x' }] },
    })
    expect(messageOf(answer)).toBe(
      'pods "q" is forbidden: error looking up service account default/absent: serviceaccount "absent" not found',
    )
  })

  test('status and the rest are two doors', async () => {
    const path = '/apis/apps/v1/namespaces/default/deployments/web'
    const patch = (to: string, body: object) =>
      on.ask({ method: 'PATCH', path: to, contentType: 'application/merge-patch+json', body })
    await patch(path, { spec: { replicas: 4 }, status: { replicas: 99 } })
    await patch(`${path}/status`, { spec: { replicas: 77 }, status: { readyReplicas: 1 } })
    expect((await on.get(path)).json).toMatchObject({
      spec: { replicas: 4 },
      status: { replicas: 2, readyReplicas: 1 },
    })
  })

  test('service addresses are given once each', async () => {
    const addresses = new Set<string>()
    for (const name of ['a', 'b', 'c']) {
      const { json } = await on.post(`${NS}/services`, {
        metadata: { name },
        spec: { ports: [{ port: 80 }] },
      })
      addresses.add((json as { spec: { clusterIP: string } }).spec.clusterIP)
    }
    expect(addresses.size).toBe(3)
  })

  test('an admission policy is stored, and the answer says that it is not enforced', async () => {
    const path = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies'
    const rules = [
      { apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] },
    ]
    const answer = await on.post(path, {
      metadata: { name: 'p' },
      spec: { matchConstraints: { resourceRules: rules }, validations: [{ expression: 'false' }] },
    })
    expect(answer.status).toBe(201)
    expect(answer.headers.warning).toBe(
      '299 - "the sandbox stores validatingadmissionpolicies and does not enforce them"',
    )
  })
})
