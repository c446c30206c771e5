import { describe, expect, it } from 'vitest'
import { isLongRunning, requestInfo } from '../../src/kube/request-info.ts'

type Row = readonly [method: string, target: string, expected: Record<string, string>]

function fieldsOf(method: string, target: string): Record<string, unknown> {
  const { path: _path, ...fields } = requestInfo(method, target)
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''))
}

// The rows of apiserver pkg/endpoints/request/requestinfo_test.go, and neighbours.
const RESOURCE_REQUESTS: readonly Row[] = [
  ['GET', '/api/v1/namespaces', { verb: 'list', resource: 'namespaces' }],
  ['GET', '/api/v1/namespaces/other', named('get', 'namespaces', 'other', { namespace: 'other' })],
  ['GET', '/api/v1/namespaces/other/pods', in_('other', { verb: 'list', resource: 'pods' })],
  ['GET', '/api/v1/namespaces/other/pods/foo', in_('other', named('get', 'pods', 'foo'))],
  ['HEAD', '/api/v1/namespaces/other/pods/foo', in_('other', named('get', 'pods', 'foo'))],
  ['GET', '/api/v1/pods', { verb: 'list', resource: 'pods' }],
  ['HEAD', '/api/v1/pods', { verb: 'list', resource: 'pods' }],
  ['POST', '/api/v1/pods', { verb: 'create', resource: 'pods' }],
  ['PUT', '/api/v1/namespaces/n/pods/foo', in_('n', named('update', 'pods', 'foo'))],
  ['PATCH', '/api/v1/namespaces/n/pods/foo', in_('n', named('patch', 'pods', 'foo'))],
  ['DELETE', '/api/v1/namespaces/n/pods/foo', in_('n', named('delete', 'pods', 'foo'))],
  ['DELETE', '/api/v1/namespaces/n/pods', in_('n', { verb: 'deletecollection', resource: 'pods' })],
  ['OPTIONS', '/api/v1/pods', { resource: 'pods' }],
  ['GET', '/api/v1/pods/', { verb: 'list', resource: 'pods' }],
  [
    'PUT',
    '/api/v1/namespaces/n/finalize',
    named('update', 'namespaces', 'n', { namespace: 'n', subresource: 'finalize' }),
  ],
  [
    'GET',
    '/api/v1/namespaces/n/status',
    named('get', 'namespaces', 'n', { namespace: 'n', subresource: 'status' }),
  ],
  [
    'GET',
    '/api/v1/namespaces/n/pods/foo/exec?command=sh&stdin=true',
    in_('n', named('get', 'pods', 'foo', { subresource: 'exec' })),
  ],
  [
    'POST',
    '/api/v1/namespaces/n/pods/foo/portforward',
    in_('n', named('create', 'pods', 'foo', { subresource: 'portforward' })),
  ],
  [
    'GET',
    '/api/v1/namespaces/n/services/web:80/proxy/a/b/c',
    in_('n', named('get', 'services', 'web:80', { subresource: 'proxy' })),
  ],
  ['GET', '/api/v1/proxy/nodes/foo/logs', named('proxy', 'nodes', 'foo')],
  ['GET', '/api/v1/proxy/namespaces/n/pods/foo', in_('n', named('proxy', 'pods', 'foo'))],
  ['GET', '/api/v1/watch/pods', { verb: 'watch', resource: 'pods' }],
  ['GET', '/api/v1/watch/namespaces/n/pods', in_('n', { verb: 'watch', resource: 'pods' })],
  ['GET', '/api/v1/pods?watch=true', { verb: 'watch', resource: 'pods' }],
  ['GET', '/api/v1/pods?watch', { verb: 'watch', resource: 'pods' }],
  ['GET', '/api/v1/pods?watch=1', { verb: 'watch', resource: 'pods' }],
  ['GET', '/api/v1/pods?watch=False', { verb: 'list', resource: 'pods' }],
  ['GET', '/api/v1/pods?watch=0', { verb: 'list', resource: 'pods' }],
  ['GET', '/api/v1/pods?watch=false&watch=true', { verb: 'list', resource: 'pods' }],
  ['GET', '/api/v1/pods?a;watch=true', { verb: 'list', resource: 'pods' }],
  [
    'GET',
    '/api/v1/namespaces/n/pods?fieldSelector=metadata.name%3Dfoo&watch=true',
    in_('n', named('watch', 'pods', 'foo')),
  ],
  ['GET', '/api/v1/pods?fieldSelector=metadata.name==foo,spec.x!=y', named('list', 'pods', 'foo')],
  ['GET', '/api/v1/pods?fieldSelector=metadata.name!=foo', { verb: 'list', resource: 'pods' }],
  ['GET', '/api/v1/pods?fieldSelector=metadata.name=..', { verb: 'list', resource: 'pods' }],
  ['GET', '/api/v1/pods?fieldSelector=metadata.name=a,b', { verb: 'list', resource: 'pods' }],
  ['GET', '/api/v1/n%61mespaces/n/pods', in_('n', { verb: 'list', resource: 'pods' })],
]

