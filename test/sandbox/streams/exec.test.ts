import { describe, expect, test } from 'vitest'
import { as, grant, messageOf, NS, stage } from '../stage.ts'
import {
  openSpdy,
  openWebSocket,
  spdyLines,
  textOf,
  upgrade,
  webSocketLines,
} from './upgrade-client.ts'

const on = stage()
const POD = `${NS}/pods/web-7d9f8b6c5-2xkqp`
const V5 = 'v5.channel.k8s.io'
const V4 = 'v4.channel.k8s.io'

function execPath(command: readonly string[], query = 'stdout=true&stderr=true'): string {
  const words = command.map((word) => `command=${encodeURIComponent(word)}`)
  return `${POD}/exec?${[...words, query].join('&')}`
}

const sh = (script: string, query?: string) => execPath(['sh', '-c', script], query)

function statusOf(text: string) {
  return JSON.parse(text) as { status: string; details?: { causes: object[] }; message?: string }
}

describe('exec over a WebSocket', () => {
  test.each([V5, V4])(
    '%s: outputs on their channels, the status last, then the end',
    async (protocol) => {
      const client = await openWebSocket(on.sandbox, sh('echo out; echo err >&2'), protocol)
      await client.closed
      expect(client.protocol).toBe(protocol)
      expect(client.channel(1)).toBe('out\n')
      expect(client.channel(2)).toBe('err\n')
      expect(statusOf(client.channel(3)).status).toBe('Success')
      expect(client.messages[0]).toEqual(Buffer.of(1))
      expect(client.messages.at(-1)![0]).toBe(3)
    },
  )

  test.each([0, 1, 7, 137])('the exit code %i is a cause of the Status', async (code) => {
    for (const protocol of [V5, V4]) {
      const client = await openWebSocket(on.sandbox, sh(`exit ${code}`), protocol)
      await client.closed
      const status = statusOf(client.channel(3))
      if (code === 0) expect(status).toEqual({ metadata: {}, status: 'Success' })
      else
        expect(status).toMatchObject({
          status: 'Failure',
          reason: 'NonZeroExitCode',
          details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
        })
    }
  })

  test('v5: CLOSE ends stdin, and what the command says after it still comes', async () => {
    const client = await openWebSocket(on.sandbox, sh('wc -c; echo after', 'stdin=1&stdout=1'), V5)
    for (let index = 0; index < 10; index += 1)
      client.send(Buffer.concat([Buffer.of(0), Buffer.alloc(1_000)]))
    client.send(Buffer.of(255, 0))
    await client.closed
    expect(client.channel(1)).toBe('10000\nafter\n')
  })

  test('v4 knows no CLOSE: 255 is a channel that nobody reads', async () => {
    const client = await openWebSocket(
      on.sandbox,
      sh('read line; echo $line', 'stdin=1&stdout=1'),
      V4,
    )
    client.send(Buffer.of(255, 0))
    client.send(Buffer.from('\0this\n'))
    await client.closed
    expect(client.channel(1)).toBe('this\n')
  })

  test('a damaged CLOSE, and one of a channel there is not, end the connection', async () => {
    for (const message of [Buffer.of(255), Buffer.of(255, 9), Buffer.of(255, 0, 0)]) {
      const client = await openWebSocket(on.sandbox, sh('cat', 'stdin=1&stdout=1'), V5)
      client.send(message)
      await client.closed
    }
  })

  test('base64.channel.k8s.io: digits and base64 in text, a sentence for a status', async () => {
    const client = await openWebSocket(on.sandbox, sh('echo out; exit 3'), 'base64.channel.k8s.io')
    await client.closed
    const texts = client.messages.map((message) => message.toString())
    expect(texts).toContain(`1${Buffer.from('out\n').toString('base64')}`)
    const last = texts.at(-1)!
    expect(last.startsWith('3')).toBe(true)
    expect(Buffer.from(last.slice(1), 'base64').toString()).toContain('exit code 3')
  })

  test('the first protocol that is known is taken; v5 alone when it is among them', async () => {
    const chosen = async (...protocols: string[]) => {
      const client = await openWebSocket(on.sandbox, sh('true'), ...protocols)
      await client.closed
      return client.protocol
    }
    expect(await chosen('v9.channel.k8s.io', V4, 'channel.k8s.io')).toBe(V4)
    expect(await chosen(`${V4}, ${V5}`)).toBe(V5)
    expect(await chosen()).toBeUndefined()
  })

  test('a client that goes away takes its process with it', async () => {
    const client = await openWebSocket(on.sandbox, sh('sleep 1234'), V5)
    const running = async () => {
      const other = await openWebSocket(on.sandbox, sh('ps'), V5)
      await other.closed
      return other.channel(1)
    }
    expect(await running()).toContain('sleep 1234')
    client.socket.destroy()
    await expect.poll(running).not.toContain('sleep 1234')
  })

  test('a terminal has a size, an echo, one output, and ^C', async () => {
    const path = execPath(['sh'], 'stdin=1&stdout=1&stderr=1&tty=1')
    const client = await openWebSocket(on.sandbox, path, V5)
    client.send(Buffer.from('\u0004{"Width":101,"Height":33}{"Width":120,"Height":40}'))
    client.send(Buffer.from('\0stty size\n'))
    await expect.poll(() => client.channel(1)).toContain('40 120\r\n/ # ')
    client.send(Buffer.from('\0sleep 1000\n'))
    await expect.poll(() => client.channel(1)).toContain('sleep 1000\r\n')
    client.send(Buffer.from('\0\u0003'))
    await expect.poll(() => client.channel(1)).toContain('^C\r\n/ # ')
    client.send(Buffer.from('\0no-such-command\nexit 9\n'))
    await client.closed
    expect(client.channel(1)).toContain('sh: no-such-command: not found\r\n')
    expect(client.channel(2)).toBe('')
    expect(statusOf(client.channel(3)).details?.causes).toEqual([
      { reason: 'ExitCode', message: '9' },
    ])
  })
})

