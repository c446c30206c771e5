import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import type { RequestSummary } from '../../src/device/requests.ts'
import {
  viewDecided,
  viewRequest,
  viewRequestLine,
  viewRequests,
} from '../../src/terminal/request-views.ts'
import { openScreen } from '../../src/terminal/screen.ts'

const screen = openScreen({ stdin: {}, stdout: new PassThrough(), stderr: new PassThrough() }, {})
const WAITING: RequestSummary = {
  id: 17,
  status: 'waiting',
  user: 'bob',
  role: 'mcm:ns-dev',
  namespace: 'shop',
  cluster: 'prod',
  seconds: 5_400,
  reason: 'disk full',
  since: '2026-01-01T00:00:00Z',
  until: '2026-01-02T00:00:00Z',
  needed: 2,
  approvals: [{ user: 'ada', at: '2026-01-01T00:01:00Z' }],
}

test('a list says how far each is, and who said what', () => {
  const { namespace: _, until: __, ...rest } = WAITING
  const end = { action: 'deny', by: 'dora', at: '2026-01-01T00:02:00Z' } as const
  const denied: RequestSummary = { ...rest, id: 18, status: 'denied', end }
  expect(viewRequests([WAITING, denied], screen)).toBe(
    `ID   STATUS             USER   ROLE         CLUSTER   NAMESPACE   FOR   UNTIL                  SAID BY            REASON
17   waiting (1 of 2)   bob    mcm:ns-dev   prod      shop        90m   2026-01-02T00:00:00Z   ada                disk full
18   denied             bob    mcm:ns-dev   prod      (all)       90m   -                      ada, dora (deny)   disk full
`,
  )
  expect(viewRequests([], screen)).toBe('no access requests\n')
})

test('whoever has asked, and whoever was the first of two, is told what comes next', () => {
  expect(viewRequest(WAITING)).toContain('mcm requests approve 17')
  const change = { cluster: 'prod', id: 'c-1', changed: ['RoleBinding x'] }
  expect(viewDecided({ request: WAITING, change })).toContain('another administrator: mcm requests')
  const running = { ...WAITING, status: 'running' } as const
  expect(viewDecided({ request: running, change })).not.toContain('next:')
})

test('a reason cannot move the cursor of whoever watches', () => {
  const line = viewRequestLine({ ...WAITING, reason: 'a\u001b[2Jb' })
  expect(line).not.toContain('\u001b')
  expect(line).toContain('bob asks for mcm:ns-dev at shop of prod for 90m')
})
