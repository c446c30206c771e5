/** As much of a Kubernetes API as grants need: objects by path, resource versions, lists by label. */
interface StoredObject {
  apiVersion: string
  kind: string
  metadata: {
    name: string
    namespace?: string
    labels?: Record<string, string>
    resourceVersion?: string
  }
  [field: string]: unknown
}

export class FakeApiServer {
  readonly objects = new Map<string, StoredObject>()
  readonly calls: string[] = []
  /** Users who may do nothing. */
  readonly forbidden = new Set<string>()
  /** Calls that are refused to everybody, such as `DELETE /apis/…`. */
  readonly refused = new Set<string>()
  #version = 1

  put(path: string, object: object): void {
    const stored = structuredClone(object) as StoredObject
    stored.metadata.resourceVersion = String(this.#version++)
    this.objects.set(path, stored)
  }

  request(
    method: string,
    target: string,
    body: string,
    user: string,
  ): { status: number; body: unknown } {
    const [path, query = ''] = target.split('?') as [string, string?]
    this.calls.push(`${user} ${method} ${path}`)
    if (this.refused.has(`${method} ${path}`)) return status(422, 'Invalid', 'it may not')
    if (this.forbidden.has(user)) return status(403, 'Forbidden', `${user} may not`)
    const found = this.objects.get(path)
    if (method === 'GET' && !found && /s$/.test(path)) return this.#list(path, query)
    if (method === 'GET') return found ? { status: 200, body: found } : missing(path)
    if (method === 'DELETE') {
      return this.objects.delete(path) ? { status: 200, body: {} } : missing(path)
    }
    const object = JSON.parse(body) as StoredObject
    const version = object.metadata.resourceVersion
    if (method === 'PUT' && version && version !== found?.metadata.resourceVersion) {
      return status(409, 'Conflict', 'the object has been modified')
    }
    if (new URLSearchParams(query).has('dryRun')) return { status: 200, body: object }
    this.put(path, object)
    return { status: 200, body: this.objects.get(path) }
  }

  #list(path: string, query: string): { status: number; body: unknown } {
    const selector = new URLSearchParams(query).get('labelSelector')
    const [label, value] = selector?.split('=') ?? []
    const resource = path.split('/').at(-1)!
    const items = [...this.objects]
      .filter(([each]) => each.includes(`/${resource}/`))
      .map(([, object]) => object)
      .filter(({ metadata }) => label === undefined || metadata.labels?.[label] === value)
    return { status: 200, body: { metadata: { resourceVersion: '1' }, items } }
  }
}

function missing(path: string) {
  return status(404, 'NotFound', `${path} not found`)
}

function status(code: number, reason: string, message: string) {
  return { status: code, body: { kind: 'Status', status: 'Failure', reason, message, code } }
}