describe('exec over SPDY/3.1', () => {
  test('v4: streams by their type, stdin ended by itself, the exit code as a cause', async () => {
    const path = sh('wc -c; echo err >&2; exit 7', 'stdin=1&stdout=1&stderr=1')
    const { connection, protocol } = await openSpdy(on.sandbox, path, V5, V4, 'channel.k8s.io')
    expect(protocol).toBe(V4)
    const open = (streamtype: string) => connection.open({ streamtype })
    const [error, stdin, stdout, stderr] = await Promise.all(
      ['error', 'stdin', 'stdout', 'stderr'].map(open),
    )
    stdin!.end('x'.repeat(100_000))
    const [status, out, err] = await Promise.all([error!, stdout!, stderr!].map(textOf))
    expect({ out, err }).toEqual({ out: '100000\n', err: 'err\n' })
    expect(statusOf(status!).details?.causes).toEqual([{ reason: 'ExitCode', message: '7' }])
    await connection.closed
  })

  test('bulk output arrives to the last byte, behind it the status', async () => {
    const { connection } = await openSpdy(on.sandbox, sh('yes | head -c 5000000', 'stdout=1'), V4)
    const [error, stdout] = await Promise.all([
      connection.open({ streamtype: 'error' }),
      connection.open({ streamtype: 'stdout' }),
    ])
    let length = 0
    for await (const chunk of stdout) length += (chunk as Buffer).length
    expect(length).toBe(5_000_000)
    expect(statusOf(await textOf(error)).status).toBe('Success')
  })

  test('v3 says how it ended in a sentence, and nothing when all went well', async () => {
    for (const [script, said] of [
      ['true', ''],
      ['exit 4', 'exit code 4'],
    ] as const) {
      const { connection } = await openSpdy(on.sandbox, sh(script, 'stdout=1'), 'v3.channel.k8s.io')
      const [error] = await Promise.all([
        connection.open({ streamtype: 'error' }),
        connection.open({ streamtype: 'stdout' }),
      ])
      expect(await textOf(error)).toContain(said)
    }
  })

  test('a protocol nobody knows is forbidden, none at all a bad request', async () => {
    const unknown = await upgrade(on.sandbox, 'POST', sh('true'), spdyLines('v9.channel.k8s.io'))
    expect(unknown).toMatchObject({
      status: 403,
      body: 'unable to upgrade: unable to negotiate protocol: client supports [v9.channel.k8s.io], server accepts [v4.channel.k8s.io v3.channel.k8s.io v2.channel.k8s.io]',
    })
    const none = await upgrade(on.sandbox, 'POST', sh('true'), spdyLines())
    expect(none.status).toBe(400)
  })
})

