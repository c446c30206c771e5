import { afterAll, beforeAll, expect, test } from 'vitest'
import { MEBIBYTE, StreamsStage } from './streams-stage.ts'

const BODY_BYTES = 3_000_000_000
const BYTES_PER_SECOND = 1_000_000

let stage: StreamsStage
beforeAll(async () => {
  stage = await StreamsStage.open()
})
afterAll(() => stage?.close())

test('three gigabytes at one megabyte a second: fifty minutes, flat memory, one request', async () => {
  const { bytes, grown } = await stage.upload(BODY_BYTES, BYTES_PER_SECOND)
  expect(bytes).toBeGreaterThanOrEqual(BODY_BYTES)
  for (const size of Object.values(grown)) expect(size).toBeLessThan(96 * MEBIBYTE)
  expect(await stage.seen('upload')).toEqual({ requests: 1, open: 0 })
})
