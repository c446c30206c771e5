import { connect as connectHttp2 } from 'node:http2'
import { request } from 'node:https'
import { connect } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { runningSandbox } from './running-sandbox.ts'
import { messageOf, NS, stage } from './stage.ts'

const on = stage()
const MAPS = `${NS}/configmaps`

function raw(
  alpn: string[] | undefined,
  text: string,
): Promise<{ protocol: string | false | null; answer: string }> {
  const { host, port } = on.sandbox.address
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      ca: on.sandbox.caPem,
      ...(alpn && { ALPNProtocols: alpn }),
    })
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.once('error', reject)
    socket.once('close', () =>
      resolve({ protocol: socket.alpnProtocol, answer: Buffer.concat(chunks).toString() }),
    )
    socket.end(text)
  })
}

describe('protocols', () => {
  test('HTTP/1.1 by ALPN and without it', async () => {
    const text = 'GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    expect(await raw(['http/1.1'], text)).toMatchObject({
      protocol: 'http/1.1',
      answer: expect.stringContaining('ok'),
    })
    expect(await raw(undefined, text)).toMatchObject({
      protocol: false,
      answer: expect.stringContaining('200 OK'),
    })
  })

  test('HTTP/2, with every line of a header by itself', async () => {
    const session = connectHttp2(on.sandbox.address.url, { ca: on.sandbox.caPem })
    const stream = session.request({
      ':method': 'POST',
      ':path': '/apis/authentication.k8s.io/v1/selfsubjectreviews',
      authorization: `Bearer ${on.sandbox.adminToken.reveal()}`,
      'impersonate-user': 'bob',
      'impersonate-group': ['a', 'b,c'],
    })
    stream.end('{}')
    const chunks: Buffer[] = []
    for await (const chunk of stream) chunks.push(chunk as Buffer)
    session.close()
    const { status } = JSON.parse(Buffer.concat(chunks).toString()) as {
      status: { userInfo: { groups: string[] } }
    }
    expect(status.userInfo.groups).toEqual(['a', 'b,c', 'system:authenticated'])
  })

  test('a stranger to TLS is shown the door, and others are not disturbed', async () => {
    const { host, port } = on.sandbox.address
    const { connect: connectTcp } = await import('node:net')
    const socket = connectTcp(port, host)
    socket.end('GET / HTTP/1.1\r\n\r\n')
    await new Promise((resolve) => socket.once('close', resolve))
    expect((await on.get('/livez')).status).toBe(200)
  })
})

