import { describe, expect, it } from 'vitest'
import { errorOfAnswer } from '../../src/client/status-error.ts'
import { AccessDeniedError, TrustError } from '../../src/errors.ts'

describe('an error that the hub sent', () => {
  it('comes back as the family, code and hint that were thrown there', () => {
    const error = errorOfAnswer('the hub', 403, {
      message: 'bob may not do this',
      mcm: { code: 'MCM_REVOKED', hint: 'ask an administrator' },
    })
    expect(error).toBeInstanceOf(AccessDeniedError)
    expect(error).toMatchObject({
      code: 'MCM_REVOKED',
      message: 'bob may not do this',
      hint: 'ask an administrator',
    })
  })

  it('is of the status’s family when there is no code, and loses the prefix kubectl needs', () => {
    const error = errorOfAnswer('the hub', 502, { message: 'mcm: the clocks differ' })
    expect(error).toBeInstanceOf(TrustError)
    expect(error.message).toBe('the clocks differ')
  })

  it('says who answered when the answer says nothing', () => {
    expect(errorOfAnswer('the hub', 418, '<html>').message).toBe('the hub answered 418')
    expect(errorOfAnswer('the hub', 503, undefined).exitCode).toBe(6)
  })

  it('cannot write control characters to a terminal', () => {
    const error = errorOfAnswer('the hub', 400, {
      message: 'a\u001b[2Jb\u202ec\r\nd',
      mcm: { code: 'MCM_BAD_REQUEST', hint: '\u0007ring' },
    })
    expect(error.message).toBe('a [2Jb c d')
    expect(error.hint).toBe('ring')
  })

  it('cannot bring a code that is none', () => {
    const error = errorOfAnswer('the hub', 400, { message: 'x', mcm: { code: '__proto__' } })
    expect(error.code).toBe('MCM_BAD_REQUEST')
  })
})
