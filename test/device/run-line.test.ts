import { expect, test } from 'vitest'
import { lineRunner } from '../../src/device/run-line.ts'

const signal = new AbortController().signal

function runner() {
  const talk: Uint8Array[] = []
  const run = lineRunner({ PATH: process.env['PATH'] }, signal, (chunk) => void talk.push(chunk))
  return { run, said: () => Buffer.concat(talk).toString() }
}

test('what a line prints is its answer, and it sees the variables', async () => {
  const { run, said } = runner()
  expect(await run('printf %s "$MCM_AUDIENCE"', { MCM_AUDIENCE: 'mcm:a:b' })).toBe('mcm:a:b')
  expect(said()).toBe('')
})

test('what a line that fails says on stderr goes to the terminal as it comes, and into no error', async () => {
  const { run, said } = runner()
  const failed = run('set -x; token=s3cret; exit 3', {})
  await expect(failed).rejects.toThrow('the token command ended with 3')
  await expect(failed).rejects.not.toThrow('s3cret')
  expect(said()).toContain('token=s3cret')
})

test('a line that prints without end is ended', async () => {
  const { run } = runner()
  await expect(run('while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done', {})).rejects.toThrow(
    'prints too much',
  )
})

test('who presses Ctrl-C ends the line', async () => {
  const ending = new AbortController()
  const run = lineRunner({ PATH: process.env['PATH'] }, ending.signal, () => {
    ending.abort(new Error('interrupted'))
  })
  await expect(run('echo waiting >&2; sleep 600', {})).rejects.toThrow('interrupted')
})
