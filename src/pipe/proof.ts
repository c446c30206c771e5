import { createHmac, timingSafeEqual } from 'node:crypto'
import { offsetBytes } from './frame.ts'

/**
 * Who may resume a pipe: whoever has the keys of its inner TLS connection (docs/PROTOCOL.md §9.2, §9.3),
 * which are its two ends. Nonces make a proof good once, the generation puts attempts in order.
 */

/** What both ends ask of their TLS connection: `exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, …)`. */
export const PIPE_EXPORTER_LABEL = 'EXPORTER-mcm-pipe-v1'
export const PIPE_EXPORTER_BYTES = 80

export const ID_BYTES = 16
export const NONCE_BYTES = 16
export const PROOF_BYTES = 32
export const GENERATION_BYTES = 4

export interface PipeKeys {
  /** Not secret: the hub sees it when the pipe is resumed. */
  readonly id: Buffer
  readonly client: Buffer
  readonly agent: Buffer
}

/** One attempt to resume, as far as both ends know it. */
export interface ResumeAttempt {
  readonly generation: number
  readonly clientNonce: Buffer
  readonly agentNonce: Buffer
  readonly agentReceived: number
}

/** @param exporter the 80 bytes of the TLS exporter */
export function pipeKeys(exporter: Buffer): PipeKeys {
  return {
    id: exporter.subarray(0, 16),
    client: exporter.subarray(16, 48),
    agent: exporter.subarray(48, 80),
  }
}

export function agentProof(keys: PipeKeys, attempt: ResumeAttempt): Buffer {
  return createHmac('sha256', keys.agent)
    .update('mcm pipe agent v1')
    .update(attemptBytes(keys, attempt))
    .digest()
}

export function clientProof(
  keys: PipeKeys,
  attempt: ResumeAttempt,
  clientReceived: number,
): Buffer {
  return createHmac('sha256', keys.client)
    .update('mcm pipe client v1')
    .update(attemptBytes(keys, attempt))
    .update(offsetBytes(clientReceived))
    .digest()
}

/** Takes the same time wherever they differ. */
export function isProof(shown: Buffer, expected: Buffer): boolean {
  return shown.length === expected.length && timingSafeEqual(shown, expected)
}

export function generationBytes(generation: number): Buffer {
  const bytes = Buffer.allocUnsafe(GENERATION_BYTES)
  bytes.writeUInt32BE(generation)
  return bytes
}

function attemptBytes({ id }: PipeKeys, attempt: ResumeAttempt): Buffer {
  const { generation, clientNonce, agentNonce, agentReceived } = attempt
  const received = offsetBytes(agentReceived)
  return Buffer.concat([id, generationBytes(generation), clientNonce, agentNonce, received])
}
