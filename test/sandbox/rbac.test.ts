import { describe, expect, test } from 'vitest'
import { as, grant, messageOf, NS, RBAC, stage } from './stage.ts'

const on = stage()
const person = (name: string) => ({ kind: 'User', name, apiGroup: 'rbac.authorization.k8s.io' })
const pods = (verbs: string[], rest: object = {}) => ({
  apiGroups: [''],
  resources: ['pods'],
  verbs,
  ...rest,
})
const SELF_REVIEW = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'

async function mayI(user: string, attributes: object): Promise<boolean> {
  const { json } = await on.post(SELF_REVIEW, { spec: attributes }, as(user))
  return (json as { status: { allowed: boolean } }).status.allowed
}

describe('the words of a refusal', () => {
  test.each([
    [
      `${NS}/pods`,
      'pods is forbidden: User "mcm:bob" cannot list resource "pods" in API group "" in the namespace "default"',
    ],
    [
      `${NS}/pods/x`,
      'pods "x" is forbidden: User "mcm:bob" cannot get resource "pods" in API group "" in the namespace "default"',
    ],
    [
      `${NS}/pods/x/log`,
      'pods "x" is forbidden: User "mcm:bob" cannot get resource "pods/log" in API group "" in the namespace "default"',
    ],
    [
      '/api/v1/nodes',
      'nodes is forbidden: User "mcm:bob" cannot list resource "nodes" in API group "" at the cluster scope',
    ],
    [
      '/apis/apps/v1/namespaces/a/deployments?watch=1',
      'deployments.apps is forbidden: User "mcm:bob" cannot watch resource "deployments" in API group "apps" in the namespace "a"',
    ],
    ['/metrics', 'forbidden: User "mcm:bob" cannot get path "/metrics"'],
  ])('%s', async (path, message) => {
    const answer = await on.get(path, as('mcm:bob'))
    expect(answer.status).toBe(403)
    expect(messageOf(answer)).toBe(message)
  })

  test('what does not exist is refused like what does', async () => {
    expect((await on.get('/apis/widgets.example/v1/widgets', as('mcm:bob'))).status).toBe(403)
    expect((await on.get(`${NS}/pods/absent`, as('mcm:bob'))).status).toBe(403)
  })
})

