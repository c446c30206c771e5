import { get } from 'node:https'
import { expect, test } from 'vitest'
import { ContainerLog } from '../../../src/sandbox/pods/container-log.ts'
import { testWorld } from '../running-sandbox.ts'
import { NS, stage } from '../stage.ts'

const on = stage()

test('bytes become lines, whatever the pieces they come in', () => {
  const log = new ContainerLog(testWorld())
  for (const piece of ['a', 'b\nc', '\n\nd']) log.append(Buffer.from(piece))
  expect(log.lines().map(({ text }) => text)).toEqual(['ab\n', 'c\n', '\n'])
  log.flush()
  expect(log.lines().at(-1)!.text).toBe('d')
})

test('only the newest are kept, and places go on counting', () => {
  const log = new ContainerLog(testWorld())
  const line = `${'x'.repeat(1023)}\n`
  for (let index = 0; index < 3_000; index += 1) log.append(Buffer.from(line))
  expect(log.lines()).toHaveLength(1_024)
  expect(log.end).toBe(3_000)
  expect(log.linesFrom(2_990)).toHaveLength(10)
  expect(log.linesFrom(0)).toHaveLength(1_024)
  for (let index = 0; index < 20_000; index += 1) log.append(Buffer.from('y\n'))
  expect(log.lines()).toHaveLength(10_000)
  expect(log.end).toBe(23_000)
})

test('a follower who stops reading holds up neither the pod nor the memory', async () => {
  const containers = [{ name: 'main', image: 'x', command: ['sh', '-c', 'yes'] }]
  await on.post(`${NS}/pods`, { metadata: { name: 'loud' }, spec: { containers } })
  const { url } = on.sandbox.address
  const headers = { authorization: `Bearer ${on.sandbox.adminToken.reveal()}` }
  const options = { ca: on.sandbox.caPem, headers }
  await expect.poll(async () => (await on.get(`${NS}/pods/loud/log?tailLines=1`)).text).toBe('y\n')
  const before = process.memoryUsage()
  const request = get(`${url}${NS}/pods/loud/log?follow=true`, options, (response) =>
    response.pause(),
  )
  // As long as anybody else is told ten times that the pod goes on.
  for (let index = 0; index < 10; index += 1) await on.get(`${NS}/pods/loud/log?tailLines=1`)
  const { rss } = process.memoryUsage()
  expect(rss - before.rss).toBeLessThan(200 * 1024 * 1024)
  request.destroy()
  await on.ask({ method: 'DELETE', path: `${NS}/pods/loud` })
})
