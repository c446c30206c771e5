import { expect, test } from 'vitest'
import { as, NS, stage } from './stage.ts'

const on = stage()
const AGGREGATED = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'

interface ResourceList {
  readonly resources: readonly {
    readonly name: string
    readonly verbs: readonly string[]
    readonly namespaced: boolean
  }[]
}

test('everything that is listed can be listed, and says the verbs it has', async () => {
  const groups = (await on.get('/apis')).json as {
    groups: { preferredVersion: { groupVersion: string } }[]
  }
  const paths = [
    '/api/v1',
    ...groups.groups.map(({ preferredVersion }) => `/apis/${preferredVersion.groupVersion}`),
  ]
  for (const path of paths) {
    const { resources } = (await on.get(path)).json as ResourceList
    for (const { name, verbs } of resources.filter(
      (one) => !one.name.includes('/') && one.verbs.includes('list'),
    )) {
      const { status, json } = await on.get(`${path}/${name}`)
      expect([name, status]).toEqual([name, 200])
      expect(json).toMatchObject({ kind: expect.stringMatching(/List$/), items: expect.any(Array) })
      expect(verbs).toContain('watch')
    }
  }
})

test('the two forms of discovery say the same', async () => {
  const aggregated = (await on.get('/apis', [['Accept', `${AGGREGATED},application/json`]]))
    .json as {
    items: {
      metadata: { name: string }
      versions: { version: string; resources: { resource: string }[] }[]
    }[]
  }
  for (const { metadata, versions } of aggregated.items)
    for (const { version, resources } of versions) {
      const { resources: listed } = (await on.get(`/apis/${metadata.name}/${version}`))
        .json as ResourceList
      const names = listed.filter((one) => !one.name.includes('/')).map(({ name }) => name)
      expect(resources.map(({ resource }) => resource)).toEqual(names)
    }
})

test('what is not listed does not exist', async () => {
  for (const path of [
    '/apis/apps/v1/replicasets',
    '/api/v1/replicationcontrollers',
    `${NS}/pods/x/eviction`,
  ])
    expect((await on.get(path)).status).toBe(404)
})

test('everybody who has a name may ask what there is, nobody else', async () => {
  for (const path of ['/api', '/apis', '/api/v1', '/apis/apps/v1', '/openapi/v3', '/openapi/v2'])
    expect((await on.get(path, as('somebody'))).status).toBe(200)
  expect((await on.get('/', as('somebody'))).status).toBe(403)
})

test('OpenAPI documents refer only to what they hold', async () => {
  const { paths } = (await on.get('/openapi/v3')).json as {
    paths: Record<string, { serverRelativeURL: string }>
  }
  expect(Object.keys(paths)).toContain('apis/apps/v1')
  for (const { serverRelativeURL } of Object.values(paths)) {
    const { text, json } = await on.get(serverRelativeURL)
    const { components } = json as { components: { schemas: object } }
    for (const [, name] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g))
      expect(components.schemas).toHaveProperty([name!])
  }
})

test('OpenAPI tells kubectl how lists are merged and that fields are checked', async () => {
  const { text } = await on.get('/openapi/v3/apis/apps/v1')
  expect(text).toContain('"x-kubernetes-patch-merge-key":"name"')
  expect(text).toContain('"name":"fieldValidation"')
  expect(text).toContain('application/strategic-merge-patch+json')
})

test('health and version', async () => {
  for (const path of ['/healthz', '/livez', '/readyz', '/livez/ping'])
    expect((await on.get(path)).text).toBe('ok')
  expect((await on.get('/version')).json).toMatchObject({
    major: '1',
    minor: '36',
    gitVersion: 'v1.36.3',
    platform: 'sandbox',
  })
})
