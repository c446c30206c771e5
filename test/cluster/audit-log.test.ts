import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readAuditLog } from './audit-log.ts'

test('a line still being written is no event yet, and no file is no events', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'mcm-test-audit-'))
  const path = join(directory, 'audit.log')
  expect(await readAuditLog(path)).toEqual([])
  await writeFile(path, '{"auditID":"1"}\n{"auditID":"2"}\n{"audit')
  expect((await readAuditLog(path)).map(({ auditID }) => auditID)).toEqual(['1', '2'])
  await rm(directory, { recursive: true })
})
