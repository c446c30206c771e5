import { get } from 'node:https'
import { expect, test } from 'vitest'
import { messageOf, stage } from './stage.ts'

const on = stage()
const POD = '/api/v1/namespaces/kube-system/pods/coredns-6f6b679f8f-4bq8h'

test('a seeded pod has lines, and the last of them can be asked for', async () => {
  const all = (await on.get(`${POD}/log`)).text
  expect(all.trim().split('\n')).toEqual(['.:53', 'CoreDNS-1.12'])
  expect((await on.get(`${POD}/log?tailLines=1`)).text).toBe('CoreDNS-1.12\n')
  expect((await on.get(`${POD}/log?tailLines=0`)).text).toBe('')
  expect((await on.get(`${POD}/log?timestamps=true`)).text).toMatch(/^\d{4}-\d\d-\d\dT\S+Z \.:53\n/)
})

test('a container that is not there is a bad request', async () => {
  const answer = await on.get(`${POD}/log?container=absent`)
  expect(answer.status).toBe(400)
  expect(messageOf(answer)).toBe('container absent is not valid for pod coredns-6f6b679f8f-4bq8h')
})

test('a followed log ends when its pod goes', async () => {
  const { url } = on.sandbox.address
  const headers = { authorization: `Bearer ${on.sandbox.adminToken.reveal()}` }
  const text = await new Promise<string>((resolve, reject) => {
    get(`${url}${POD}/log?follow=true`, { ca: on.sandbox.caPem, headers }, (response) => {
      let received = ''
      response.on('data', (chunk: Buffer) => {
        received += chunk
        if (received.includes('only pretends')) void on.ask({ method: 'DELETE', path: POD })
      })
      response.once('end', () => resolve(received))
      response.once('error', reject)
    })
  })
  expect(text).toContain('CoreDNS-1.12\nsandbox: line 1 of a pod that only pretends to run\n')
})