describe('rules', () => {
  test('resourceNames hold, and do not cover lists of everything', async () => {
    await grant(
      on,
      'named',
      [pods(['get', 'list', 'delete'], { resourceNames: ['only'] })],
      person('named'),
    )
    const get = (path: string) => on.get(path, as('named'))
    expect((await get(`${NS}/pods/only`)).status).toBe(404)
    expect((await get(`${NS}/pods/other`)).status).toBe(403)
    expect((await get(`${NS}/pods`)).status).toBe(403)
    expect((await get(`${NS}/pods?fieldSelector=metadata.name%3Donly`)).status).toBe(200)
    expect((await get(`${NS}/pods?fieldSelector=metadata.name%3Dother`)).status).toBe(403)
    const all = await on.ask({ method: 'DELETE', path: `${NS}/pods`, headers: as('named') })
    expect(all.status).toBe(403)
  })

  test('a list by name shows only that name', async () => {
    for (const name of ['only', 'other']) await on.post(`${NS}/configmaps`, { metadata: { name } })
    const { json } = await on.get(`${NS}/configmaps?fieldSelector=metadata.name%3Donly`)
    expect((json as { items: object[] }).items).toHaveLength(1)
  })

  test('a resource does not cover its subresources, nor they it', async () => {
    await grant(
      on,
      'logs',
      [{ apiGroups: [''], resources: ['pods/log', '*/status'], verbs: ['get'] }],
      person('logs'),
    )
    const attributes = { namespace: 'default', verb: 'get', resource: 'pods' }
    const may = (subresource: string) =>
      mayI('logs', { resourceAttributes: { ...attributes, subresource } })
    expect(await may('log')).toBe(true)
    expect(await may('status')).toBe(true)
    expect(await may('')).toBe(false)
    expect(await may('exec')).toBe(false)
  })

  test('pods/* is no wildcard', async () => {
    await grant(
      on,
      'star',
      [{ apiGroups: [''], resources: ['pods/*'], verbs: ['*'] }],
      person('star'),
    )
    expect(
      await mayI('star', {
        resourceAttributes: { verb: 'get', resource: 'pods', subresource: 'log' },
      }),
    ).toBe(false)
  })

  test('non-resource paths match exactly or before a last star', async () => {
    await grant(
      on,
      'paths',
      [{ nonResourceURLs: ['/a', '/b/*', '/c*'], verbs: ['get'] }],
      person('paths'),
    )
    const may = (path: string) => mayI('paths', { nonResourceAttributes: { verb: 'get', path } })
    const allowed = ['/a', '/b/', '/b/x/y', '/c', '/cd']
    const refused = ['/a/', '/b', '/A', '/x']
    for (const path of allowed) expect([path, await may(path)]).toEqual([path, true])
    for (const path of refused) expect([path, await may(path)]).toEqual([path, false])
  })

  test('a role binding gives nothing outside its namespace, not even of a cluster role', async () => {
    const roleRef = {
      apiGroup: 'rbac.authorization.k8s.io',
      kind: 'ClusterRole',
      name: 'cluster-admin',
    }
    await on.post(`${RBAC}/namespaces/kube-public/rolebindings`, {
      metadata: { name: 'x' },
      roleRef,
      subjects: [person('local')],
    })
    expect((await on.get('/api/v1/namespaces/kube-public/secrets', as('local'))).status).toBe(200)
    for (const path of [`${NS}/secrets`, '/api/v1/secrets', '/api/v1/nodes', '/metrics'])
      expect((await on.get(path, as('local'))).status).toBe(403)
  })

  test('a service account of another namespace is somebody else', async () => {
    await grant(on, 'account', [pods(['list'])], {
      kind: 'ServiceAccount',
      name: 'bot',
      namespace: 'a',
    })
    expect((await on.get(`${NS}/pods`, as('system:serviceaccount:a:bot'))).status).toBe(200)
    expect((await on.get(`${NS}/pods`, as('system:serviceaccount:b:bot'))).status).toBe(403)
  })

  test('rights end with the binding, and with the role', async () => {
    await grant(on, 'brief', [pods(['list'])], person('brief'))
    expect((await on.get(`${NS}/pods`, as('brief'))).status).toBe(200)
    await on.ask({ method: 'DELETE', path: `${RBAC}/clusterroles/brief` })
    const answer = await on.get(`${NS}/pods`, as('brief'))
    expect(messageOf(answer)).toContain(
      'RBAC: clusterrole.rbac.authorization.k8s.io "brief" not found',
    )
  })

  test('view, edit and admin are what their names say', async () => {
    const roleRef = (name: string) => ({
      apiGroup: 'rbac.authorization.k8s.io',
      kind: 'ClusterRole',
      name,
    })
    for (const name of ['view', 'edit', 'admin'])
      await on.post(`${RBAC}/namespaces/default/rolebindings`, {
        metadata: { name },
        roleRef: roleRef(name),
        subjects: [person(name)],
      })
    const may = (user: string, verb: string, resource: string, group = '') =>
      mayI(user, { resourceAttributes: { verb, resource, group, namespace: 'default' } })
    expect(await may('view', 'list', 'pods')).toBe(true)
    expect(await may('view', 'get', 'secrets')).toBe(false)
    expect(await may('view', 'create', 'pods')).toBe(false)
    expect(await may('edit', 'create', 'deployments', 'apps')).toBe(true)
    expect(await may('edit', 'create', 'roles', 'rbac.authorization.k8s.io')).toBe(false)
    expect(await may('admin', 'create', 'roles', 'rbac.authorization.k8s.io')).toBe(true)
    expect(await may('admin', 'list', 'nodes')).toBe(false)
  })
})