function named(verb: string, resource: string, name: string, more: Record<string, string> = {}) {
  return { verb, resource, name, ...more }
}

function in_(namespace: string, rest: Record<string, string>): Record<string, string> {
  return { namespace, ...rest }
}

describe('requestInfo', () => {
  it.each(RESOURCE_REQUESTS)('reads %s %s as the API server does', (method, target, expected) => {
    const resourceRequest = { isResourceRequest: true, apiPrefix: 'api', apiVersion: 'v1' }
    expect(fieldsOf(method, target)).toEqual({ ...resourceRequest, ...expected })
  })

  it('reads group and version of a named group', () => {
    expect(fieldsOf('GET', '/apis/apps/v1/namespaces/n/deployments/web/scale')).toEqual({
      isResourceRequest: true,
      apiPrefix: 'apis',
      apiGroup: 'apps',
      apiVersion: 'v1',
      verb: 'get',
      namespace: 'n',
      resource: 'deployments',
      name: 'web',
      subresource: 'scale',
    })
  })

  it.each([
    '/',
    '/healthz',
    '/api',
    '/api/v1',
    '/apis',
    '/apis/apps',
    '/apis/apps/v1',
    '/version?verbose',
    '/openapi/v3/apis/apps/v1',
    '/metrics',
  ])('takes %s for no resource', (target) => {
    const info = requestInfo('GET', target)
    expect(info.isResourceRequest).toBe(false)
    expect(info.verb).toBe('get')
    expect(info.path).toBe(target.split('?')[0])
  })

  it('leaves a verb in the path without a resource unread', () => {
    expect(requestInfo('GET', '/api/v1/watch')).toMatchObject({ verb: 'get', resource: '' })
  })

  it('cannot be confused by names from Object.prototype', () => {
    const info = requestInfo('GET', '/api/v1/namespaces/constructor/__proto__/toString?__proto__=1')
    expect(info).toMatchObject({ resource: '__proto__', name: 'toString' })
  })

  it('keeps a path that cannot be decoded as it is', () => {
    expect(requestInfo('GET', '/api/v1/pods/%zz').name).toBe('%zz')
  })
})

describe('isLongRunning', () => {
  it.each([
    ['GET', '/api/v1/pods?watch=1'],
    ['GET', '/api/v1/watch/pods'],
    ['GET', '/api/v1/proxy/nodes/n'],
    ['POST', '/api/v1/namespaces/n/pods/p/exec'],
    ['GET', '/api/v1/namespaces/n/pods/p/attach'],
    ['GET', '/api/v1/namespaces/n/pods/p/log?follow=true'],
    ['POST', '/api/v1/namespaces/n/pods/p/portforward'],
    ['GET', '/api/v1/namespaces/n/services/s/proxy/'],
    ['GET', '/debug/pprof/profile'],
  ])('holds for %s %s', (method, target) => {
    expect(isLongRunning(requestInfo(method, target))).toBe(true)
  })

  it.each([
    ['GET', '/api/v1/pods'],
    ['POST', '/api/v1/namespaces/n/pods'],
    ['GET', '/exec'],
    ['POST', '/api/v1/namespaces/n/pods/p/eviction'],
  ])('does not hold for %s %s', (method, target) => {
    expect(isLongRunning(requestInfo(method, target))).toBe(false)
  })
})
