import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import * as identityModule from '../../src/access/identity.ts'
import * as impersonationModule from '../../src/kube/impersonation.ts'
import { cleanup } from '../forward/stage.ts'
import { HOST, openStage, type Person, type TrafficStage } from './traffic-stage.ts'

vi.mock('../../src/access/identity.ts', { spy: true })
vi.mock('../../src/kube/impersonation.ts', { spy: true })

const ends = cleanup()
let stage: TrafficStage
let bob: Person

beforeEach(async () => {
  stage = await openStage(ends)
  bob = await stage.person('bob', { groups: ['dev'] })
})
afterEach(async () => {
  vi.mocked(identityModule.impersonationOf).mockReset()
  vi.mocked(impersonationModule.impersonationHeaders).mockReset()
  await ends.run()
})

const GET = 'GET /api/v1/pods HTTP/1.1'
const HOST_LINE = `Host: ${HOST}`
test.each([
  ['gives nothing', () => []],
  ['forgets the user', () => [['Impersonate-Group', 'mcm:dev']]],
  ['gives an empty user', () => [['Impersonate-User', '']]],
  [
    'gives two users',
    () => [
      ['Impersonate-User', 'a'],
      ['Impersonate-User', 'b'],
    ],
  ],
  ['gives a system user', () => [['Impersonate-User', 'system:masters']]],
])(
  'mutation: when the step that sets our headers %s, the request is 500 and never written',
  async (_, broken) => {
    vi.mocked(impersonationModule.impersonationHeaders).mockImplementation(broken as never)
    const answer = await stage.ask(bob, GET, HOST_LINE)
    expect(answer.status).toBe(500)
    expect(answer.body).not.toContain('egress')
    const upgrade = ['Connection: Upgrade', 'Upgrade: SPDY/3.1', 'Content-Length: 0']
    expect((await stage.ask(bob, 'POST /exec HTTP/1.1', HOST_LINE, ...upgrade)).status).toBe(500)
    expect(stage.seen).toEqual([])
  },
)

test.each([
  ['nothing', undefined],
  ['an empty user', { user: '', groups: [] }],
  ['a blank user', { user: ' \t', groups: [] }],
  ['no user', { groups: [] }],
  ['a user that is no text', { user: 5, groups: [] }],
])(
  'mutation: an identity function that gives %s is 500 before any connection',
  async (_, identity) => {
    vi.mocked(identityModule.impersonationOf).mockReturnValue(identity as never)
    stage.facts.names = { ...stage.facts.names, isUnrestricted: true }
    const answer = await stage.ask(bob, GET, HOST_LINE)
    expect(answer.status).toBe(500)
    expect(JSON.parse(answer.body)).toMatchObject({ message: 'mcm: internal error' })
    expect(stage.seen).toEqual([])
  },
)
