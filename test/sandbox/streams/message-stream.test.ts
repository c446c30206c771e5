import { expect, test } from 'vitest'
import { NS, stage } from '../stage.ts'
import { openWebSocket, upgrade, webSocketLines } from './upgrade-client.ts'

const on = stage()
const LOG = '/api/v1/namespaces/kube-system/pods/coredns-6f6b679f8f-4bq8h/log'
const TEXT = '.:53\nCoreDNS-1.12\n'

const joined = (messages: readonly Buffer[]) => Buffer.concat(messages).toString()

test('a log over a WebSocket: an empty message, the lines, the end', async () => {
  for (const protocols of [[], ['binary.k8s.io']]) {
    const client = await openWebSocket(on.sandbox, LOG, ...protocols)
    await client.closed
    expect(client.protocol).toBe(protocols[0])
    expect(client.messages[0]).toHaveLength(0)
    expect(joined(client.messages)).toBe(TEXT)
  }
})

test('in base64 where that is asked for', async () => {
  const client = await openWebSocket(on.sandbox, LOG, 'base64.binary.k8s.io')
  await client.closed
  const decoded = client.messages.map((one) => Buffer.from(one.toString(), 'base64'))
  expect(joined(decoded)).toBe(TEXT)
})

test('a followed log goes on until the client closes', async () => {
  const client = await openWebSocket(on.sandbox, `${LOG}?follow=true&tailLines=1`)
  await expect.poll(() => joined(client.messages)).toContain('line 1 of a pod')
  client.close()
  await client.closed
})

test('another subprotocol is forbidden', async () => {
  expect((await upgrade(on.sandbox, 'GET', LOG, webSocketLines('v4.channel.k8s.io'))).status).toBe(
    403,
  )
})

test('a watch over a WebSocket: every event a message, for a client that says where it comes from', async () => {
  const path = `${NS}/configmaps?watch=true&resourceVersion=0`
  const refused = await upgrade(on.sandbox, 'GET', path, webSocketLines())
  expect(refused.status).toBe(403)
  const lines = [...webSocketLines(), 'Origin: https://example.test']
  const answer = await upgrade(on.sandbox, 'GET', path, lines)
  expect(answer.status).toBe(101)
  let received = answer.head
  answer.socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
  })
  answer.socket.resume()
  await on.post(`${NS}/configmaps`, { metadata: { name: 'seen' } })
  await expect.poll(() => received.toString()).toContain('"name":"seen"')
  // Text, whole messages.
  expect(received[0]).toBe(0x81)
  answer.socket.destroy()
})
