import { describe, expect, it } from 'vitest'
import { AccessDeniedError } from '../../src/errors.ts'
import { failureStatus, statusOf, warningOf } from '../../src/kube/status.ts'

describe('statusOf', () => {
  it('gives the family’s code and reason, and message and hint as one sentence', () => {
    const error = new AccessDeniedError('MCM_REVOKED', 'bob was revoked', { hint: 'ask alice' })
    expect(statusOf(error)).toEqual({
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: 'mcm: bob was revoked; ask alice',
      reason: 'Forbidden',
      code: 403,
    })
  })

  it('says nothing of a bug', () => {
    expect(statusOf(new Error('secret'))).toMatchObject({
      code: 500,
      message: 'mcm: internal error',
    })
  })
})

describe('warningOf', () => {
  const warning = (message: string) => warningOf(failureStatus(403, 'Forbidden', message))

  it('is one quoted string of the message’s UTF-8 bytes', () => {
    expect(warning('say "no" \\ Łukasz')).toBe('299 - "say \\"no\\" \\\\ Å\u0081ukasz"')
  })

  it('cannot become a second header', () => {
    expect(warning('a\r\nSet-Cookie: b\u0000')).toBe('299 - "a  Set-Cookie: b "')
  })
})