describe('attach', () => {
  test('carries the main process both ways; its end is a success whatever its exit code', async () => {
    const main = {
      name: 'main',
      image: 'x',
      stdin: true,
      command: ['sh', '-c', 'read a; echo "got $a"; exit 9'],
    }
    const spec = { containers: [main], restartPolicy: 'Never' }
    await on.post(`${NS}/pods`, { metadata: { name: 'once' }, spec })
    const phase = async () =>
      ((await on.get(`${NS}/pods/once`)).json as { status: { phase: string } }).status.phase
    await expect.poll(phase).toBe('Running')
    const path = `${NS}/pods/once/attach?stdin=true&stdout=true&stderr=true`
    const client = await openWebSocket(on.sandbox, path, V5)
    client.send(Buffer.from('\0this\n'))
    await client.closed
    expect(client.channel(1)).toBe('got this\n')
    expect(statusOf(client.channel(3)).status).toBe('Success')
    await expect.poll(phase).toBe('Failed')
    const again = await openWebSocket(on.sandbox, path, V5)
    await again.closed
    expect(statusOf(again.channel(3)).message).toBe(
      'Internal error occurred: unable to upgrade connection: container not found ("main")',
    )
    const old = await upgrade(on.sandbox, 'GET', path, webSocketLines(V4))
    expect(old).toMatchObject({ status: 500, body: 'container not found ("main")' })
  })
})

