import { expect, test, vi } from 'vitest'
import type { AuditEvent } from '../../src/agent/audit-event.ts'
import { replaceOnUse } from '../../src/agent/replaced-certificates.ts'
import { UnreachableError } from '../../src/errors.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'

const OLD = 'O'.repeat(43)
const NEW = 'N'.repeat(43)
const event = (changes: Partial<AuditEvent> = {}) =>
  ({ user: 'bob', certificate: NEW, code: 200, ...changes }) as AuditEvent

function stage() {
  const [world, log] = [new FrozenWorld(), new RecordedLog()]
  const facts = { replaces: OLD as string | undefined, fault: undefined as Error | undefined }
  const replaced: string[] = []
  const find = () => ({
    ...{ user: 'bob', device: 'D'.repeat(43) },
    ...(facts.replaces === undefined ? {} : { replaces: facts.replaces }),
  })
  const replace = async ({ fingerprint }: { fingerprint: string }) => {
    replaced.push(fingerprint)
    if (facts.fault) throw facts.fault
    facts.replaces = undefined
  }
  return { world, log, facts, replaced, use: replaceOnUse({ find, replace }, world, log) }
}

test('the first use of a new certificate replaces the one before, and later ones write nothing', async () => {
  const { log, replaced, use } = stage()
  for (let request = 0; request < 100; request++) use(event())
  await vi.waitFor(() => expect(log.events()).toEqual(['certificate_replaced']))
  use(event())
  expect(replaced).toEqual([NEW])
})

test('a request that is refused replaces nothing', () => {
  const { replaced, use } = stage()
  use(event({ code: 403, refusal: 'MCM_NO_GRANT' }))
  expect(replaced).toEqual([])
})

test('a write that fails is said, and tried again by a request a minute later', async () => {
  const { world, log, facts, replaced, use } = stage()
  facts.fault = new UnreachableError('MCM_TIMEOUT', 'etcd is full')
  use(event())
  await vi.waitFor(() => expect(log.events()).toEqual(['certificate_not_replaced']))
  facts.fault = undefined
  use(event())
  expect(replaced).toHaveLength(1)
  world.advance(61_000)
  use(event())
  await vi.waitFor(() => expect(log.events()).toContain('certificate_replaced'))
})