describe('bodies', () => {
  test('three megabytes are taken, more are refused with a Status', async () => {
    const body = (length: number) =>
      JSON.stringify({ metadata: { name: 'big' }, x: 'a'.repeat(length) })
    expect((await on.post(MAPS, body(3 * 1024 * 1024 - 100))).status).toBe(201)
    const answer = await on.post(MAPS, body(3 * 1024 * 1024))
    expect(answer.status).toBe(413)
    expect(messageOf(answer)).toBe('Request entity too large: limit is 3145728')
  })

  test('JSON that is none, and JSON nested beyond reason, are bad requests', async () => {
    for (const body of ['{', 'null', '"x"', '[]', '{"metadata":', '\u0000'])
      expect((await on.post(MAPS, body)).status).toBe(400)
    const deep = `{"metadata":{"name":"deep"},"data":${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`
    expect((await on.post(MAPS, deep)).status).toBe(400)
  })

  test('names that mean something to JavaScript mean nothing here', async () => {
    const body =
      '{"metadata":{"name":"proto","labels":{"constructor":"x","toString":"y"}},"data":{"hasOwnProperty":"z"}}'
    expect((await on.post(MAPS, body)).status).toBe(201)
    const { json } = await on.get(`${MAPS}?labelSelector=valueOf`)
    expect((json as { items: object[] }).items).toEqual([])
    const found = await on.get(`${MAPS}?labelSelector=constructor%3Dx`)
    expect((found.json as { items: object[] }).items).toHaveLength(1)
    const polluting = await on.post(
      MAPS,
      '{"metadata":{"name":"p"},"data":{"__proto__":{"polluted":"yes"}}}',
    )
    expect(polluting.status).toBe(400)
    const path = `${MAPS}/proto`
    const patches = [
      ['application/merge-patch+json', '{"__proto__":{"polluted":"yes"}}'],
      ['application/strategic-merge-patch+json', '{"data":{"__proto__":"yes"}}'],
      ['application/json-patch+json', '[{"op":"add","path":"/__proto__/polluted","value":"yes"}]'],
      [
        'application/apply-patch+yaml',
        'apiVersion: v1\nkind: ConfigMap\ndata: {"__proto__": "yes"}\n',
      ],
    ] as const
    for (const [contentType, patch] of patches) {
      const { status } = await on.ask({
        method: 'PATCH',
        path: `${path}?fieldManager=x`,
        contentType,
        body: patch,
      })
      expect(status).toBeGreaterThanOrEqual(400)
    }
    expect(({} as { polluted?: string }).polluted).toBeUndefined()
  })

  test('YAML is read, its bombs are not', async () => {
    const yaml = (body: string) =>
      on.ask({ method: 'POST', path: MAPS, contentType: 'application/yaml', body })
    expect((await yaml('metadata:\n  name: yaml\ndata: { a: "1" }\n')).status).toBe(201)
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
    for (let index = 1; index < 9; index++)
      lines.push(
        `a${index}: &a${index} [${Array(9)
          .fill(`*a${index - 1}`)
          .join(', ')}]`,
      )
    expect((await yaml(lines.join('\n'))).status).toBe(400)
    expect((await yaml(': : :\n- x')).status).toBe(400)
  })

  test('a body of an unknown kind is an unsupported media type', async () => {
    const answer = await on.ask({
      method: 'POST',
      path: MAPS,
      contentType: 'text/html',
      body: '<p>',
    })
    expect(answer.status).toBe(415)
  })

  test('an answer that only protobuf would do for is not acceptable', async () => {
    const only = [['Accept', 'application/vnd.kubernetes.protobuf']] as const
    expect((await on.get(MAPS, only)).status).toBe(406)
    const either = [['Accept', 'application/vnd.kubernetes.protobuf,application/json']] as const
    expect((await on.get(MAPS, either)).headers['content-type']).toBe('application/json')
  })
})

test('stop ends watches, idle connections and requests that were never finished', async () => {
  const sandbox = await runningSandbox()
  const { host, port, url } = sandbox.address
  const token = sandbox.adminToken.reveal()
  const idle = connect({ host, port, ca: sandbox.caPem })
  const watching = request(`${url}/api/v1/pods?watch=1`, {
    ca: sandbox.caPem,
    headers: { authorization: `Bearer ${token}` },
  })
  watching.end()
  const unfinished = request(`${url}${MAPS}`, {
    method: 'POST',
    ca: sandbox.caPem,
    headers: { authorization: `Bearer ${token}`, 'content-length': 10 },
  })
  unfinished.write('{')
  const ended = [idle, watching, unfinished].map(
    (one) =>
      new Promise<void>((resolve) => {
        one.on('error', () => {})
        one.once('close', () => resolve())
      }),
  )
  await new Promise((resolve) => watching.once('response', resolve))
  await sandbox.stop()
  await Promise.all(ended)
  await sandbox.closed
  await sandbox.stop()
})

test('an aborted signal ends it too', async () => {
  const ending = new AbortController()
  const sandbox = await runningSandbox({}, undefined, ending.signal)
  ending.abort()
  await sandbox.closed
})

test('its kubeconfig and its secret keep to themselves what they should', async () => {
  expect(on.sandbox.adminKubeconfig()).toContain(`server: ${on.sandbox.address.url}`)
  expect(on.sandbox.adminKubeconfig()).toContain(on.sandbox.adminToken.reveal())
  expect(JSON.stringify(on.sandbox.adminToken)).toBe('"[secret]"')
  const audit = JSON.stringify(on.sandbox.auditEvents())
  expect(audit).not.toContain(on.sandbox.adminToken.reveal())
})
