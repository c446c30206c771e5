import { describe, expect, test } from 'vitest'
import { ProtobufError, readProtobuf } from '../../src/sandbox/schema/protobuf.ts'
import { KUBECTL_BODIES } from './kubectl-bodies.ts'
import { stage } from './stage.ts'

const on = stage()
const read = (start: string) => {
  const { body } = KUBECTL_BODIES.find(({ command }) => command.startsWith(start))!
  return readProtobuf(Buffer.from(body, 'base64'))
}

describe('what kubectl sends', () => {
  test('a review', () => {
    expect(read('auth can-i')).toMatchObject({
      kind: 'SelfSubjectAccessReview',
      apiVersion: 'authorization.k8s.io/v1',
      spec: {
        resourceAttributes: { namespace: 'x', verb: 'get', resource: 'pods', name: 'log' },
      },
    })
  })

  test('a token request', () => {
    expect(read('create token')).toMatchObject({
      spec: {
        expirationSeconds: 3600,
        boundObjectRef: { kind: 'Pod', name: 'web-7d9f8b6c5-2xkqp' },
      },
    })
  })

  test('a deployment, with its numbers and lists', () => {
    expect(read('create deployment')).toMatchObject({
      metadata: { name: 'd', labels: { app: 'd' } },
      spec: {
        replicas: 3,
        selector: { matchLabels: { app: 'd' } },
        template: {
          spec: { containers: [{ name: 'nginx', image: 'nginx', ports: [{ containerPort: 80 }] }] },
        },
      },
    })
  })

  test('bytes as base64, quantities and percentages as they are written', () => {
    expect(read('create secret')).toMatchObject({ data: { a: 'Yg==' } })
    expect(read('create poddisruptionbudget p ')).toMatchObject({ spec: { maxUnavailable: '50%' } })
    expect(read('create poddisruptionbudget p2')).toMatchObject({ spec: { minAvailable: 2 } })
  })

  test.each(KUBECTL_BODIES.filter(({ command }) => !command.includes('token')))(
    '$command is taken',
    async ({ path, body }) => {
      const answer = await on.ask({
        method: 'POST',
        path,
        contentType: 'application/vnd.kubernetes.protobuf',
        body: Buffer.from(body, 'base64'),
      })
      expect(answer.status).toBe(201)
      expect(answer.headers['content-type']).toBe('application/json')
    },
  )
})

describe('what nobody should send', () => {
  const { body } = KUBECTL_BODIES.find(({ command }) => command.startsWith('create deployment'))!
  const bytes = Buffer.from(body, 'base64')

  test('every truncation is an error or an object, never a hang or a crash', () => {
    for (let length = 0; length < bytes.length; length++) {
      try {
        readProtobuf(bytes.subarray(0, length))
      } catch (error) {
        expect(error).toBeInstanceOf(ProtobufError)
      }
    }
  })

  test('every flipped byte likewise', () => {
    for (let index = 0; index < bytes.length; index++) {
      const flipped = Buffer.from(bytes)
      flipped[index]! ^= 0xff
      try {
        readProtobuf(flipped)
      } catch (error) {
        expect(error).toBeInstanceOf(ProtobufError)
      }
    }
  })

  test('a length longer than the message is an error', () => {
    const claim = Buffer.concat([
      Buffer.from('k8s\0'),
      Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    ])
    expect(() => readProtobuf(claim)).toThrow(ProtobufError)
  })

  test('another kind than the path wants is a bad request', async () => {
    const path = '/api/v1/namespaces/default/configmaps'
    const send = (content: Buffer) =>
      on.ask({
        method: 'POST',
        path,
        contentType: 'application/vnd.kubernetes.protobuf',
        body: content,
      })
    expect((await send(bytes)).status).toBe(400)
    expect((await send(Buffer.from('{}'))).status).toBe(400)
    expect((await send(Buffer.alloc(0))).status).toBe(400)
  })
})
