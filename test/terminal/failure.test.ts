import { expect, test } from 'vitest'
import { NotFoundError, TrustError } from '../../src/errors.ts'
import { failureOf, renderFailure } from '../../src/terminal/failure.ts'

const context = { command: 'mcm clusters show', version: '1.2.3', isInterrupted: false }

test('an error of ours is one sentence, a next step and the exit code of its family', () => {
  const error = new NotFoundError('MCM_CLUSTER_UNKNOWN', 'no cluster "x"', { hint: 'mcm clusters' })
  const failure = failureOf(error, context)
  expect(renderFailure(failure, error)).toBe('mcm: no cluster "x"\ntry: mcm clusters\n')
  expect(failure.exitCode).toBe(3)
})

test('only code, message, hint and exit code leave the program as JSON', () => {
  const error = Object.assign(new TrustError('MCM_PIN_MISMATCH', 'no'), { privateKey: 'PEM' })
  expect(failureOf(error, context)).toEqual({
    code: 'MCM_PIN_MISMATCH',
    message: 'no',
    exitCode: 7,
  })
})

test('words of a hostile hub cannot move the cursor or add lines', () => {
  const error = new TrustError('MCM_PIN_MISMATCH', 'a\u001b[2Jb\nmcm: all is well')
  expect(renderFailure(failureOf(error, context), error)).toBe('mcm: ab mcm: all is well\n')
})

test('the link in a parser error loses its secret', () => {
  const error = Object.assign(
    new Error('Unexpected argument: mcm://h:1/join#secret=TOP\nSee more help with --help'),
    {
      oclif: { exit: 2 },
    },
  )
  const failure = failureOf(error, context)
  expect(failure).toEqual({
    code: 'MCM_USAGE',
    message: 'unexpected argument: mcm://h:1/join#…',
    hint: 'mcm clusters show --help',
    exitCode: 2,
  })
})

test('anything else is a bug: exit 1, a request to report it, and the stack', () => {
  const error = new TypeError('x is undefined')
  const failure = failureOf(error, context)
  expect(failure.exitCode).toBe(1)
  const text = renderFailure(failure, error)
  expect(text).toContain('please report it')
  expect(text).toContain('failure.test.ts')
})

test('an interruption is 130 and no bug, whatever it broke', () => {
  const failure = failureOf(new Error('aborted'), { ...context, isInterrupted: true })
  expect(failure).toEqual({ code: 'MCM_INTERRUPTED', message: 'interrupted', exitCode: 130 })
})
