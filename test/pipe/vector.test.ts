import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { FRAME, frame, offsetBytes } from '../../src/pipe/frame.ts'
import {
  agentProof,
  clientProof,
  generationBytes,
  isProof,
  pipeKeys,
} from '../../src/pipe/proof.ts'

/** docs/PROTOCOL.md §9.5: the same in every implementation. */

const vector = JSON.parse(readFileSync(join(import.meta.dirname, 'vector.json'), 'utf8')) as {
  exporter: string
  id: string
  clientKey: string
  agentKey: string
  generation: number
  clientNonce: string
  agentNonce: string
  agentReceived: number
  clientReceived: number
  agentProof: string
  clientProof: string
  frames: Record<'open' | 'opened' | 'data' | 'ack' | 'resume' | 'challenge' | 'proof', string>
}
const hex = (text: string) => Buffer.from(text, 'hex')
const keys = pipeKeys(hex(vector.exporter))
const attempt = {
  generation: vector.generation,
  clientNonce: hex(vector.clientNonce),
  agentNonce: hex(vector.agentNonce),
  agentReceived: vector.agentReceived,
}

it('makes the keys and proofs of the test vector', () => {
  expect({
    id: keys.id.toString('hex'),
    clientKey: keys.client.toString('hex'),
    agentKey: keys.agent.toString('hex'),
    agentProof: agentProof(keys, attempt).toString('hex'),
    clientProof: clientProof(keys, attempt, vector.clientReceived).toString('hex'),
  }).toEqual({
    id: vector.id,
    clientKey: vector.clientKey,
    agentKey: vector.agentKey,
    agentProof: vector.agentProof,
    clientProof: vector.clientProof,
  })
})

it('makes the frames of the test vector', () => {
  const { clientNonce, agentNonce, agentReceived } = attempt
  const resume = Buffer.concat([keys.id, generationBytes(attempt.generation), clientNonce])
  const challenge = Buffer.concat([agentNonce, hex(vector.agentProof)])
  const frames = {
    open: frame(FRAME.open, 0, Buffer.from([1])),
    opened: frame(FRAME.opened, 0, Buffer.from('mcm-agent-6b9f')),
    data: frame(FRAME.data, 70_000, Buffer.from('bytes')),
    ack: frame(FRAME.ack, 70_005, offsetBytes(135_541)),
    resume: frame(FRAME.resume, 0, resume),
    challenge: frame(FRAME.challenge, agentReceived, challenge),
    proof: frame(FRAME.proof, vector.clientReceived, hex(vector.clientProof)),
  }
  const texts = Object.entries(frames).map(([name, bytes]) => [name, bytes.toString('hex')])
  expect(Object.fromEntries(texts)).toEqual(vector.frames)
})

it.each([
  ['generation', { ...attempt, generation: attempt.generation + 1 }],
  ['client’s nonce', { ...attempt, clientNonce: attempt.agentNonce }],
  ['agent’s nonce', { ...attempt, agentNonce: attempt.clientNonce }],
  ['agent’s offset', { ...attempt, agentReceived: attempt.agentReceived + 1 }],
])('a proof is none for another %s', (_what, other) => {
  expect(isProof(agentProof(keys, other), hex(vector.agentProof))).toBe(false)
  const proof = clientProof(keys, other, vector.clientReceived)
  expect(isProof(proof, hex(vector.clientProof))).toBe(false)
})

it('the proof of one side is none of the other, nor for another offset, nor when it is cut short', () => {
  const one = Buffer.alloc(80, 1)
  const same = pipeKeys(one)
  expect(isProof(agentProof(same, attempt), clientProof(same, attempt, 0))).toBe(false)
  const proof = clientProof(keys, attempt, vector.clientReceived + 1)
  expect(isProof(proof, hex(vector.clientProof))).toBe(false)
  expect(isProof(hex(vector.clientProof).subarray(0, 31), hex(vector.clientProof))).toBe(false)
})