describe('escalation', () => {
  const writer = async (name: string, more: object[] = []) => {
    const rule = {
      apiGroups: ['rbac.authorization.k8s.io'],
      resources: ['roles', 'clusterroles', 'rolebindings', 'clusterrolebindings'],
      verbs: ['create', 'get', 'update', 'patch'],
    }
    await grant(on, name, [rule, ...more], person(name))
    return name
  }

  test('nobody makes a role of rights they lack', async () => {
    const user = await writer('maker', [pods(['get'])])
    const make = (name: string, rules: object[]) =>
      on.post(`${RBAC}/clusterroles`, { metadata: { name }, rules }, as(user))
    expect((await make('held', [pods(['get'])])).status).toBe(201)
    const answer = await make('more', [pods(['get', 'delete'])])
    expect(answer.status).toBe(403)
    expect(messageOf(answer)).toBe(
      'clusterroles.rbac.authorization.k8s.io "more" is forbidden: user "maker" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}',
    )
    expect(
      (await make('star', [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }])).status,
    ).toBe(403)
  })

  test('a named right does not stand for the whole', async () => {
    const user = await writer('named-maker', [pods(['get'], { resourceNames: ['a'] })])
    const make = (name: string, rules: object[]) =>
      on.post(`${RBAC}/clusterroles`, { metadata: { name }, rules }, as(user))
    expect((await make('n1', [pods(['get'], { resourceNames: ['a'] })])).status).toBe(201)
    expect((await make('n2', [pods(['get'], { resourceNames: ['a', 'b'] })])).status).toBe(403)
    expect((await make('n3', [pods(['get'])])).status).toBe(403)
  })

  test('nobody binds a role of rights they lack, nor widens one by PATCH, PUT or apply', async () => {
    const user = await writer('binder')
    const roleRef = {
      apiGroup: 'rbac.authorization.k8s.io',
      kind: 'ClusterRole',
      name: 'cluster-admin',
    }
    const binding = { metadata: { name: 'mine' }, roleRef, subjects: [person(user)] }
    expect((await on.post(`${RBAC}/clusterrolebindings`, binding, as(user))).status).toBe(403)
    expect(
      (await on.post(`${RBAC}/namespaces/default/rolebindings`, binding, as(user))).status,
    ).toBe(403)
    const rules = [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }]
    const path = `${RBAC}/clusterroles/binder`
    const headers = as(user)
    const ways = [
      {
        method: 'PATCH',
        path,
        headers,
        contentType: 'application/merge-patch+json',
        body: { rules },
      },
      {
        method: 'PATCH',
        path,
        headers,
        contentType: 'application/json-patch+json',
        body: [{ op: 'replace', path: '/rules', value: rules }],
      },
      { method: 'PUT', path, headers, body: { metadata: { name: 'binder' }, rules } },
      {
        method: 'PATCH',
        path: `${path}?fieldManager=x&force=true`,
        headers,
        contentType: 'application/apply-patch+yaml',
        body: { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', rules },
      },
    ]
    for (const way of ways) expect((await on.ask(way)).status).toBe(403)
  })

  test('escalate and bind are the ways around it, and resourceNames bound them', async () => {
    const user = await writer('trusted', [
      {
        apiGroups: ['rbac.authorization.k8s.io'],
        resources: ['clusterroles'],
        verbs: ['escalate', 'bind'],
        resourceNames: ['given'],
      },
    ])
    await on.post(`${RBAC}/clusterroles`, { metadata: { name: 'given' }, rules: [] })
    const widen = (name: string) =>
      on.ask({
        method: 'PATCH',
        path: `${RBAC}/clusterroles/${name}`,
        headers: as(user),
        contentType: 'application/merge-patch+json',
        body: { rules: [pods(['*'])] },
      })
    expect((await widen('given')).status).toBe(200)
    expect((await widen('view')).status).toBe(403)
    const bind = (name: string, role: string) =>
      on.post(
        `${RBAC}/clusterrolebindings`,
        {
          metadata: { name },
          roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
          subjects: [person('x')],
        },
        as(user),
      )
    expect((await bind('b1', 'given')).status).toBe(201)
    expect((await bind('b2', 'cluster-admin')).status).toBe(403)
  })

  test('a binding keeps its role for ever', async () => {
    const answer = await on.ask({
      method: 'PATCH',
      path: `${RBAC}/clusterrolebindings/binder`,
      contentType: 'application/merge-patch+json',
      body: { roleRef: { name: 'cluster-admin' } },
    })
    expect(answer.status).toBe(422)
    expect(messageOf(answer)).toContain('cannot change roleRef')
  })

  test('creating by PUT needs the right to create', async () => {
    await grant(
      on,
      'updater',
      [{ apiGroups: ['*'], resources: ['*'], verbs: ['update', 'patch', 'get'] }],
      person('updater'),
    )
    const headers = as('updater')
    const put = await on.ask({
      method: 'PUT',
      path: `${RBAC}/clusterroles/new`,
      headers,
      body: { metadata: { name: 'new' } },
    })
    const apply = await on.ask({
      method: 'PATCH',
      path: `${NS}/configmaps/new?fieldManager=x`,
      headers,
      contentType: 'application/apply-patch+yaml',
      body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'new' } },
    })
    expect([put.status, apply.status]).toEqual([403, 403])
    expect(messageOf(apply)).toContain('cannot create resource "configmaps"')
  })
})