describe('what is refused before a switch', () => {
  test('a pod that is not there, a container that is not, a pod without a node, no upgrade', async () => {
    const absent = await upgrade(
      on.sandbox,
      'GET',
      `${NS}/pods/absent/exec?command=ls`,
      webSocketLines(V5),
    )
    expect(absent.status).toBe(404)
    expect(JSON.parse(absent.body)).toMatchObject({ message: 'pods "absent" not found' })
    const container = await on.get(`${execPath(['ls'])}&container=absent`)
    expect(messageOf(container)).toBe('container absent is not valid for pod web-7d9f8b6c5-2xkqp')
    const spec = { nodeName: 'other', containers: [{ name: 'main', image: 'x' }] }
    await on.post(`${NS}/pods`, { metadata: { name: 'elsewhere' }, spec })
    const plain = await on.get(execPath(['ls']))
    expect(plain.status).toBe(400)
    expect(messageOf(plain)).toBe('Upgrade request required')
    const h2c = await upgrade(on.sandbox, 'GET', execPath(['ls']), [
      'Connection: Upgrade',
      'Upgrade: h2c',
    ])
    expect(JSON.parse(h2c.body)).toMatchObject({ code: 400, message: 'Upgrade request required' })
    expect((await on.ask({ method: 'PUT', path: execPath(['ls']), body: '' })).status).toBe(405)
  })

  test('no stream asked for, or none known: as the kubelet says it, without a Status', async () => {
    const nothing = await upgrade(on.sandbox, 'POST', execPath(['ls'], ''), spdyLines(V4))
    const said = 'you must specify at least 1 of stdin, stdout, stderr'
    expect(nothing).toMatchObject({ status: 400, body: said })
    const v5 = await openWebSocket(on.sandbox, execPath(['ls'], ''), V5)
    await v5.closed
    expect(statusOf(v5.channel(3)).message).toContain(said)
    const unknown = await upgrade(
      on.sandbox,
      'GET',
      execPath(['ls']),
      webSocketLines('v9.channel.k8s.io'),
    )
    expect(unknown).toMatchObject({ status: 403, body: '' })
  })

  test('a WebSocket by POST, without a key, of another version', async () => {
    const post = await upgrade(on.sandbox, 'POST', execPath(['ls']), [
      ...webSocketLines(V5),
      'Content-Length: 0',
    ])
    expect(post.status).toBe(405)
    const lines = webSocketLines(V5)
    const without = (start: string) => lines.filter((line) => !line.startsWith(start))
    for (const start of ['Sec-WebSocket-Key', 'Sec-WebSocket-Version'])
      expect((await upgrade(on.sandbox, 'GET', execPath(['ls']), without(start))).status).toBe(400)
  })

  test('nobody without a token, and after a refusal nothing more is read', async () => {
    const answer = await upgrade(on.sandbox, 'GET', execPath(['ls']), webSocketLines(V5), '')
    expect(answer.status).toBe(401)
    const smuggled = [...webSocketLines('v9'), '', 'GET /version HTTP/1.1', 'Host: x']
    const one = await upgrade(on.sandbox, 'GET', execPath(['ls']), smuggled)
    expect(one.status).toBe(403)
    expect(one.body).toBe('')
  })

  test('get alone is not enough since 1.35, and the right to create is asked by SPDY too', async () => {
    const rules = [{ apiGroups: [''], resources: ['pods/exec'], verbs: ['get'] }]
    await grant(on, 'exec-getter', rules, { kind: 'User', name: 'eve' })
    const eve = as('eve').map(([name, value]) => `${name}: ${value}`)
    const get = await upgrade(on.sandbox, 'GET', execPath(['ls']), [...webSocketLines(V5), ...eve])
    expect(JSON.parse(get.body)).toMatchObject({
      code: 403,
      message: 'pods "web-7d9f8b6c5-2xkqp" is forbidden: ',
    })
    const post = await upgrade(on.sandbox, 'POST', execPath(['ls']), [...spdyLines(V4), ...eve])
    expect(JSON.parse(post.body)).toMatchObject({
      message:
        'pods "web-7d9f8b6c5-2xkqp" is forbidden: User "eve" cannot create resource "pods/exec" in API group "" in the namespace "default"',
    })
  })

  test('an Upgrade header on another request changes nothing', async () => {
    const answer = await upgrade(on.sandbox, 'GET', '/version', [
      'Connection: Upgrade',
      'Upgrade: h2c',
    ])
    expect(answer.status).toBe(200)
    expect(JSON.parse(answer.body)).toMatchObject({ gitVersion: 'v1.36.3' })
  })
})

test('the audit log has two events of a stream, both with 101, and the person', async () => {
  const lines = [
    ...webSocketLines(V5),
    'Impersonate-User: bob',
    'Impersonate-Group: system:masters',
  ]
  const answer = await upgrade(on.sandbox, 'GET', sh('echo audited'), lines)
  answer.socket.resume()
  const found = () =>
    on.sandbox.auditEvents().filter(({ requestURI }) => requestURI.includes('audited'))
  await expect
    .poll(() => found().map(({ stage }) => stage))
    .toEqual(['ResponseStarted', 'ResponseComplete'])
  for (const event of found())
    expect(event).toMatchObject({
      verb: 'get',
      impersonatedUser: { username: 'bob' },
      responseStatus: { code: 101 },
      objectRef: { resource: 'pods', subresource: 'exec' },
    })
})

describe('before 1.35', () => {
  const old = stage({ kubernetesVersion: 'v1.33.13' })

  test('get was enough for a WebSocket', async () => {
    const rules = [{ apiGroups: [''], resources: ['pods/exec'], verbs: ['get'] }]
    await grant(old, 'exec-getter', rules, { kind: 'User', name: 'eve' })
    const lines = [...webSocketLines(V5), 'Impersonate-User: eve']
    const answer = await upgrade(old.sandbox, 'GET', sh('true'), lines)
    expect(answer.status).toBe(101)
    answer.socket.destroy()
  })
})
